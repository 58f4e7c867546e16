"""A module that is imported when somebody uses it, not when somebody imports it."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _OnDemand(ModuleType):
    """Stands for the module of its name until something of it is asked for."""

    def __bool__(self) -> bool:
        """False: since Python 3.12 logging asks sys.modules whether asyncio is in use.

        A LogRecord looks up `asyncio.current_task` where that module is true, and structlog makes
        one while it is imported.
        """
        return False

    def __getattr__(self, name: str) -> Any:
        _leave(self)
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def on_demand(name: str) -> Iterator[None]:
    """Who imports this module in the meantime gets it when they use it."""
    if name in sys.modules:
        yield
        return
    module = sys.modules[name] = _OnDemand(name)
    try:
        yield
    finally:
        _leave(module)


def _leave(module: ModuleType) -> None:
    """Whoever imports it from now on gets the real one."""
    if sys.modules.get(module.__name__) is module:
        del sys.modules[module.__name__]
