"""docs/check.md has what `pycron check --explain` says: both are made of the codes themselves.

`python -m tests.unit.test_check_page` writes the page anew.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycron.cli.code_texts import explained
from pycron.lint.code import Code
from pycron.lint.codes import CODES, GROUPS
from pycron.model.text import visible

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/check.md"
START, END = "<!-- codes -->\n", "<!-- end -->"


def sections() -> Iterator[str]:
    for group, codes in GROUPS.items():
        yield f"## {group}\n"
        yield from map(section, codes)


def section(code: Code) -> str:
    parts = [f"### `{code.name}` ({code.severity})\n", f"{code.about}\n"]
    if code.bad:
        parts += [f"```text\n{visible(code.bad)}\n```\n", "Better:\n"]
        parts += [f"```text\n{visible(code.good)}\n```\n"]
    return "\n".join(parts)


def test_the_page_has_every_code() -> None:
    _, _, rest = PAGE.read_text().partition(START)
    shown, _, _ = rest.partition(END)
    assert shown == "\n".join(sections()), "python -m tests.unit.test_check_page"


@pytest.mark.parametrize("code", CODES.values(), ids=list(CODES))
def test_explain_says_the_same_as_the_page(code: Code) -> None:
    words = " ".join(explained(code).split())
    assert " ".join(code.about.split()) in words
    assert " ".join(visible(code.good).split()) in words


def test_no_code_has_two_meanings() -> None:
    names = [code.name for group in GROUPS.values() for code in group]
    assert len(names) == len(set(names))


SOURCES = [
    path
    for folder in ("crontab", "tables", "system", "config", "daemon", "schedule")
    for path in (ROOT / "pycron" / folder).glob("*.py")
]
_RAISED = re.compile(
    r'(?:LineError|\b_?warn|\berror|Unreadable|_explained|ScheduleError)\((?:[^"()]*,)?\s*"'
    r'([a-z]+(?:-[a-z]+)*)"'
)
_OF_PROBLEMS = re.compile(r'Severity\.\w+, "([a-z-]+)"')


def test_every_code_of_the_daemon_is_on_the_page() -> None:
    texts = [path.read_text() for path in SOURCES]
    used = {code for text in texts for pattern in (_RAISED, _OF_PROBLEMS)
            for code in pattern.findall(text)}  # fmt: skip
    assert len(used) > 25
    assert used <= set(CODES)


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(
        f"{before}{START}{''.join(each + chr(10) for each in sections())[:-1]}{END}{after}"
    )
