"""What somebody sees who starts the example for the first time, on a terminal of 80 columns."""

import re
from pathlib import Path

from pycron.cli import pycron as pycron_program
from tests.support.pseudo_terminal import show
from tests.support.running_daemon import program

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "hello.crontab"
CTRL_C = b"\x03"


def test_a_start_output_a_failure_and_its_retry_are_shown() -> None:
    """The schedule of the example brings all of this within ten seconds."""
    seen = ["has started, attempt 2", "unlucky        has succeeded"]
    stopped: list[bytes] = []

    def keys(shown: str) -> bytes:
        plain = re.sub("\x1b\\[[0-9;]*m", "", shown)
        if stopped or not all(text in plain for text in seen):
            return b""
        stopped.append(CTRL_C)
        return CTRL_C

    pycrond = program("pycrond", "--foreground", "--table", EXAMPLE)
    shown = show(["setsid", "--ctty", *pycrond], keys=keys, environment={"PYTHONPATH": str(ROOT)})
    assert shown.status == 0
    text = shown.text
    first, hint, *rest = shown.lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d pycron \S+ has started, mode foreground, zone .*", first)
    assert re.fullmatch(r" {9}ask it: .*pycron'? --state-dir \S+", hint)
    assert max(map(len, [first, *rest])) <= 80
    for line in (
        r"hello +has started: echo .*…",
        r"hello +\| Hello from hello, due at 2\S+Z",
        r"hello +has succeeded after .* ms",
        r"unlucky +\| This one fails\.",
        r"unlucky +failed: exit status 3",
        r"unlucky +is tried again in .* m?s",
        r"unlucky +has succeeded after .*, attempt 2",
    ):
        assert re.search(rf"^\d\d:\d\d:\d\d {line}$", text, re.MULTILINE), line


def test_what_the_example_says_at_its_top_can_be_run() -> None:
    head, _, _ = EXAMPLE.read_text().partition("CRON_NAME")
    commands = re.findall(r"^#   pycron (.+?)(?:  .*)?$", head, re.MULTILINE)
    assert len(commands) >= 5
    for command in commands:
        pycron_program.parser().parse_args(command.split())
