"""The registry of the verbs of pycron(1).

Each module of cli/verbs has one verb: its name, help text and arguments, the request that it sends
and how it prints the answer. `all_verbs` imports these modules, and each one registers its verb.
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
    for module in pkgutil.iter_modules(verbs.__path__):
        importlib.import_module(f"{verbs.__name__}.{module.name}")
    return list(_VERBS.values())
