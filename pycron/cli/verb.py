"""The registry of the verbs of pycron(1).

Each module of cli/verbs has one verb: its name, help text and arguments, the request that it sends
and how it prints the answer. Each module registers its verb when it is imported. A program that
runs one verb imports one module, because all of them together take longer than the verb.
"""

import argparse
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from pycron.cli import verbs


def no_arguments(_parser: argparse.ArgumentParser) -> None:
    """For a verb that has none of its own. Every verb has --json, --utc and the daemon's choice."""


@dataclass(frozen=True, slots=True)
class Verb:
    """`run` gets the parsed options; it returns the exit status, or None for 0."""

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int | None]


_VERBS: dict[str, Verb] = {}

Run = Callable[[argparse.Namespace], int | None]


def verb(
    name: str,
    help: str,
    add_arguments: Callable[[argparse.ArgumentParser], None] = no_arguments,
) -> Callable[[Run], Run]:
    """Register the decorated function as the verb `name`."""

    def register(run: Run) -> Run:
        _VERBS[name] = Verb(name, help, add_arguments, run)
        return run

    return register


def all_verbs() -> list[Verb]:
    """The verbs of all modules of cli/verbs, in the order of their names."""
    return [_imported(module) for module in _modules().values()]


def named_verb(name: str) -> Verb | None:
    """The verb of this name; None if there is none."""
    module = _modules().get(name)
    return None if module is None else _imported(module)


def _modules() -> dict[str, str]:
    """The modules of cli/verbs by the verbs that they have: `test-mail` is in test_mail."""
    names = [module.name for module in pkgutil.iter_modules(verbs.__path__)]
    return {name.rstrip("_").replace("_", "-"): name for name in names}


def _imported(module: str) -> Verb:
    importlib.import_module(f"{verbs.__name__}.{module}")
    return _VERBS[module.rstrip("_").replace("_", "-")]
