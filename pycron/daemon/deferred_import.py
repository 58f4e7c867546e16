"""Import a module when it is used, not when it is imported.

structlog imports asyncio, which the daemon never uses, and asyncio imports OpenSSL. Measured with
`python -c "import pycron.daemon.daemon, pycron.daemon.log_lines"` (Python 3.11, x86_64): with
asyncio and uuid deferred, the process has 24.8 MB resident (PSS 19.2 MB) and needs 400 ms of CPU
time to start; without this module 30.7 MB (PSS 25.1 MB) and 427 ms. uuid is 0.2 MB of the
difference.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _StandIn(ModuleType):
    """Stands for the module of its name; the first use of an attribute imports that module."""

    def __bool__(self) -> bool:
        """False, so that nothing takes the module for one that is in use.

        Since Python 3.12 a LogRecord looks up `asyncio.current_task` if sys.modules has a true
        `asyncio`, and structlog makes a LogRecord while it is imported.
        """
        return False

    def __getattr__(self, name: str) -> Any:
        _remove(self)
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def deferred_import(name: str) -> Iterator[None]:
    """Within this context, `import name` gives a stand-in, which imports the module on first use.

    After the context, `import name` imports the module as usual. A module that is imported already
    is left alone.
    """
    if name in sys.modules:
        yield
        return
    module = sys.modules[name] = _StandIn(name)
    try:
        yield
    finally:
        _remove(module)


@contextmanager
def left_out(name: str) -> Iterator[None]:
    """Within this context, `import name` fails, as if the module were not installed.

    structlog imports rich for tracebacks in colours, if it finds it: 4.8 MB and 150 ms.
    """
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # so says the reference of `import`
    try:
        yield
    finally:
        del sys.modules[name]


def _remove(module: ModuleType) -> None:
    """Let the next import of this name import the real module."""
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]
