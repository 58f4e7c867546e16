"""Writes the completion of the three programs for bash, zsh and fish: `make completion`.

shtab makes it from the parsers of the command lines. The files are kept in the repository, so that
neither an installation nor a package needs shtab; tests/unit/test_completion.py compares them.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import shtab

from pycron.cli import pycron, pycrond, pycrontab

HERE = Path(__file__).resolve().parent
PARSERS = {
    "pycron": pycron.parser,
    "pycrond": pycrond.parser,
    "pycrontab": pycrontab.parser,
}
# The words of --help that stand for a file or a directory.
_FILES = {
    "F": shtab.FILE,
    "FILE": shtab.FILE,
    "D": shtab.DIRECTORY,
    "DIR|debian|cronie": shtab.DIRECTORY,
}
_NAMES = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}


def completions() -> dict[str, str]:
    """The text of each file, by its path below contrib/completion."""
    return {
        f"{shell}/{name.format(program)}": _text(make(), shell)
        for shell, name in _NAMES.items()
        for program, make in PARSERS.items()
    }


def _text(parser: argparse.ArgumentParser, shell: str) -> str:
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar in _FILES:
            action.complete = _FILES[action.metavar]  # type: ignore[attr-defined]
    text = shtab.complete(parser, shell)
    # Its advice on where to put the file is for people who have made the file themselves.
    text = re.sub(r"^# Usage:\n(?:#.*\n)*", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)


if __name__ == "__main__":
    for path, text in completions().items():
        (HERE / path).parent.mkdir(exist_ok=True)
        (HERE / path).write_text(text)
