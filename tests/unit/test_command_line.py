"""The command line of pycron: where options stand, and that a verb imports no other verb."""

import subprocess
import sys
from pathlib import Path

import pytest

from pycron.cli import pycron as program
from pycron.cli.daemon_choice import choice_for
from pycron.cli.errors import WrongUse
from pycron.cli.expression import without_names
from pycron.system import paths
from tests.unit.test_docs import VERBS

COMMON = ("--json", "--utc", "--system")
NEEDED = {
    "dead": ["list"], "explain": ["@daily"], "log": ["x"], "show": ["x"], "start": ["x"],
    "why": ["x", "now"], "cluster": ["status"], "test": ["x"], "worker": ["--queues", "x"],
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_common_options_stand_before_the_verb_or_behind_it(verb: str) -> None:
    rest = NEEDED.get(verb, [])
    parser = program.parser()
    before = parser.parse_args([*COMMON, verb, *rest])
    behind = parser.parse_args([verb, *rest, *COMMON])
    mixed = parser.parse_args([*COMMON[1:], verb, COMMON[0], *rest])
    assert before == behind == mixed
    assert (before.json, before.utc, before.system, before.own) == (True, True, True, False)
    without = parser.parse_args([verb, *rest])
    assert (without.json, without.utc, without.system, without.state_dir) == (False,) * 3 + (None,)


@pytest.mark.parametrize("words", [["--state-dir", "/x", "list"], ["list", "--state-dir", "/x"]])
def test_a_state_dir_before_the_verb_or_behind_it(words: list[str]) -> None:
    assert choice_for(program.parser().parse_args(words)).paths == paths.paths_in(Path("/x"))


def test_two_daemons_before_and_behind_the_verb_contradict_each_other() -> None:
    options = program.parser().parse_args(["--system", "list", "--user"])
    with pytest.raises(WrongUse, match="one of them"):
        choice_for(options)


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["list"], "list"),
        (["--json", "list", "runs"], "list"),
        (["--state-dir", "runs", "list"], "list"),
        (["--state", "runs", "list"], "list"),
        (["--state-dir=runs", "list"], "list"),
        (["test-mail"], "test-mail"),
        (["import"], "import"),
        (["lists"], None),
        (["--json"], None),
        (["--", "x"], None),
        ([], None),
    ],
)
def test_the_verb_of_a_command_line(words: list[str], verb: str | None) -> None:
    found = program._verb_in(words)
    assert (found.name if found else None) == verb


def test_a_verb_imports_no_other_verb() -> None:
    """All verbs together take longer to import than most verbs take to answer."""
    code = (
        "import sys; from pycron.cli.pycron import main; main(['list', '--state-dir', '/none']);"
        "print([m for m in sys.modules if m.startswith('pycron.cli.verbs.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['pycron.cli.verbs.list']\n"


@pytest.mark.parametrize(
    ("words", "names", "meant"),
    [
        ("0 9 a b a b 1-5", "ab", "0 9 * * 1-5"),
        ("0 9 b a b a 1-5", "ab", "0 9 * * 1-5"),
        ("0 9 a b 1-5 a b", "ab", "0 9 * 1-5 *"),
        ("0 9 a b a 1-5", "ab", "0 9 * a 1-5"),
        ("0 9 * * 1-5", "ab", "0 9 * * 1-5"),
        ("a", "ab", "a"),
    ],
)
def test_names_of_files_that_the_shell_has_put_in(words: str, names: str, meant: str) -> None:
    assert " ".join(without_names(words.split(), list(names))) == meant
