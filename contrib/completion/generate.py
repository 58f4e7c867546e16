"""Writes the completion of the three programs for bash, zsh and fish: `make completion`.

shtab makes it from the parsers of the command lines. What the parsers do not know (names of Jobs,
run_ids, zones) is found by the functions in values.*, which become a part of the files. The files
are kept in the repository, so that neither an installation nor a package needs shtab;
tests/unit/test_completion.py compares them.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import shtab

from pycron.cli import pycron, pycrond, pycrontab
from pycron.model.run import Outcome

HERE = Path(__file__).resolve().parent
PARSERS = {
    "pycron": pycron.parser,
    "pycrond": pycrond.parser,
    "pycrontab": pycrontab.parser,
}
OUTCOMES = " ".join(outcome.value for outcome in Outcome)
# The words of --help that stand for a file or a directory.
_FILES = {
    "F": shtab.FILE,
    "FILE": shtab.FILE,
    "D": shtab.DIRECTORY,
    "DIR|debian|cronie": shtab.DIRECTORY,
}
_NAMES = {"bash": "{}", "zsh": "_{}", "fish": "{}.fish"}


def _found_by(function: str, **more: str) -> dict[str, object]:
    """For each shell, the function that lists the values of one kind."""
    return {"bash": function, "zsh": function, "fish": f"({function})", **more}


_USERS = {
    "bash": "_pycron_users",
    "zsh": "_users",
    "fish": "(__fish_complete_users)",
    "preamble": {"bash": '_pycron_users() {\n  compgen -u -- "$1"\n}'},
}


# The words of --help that stand for what a function of values.* finds, some of them of one verb.
_FOUND = {
    "JOB": _found_by("_pycron_jobs"),
    "RUN": _found_by("_pycron_runs"),
    "dead RUN": _found_by("_pycron_dead"),
    "ZONE": _found_by("_pycron_zones"),
    "OUTCOME": _found_by("_pycron_outcomes", fish=OUTCOMES),
}


def completions() -> dict[str, str]:
    """The text of each file, by its path below contrib/completion."""
    return {
        f"{shell}/{name.format(program)}": _text(program, make(), shell)
        for shell, name in _NAMES.items()
        for program, make in PARSERS.items()
    }


def _text(program: str, parser: argparse.ArgumentParser, shell: str) -> str:
    for verb, action in _actions(parser):
        if not isinstance(action.metavar, str):
            continue
        if action.metavar in _FILES:
            action.complete = _FILES[action.metavar]  # type: ignore[attr-defined]
        elif action.metavar == "USER":
            action.complete = _USERS  # type: ignore[attr-defined]
        elif program == "pycron" and action.metavar in _FOUND:
            found = _FOUND.get(f"{verb} {action.metavar}", _FOUND[action.metavar])
            action.complete = found  # type: ignore[attr-defined]
    values = (HERE / f"values.{shell}").read_text().replace("@OUTCOMES@", OUTCOMES)
    text = shtab.complete(parser, shell, preamble=values if program == "pycron" else "")
    # Its advice on where to put the file is for people who have made the file themselves.
    text = re.sub(r"^# Usage:\n(?:#.*\n)*", "", text, flags=re.MULTILINE)
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


def _actions(
    parser: argparse.ArgumentParser, verb: str = ""
) -> Iterator[tuple[str, argparse.Action]]:
    """The actions of a parser and of its verbs, each with its verb."""
    for action in parser._actions:
        yield verb, action
        if isinstance(action, argparse._SubParsersAction):
            for name, each in action.choices.items():
                yield from _actions(each, name)


if __name__ == "__main__":
    for path, text in completions().items():
        (HERE / path).parent.mkdir(exist_ok=True)
        (HERE / path).write_text(text)
