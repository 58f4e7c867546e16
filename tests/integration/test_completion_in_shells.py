"""The Tab key in bash, zsh and fish: verbs, options, Jobs, Runs, dead letters, zones, outcomes.

Each shell runs on a terminal. The program `pycron` that it finds answers the questions of the
completion by the real one, and prints what it was given for everything else.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.operated_daemon import OperatedDaemon, operated_daemon
from tests.support.pseudo_terminal import show
from tests.support.running_daemon import PYTHON
from tests.support.thoroughness import slow_after

ROOT = Path(__file__).resolve().parents[2]
COMPLETION = shlex.quote(str(ROOT / "contrib" / "completion"))
PROMPT = "READY> "
TABLE = """\
CRON_NAME=hello-world @yearly true
CRON_NAME=hello.other @yearly true
CRON_NAME=unlucky CRON_RETRIES=1 CRON_RETRY_DELAY=1s CRON_RETRY_UNTIL=never @yearly exit 3
@yearly echo '$(touch {directory}/harm)' `touch {directory}/harm`
"""
PYCRON = """\
#!/bin/sh
case "$*" in
*"list --json"* | *"runs --json"*) exec {python} -m pycron.cli.pycron "$@" ;;
esac
echo "GOT:$*;"
"""


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    directory = tmp_path_factory.mktemp("shells")
    with operated_daemon(directory, TABLE.format(directory=directory)) as operated:
        run_id = operated.start("unlucky")
        operated.daemon.wait_for("attempt_ended", run_id=run_id, attempt=2)
        program = directory / "bin" / "pycron"
        program.parent.mkdir()
        program.write_text(PYCRON.format(python=PYTHON))
        program.chmod(0o755)
        yield operated


def started(shell: str, directory: Path) -> tuple[list[str], dict[str, str]]:
    """The command of an interactive shell with completion, and its environment."""
    path = f"PATH={directory}/bin:$PATH"
    if shell == "bash":
        rc = directory / "bashrc"
        rc.write_text(f"PS1='{PROMPT}'; {path}; source {COMPLETION}/bash/pycron\n")
        return ["bash", "--noprofile", "--rcfile", str(rc), "-i"], {"INPUTRC": "/dev/null"}
    if shell == "zsh":
        (directory / ".zshrc").write_text(
            f"PS1='{PROMPT}'; {path}; fpath=({COMPLETION}/zsh $fpath)\n"
            "autoload -U compinit; compinit -u -D\n"
        )
        return ["zsh", "-d", "-i"], {"ZDOTDIR": str(directory)}
    script = (
        f"set -gx PATH {directory}/bin $PATH; function fish_prompt; echo -n '{PROMPT}'; end;"
        f"set -g fish_greeting; source {COMPLETION}/fish/pycron.fish"
    )
    home = {"HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    return ["fish", "--no-config", "-i", "-C", script], home


def completed(shell: str, directory: Path, lines: list[tuple[str, str]]) -> list[str]:
    """What `pycron` was given for each of these lines: what is typed before Tab, and the end.

    Enter is typed when the end of the completed word is shown.
    """
    command, environment = started(shell, directory)
    steps = list(lines)
    state = {"seen": 0, "typed": False}

    def keys(shown: str) -> bytes:
        text = plain(shown)
        if not state["typed"]:
            if text.count(PROMPT) < 1 or not text[state["seen"] :].rstrip("\r\n ").endswith(
                PROMPT.strip()
            ):
                return b""
            state.update(seen=len(text), typed=True)
            return steps[0][0].encode() + b"\t" if steps else b"exit\n"
        if steps and steps[0][1] in text[state["seen"] :]:
            del steps[0]
            state.update(seen=len(text), typed=False)
            return b"\n"
        return b""

    command = ["setsid", "--ctty", "--wait", *command]
    shown = show(command, columns=200, keys=keys, environment=environment)
    return re.findall(r"GOT:(.*?) ?;", plain(shown.raw))


def plain(shown: str) -> str:
    """Without escape sequences and what a shell uses to find the end of a line."""
    return re.sub(r"\x1b(\[[0-9;?>=]*[A-Za-z]|\][^\x07\x1b]*(\x07|\x1b\\)|[()][A-Z0-9]|[=>78])", "",
                  shown)  # fmt: skip


@pytest.mark.parametrize("shell", slow_after(1, ["bash", "zsh", "fish"]))
def test_the_tab_key(operator: OperatedDaemon, shell: str) -> None:
    if not shutil.which(shell):
        pytest.skip(f"there is no {shell}")
    state = shlex.quote(str(operator.state))
    (dead,) = operator.rows("dead", "list")
    run_id = dead["run_id"]
    before, after = run_id[:18], run_id[18:]
    here = f"pycron --state-dir {state}"
    lines = [
        ("pycron sho", "show"),
        ("pycron runs --deliv", "--deliveries"),
        (f"{here} start hello-w", "hello-world"),
        (f"{here} why unl", "unlucky"),
        (f"{here} log hello.o", "hello.other"),
        (f"{here} show {before}", after),
        (f"{here} dead redrive {before}", after),
        (f"{here} dead drop unl", "unlucky"),
        (f"{here} runs --job hello-w", "hello-world"),
        ("pycron next --tz Europe/Berl", "Europe/Berlin"),
        ("pycron runs --outcome timed", "timed_out"),
        ("pycron list --owner daemo", "daemon"),
    ]
    given = completed(shell, operator.directory, lines)
    directory = f"--state-dir {operator.state}"
    assert given == [
        "show", "runs --deliveries", f"{directory} start hello-world", f"{directory} why unlucky",
        f"{directory} log hello.other", f"{directory} show {run_id}",
        f"{directory} dead redrive {run_id}", f"{directory} dead drop unlucky",
        f"{directory} runs --job hello-world",
        "next --tz Europe/Berlin", "runs --outcome timed_out", "list --owner daemon",
    ]  # fmt: skip
    assert not (operator.directory / "harm").exists()
