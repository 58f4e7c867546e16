"""Simple commands with and without their shell: nobody can see a difference.

Each command is run twice in a directory of the same name, by a real runner: once as pycron would
start it, and once by its shell. Compared are output, status, files, environment, descriptors and
processes.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from pycron.executor.known_shells import KnownShells
from pycron.executor.messages import direct_request
from pycron.executor.simple_commands import simple_command
from pycron.protocol.framing import Message
from pycron.system.mounts import Mounts
from pycron.system.shells import BASH, environment_from
from tests.support.operated_daemon import operated_daemon
from tests.support.running_runner import (
    RunningRunner,
    children,
    needs_root,
    other_user,
    starters_of,
)
from tests.support.thoroughness import number_of
from tests.support.waiting import until

CORPUS = Path(os.environ.get("PYCRON_CORPUS", "/nowhere"))
COMMANDS = number_of(quick=100, thorough=10_000)
AT_ONCE = 250
SHELLS = [path for path in ("/bin/sh", "/bin/dash", "/bin/bash") if KnownShells().find(path)]
MOST = 262_144  # bytes of output

pytestmark = pytest.mark.skipif(not SHELLS, reason="neither dash nor bash")


class Case(NamedTuple):
    """A command; `changes`: to the start message."""

    command: str
    shell: str = "/bin/sh"
    environment: dict[str, str] = {"PATH": "/usr/bin:/bin", "HOME": "/"}  # noqa: RUF012
    changes: dict[str, Any] = {}  # noqa: RUF012


class Seen(NamedTuple):
    """What a command has done. `files`: the text of each file in its directory, and its mode."""

    status: int | None
    signal: int | None
    output: str
    files: dict[str, tuple[str, int]]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory that every user may enter, with programs that cannot be executed."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    texts = {"plain": "echo plain $0 $1\n", "bad": "#!/nowhere/sh\n", "empty": "", "data": "x"}
    for name, text in texts.items():
        (directory / name).write_text(text)
        (directory / name).chmod(0o644 if name == "data" else 0o755)
    scripts = {"script": 'echo "$0" "$@"; exit 3', "die": "echo $1; ulimit -c 0; kill -$1 $$"}
    for name, text in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def runner(directory: Path) -> Iterator[RunningRunner]:
    state = directory / "state"
    state.mkdir()
    runner = RunningRunner(state)
    yield runner
    runner.close()


def message(runner: RunningRunner, key: str, case: Case, cwd: Path, *, direct: bool) -> Message:
    request = direct_request(case.command, case.shell, KnownShells())
    return runner.start_message(
        key, case.command, argv=[case.shell, "-c", case.command], env=case.environment,
        cwd=str(cwd), direct=request if direct else None, short_output=MOST, **case.changes,
    )  # fmt: skip


def prepare(place: Path) -> None:
    """What redirections of a command may find."""
    place.mkdir()
    place.chmod(0o777)
    (place / "in").write_text("some input\n")
    (place / "old").write_text("old text\n")
    (place / "old").chmod(0o666)
    (place / "mine").write_text("of root\n")
    (place / "mine").chmod(0o600)
    (place / "folder").mkdir()
    (place / "link").symlink_to("old")
    (place / "dangling").symlink_to("new")
    (place / "loop").symlink_to("loop")


def files_in(place: Path) -> dict[str, tuple[str, int]]:
    return {
        path.name: (normal(path.read_bytes()), path.stat().st_mode)
        for path in sorted(place.iterdir())
        if path.is_file()
    }


# What differs from process to process, and is not looked at.
_VARYING = tuple(
    re.compile(pattern, re.MULTILINE)
    for pattern in (
        r"(?<=pipe:)\[[0-9]+\]",
        r"(?<=: line 1: ) *[0-9]+",  # a pid, in a message of bash
        r"(?<=PPID=|ONDS=)[0-9]+",  # what shells replace
        r"^(?:ino|Max realtime timeout|Vm\w+|Rss\w+|\w+ctxt_\w+|FDSize|SigQ):?[ \t].*\n",
        r"^(?:Tgid|Ngid|Pid|PPid|NStgid|NSpid|NSpgid|NSsid|HugetlbPages|CoreDumping):.*\n",
        r"^(?:Cpus|Mems)_allowed\w*:.*\n",
    )
)


def normal(printed: bytes) -> str:
    """What is printed, without what varies."""
    text = printed.decode("utf-8", "surrogateescape")
    for pattern in _VARYING:
        text = pattern.sub("", text)
    if "PWD=" in text:  # an environment, which is in any order
        text = "\n".join(sorted(re.split(r"[\0\n]", text)))
    return text


def run_all(runner: RunningRunner, cases: list[Case], work: Path, *, direct: bool) -> list[Seen]:
    """Run each case in a directory of its own; what was seen, in the same order."""
    work.mkdir()
    work.chmod(0o755)
    seen = []
    for begin in range(0, len(cases), AT_ONCE):
        places = [work / str(begin + number) for number in range(len(cases[begin:][:AT_ONCE]))]
        for place in places:
            prepare(place)
        keys = [f"{direct}-{place.name}" for place in places]
        runner.client.send(
            message(runner, key, case, place, direct=direct)
            for key, case, place in zip(keys, cases[begin:], places, strict=False)
        )
        ends: dict[str, Message] = {}
        until(partial(all_ended, runner, keys, ends), 60)
        seen += [
            Seen(
                ends[key]["exit_status"],
                ends[key]["signal"],
                printed(runner, ends[key]),
                files_in(place),
            )
            for key, place in zip(keys, places, strict=True)
        ]
        runner.client.send([{"type": "ack", "ids": keys}])
        runner.messages.clear()
    shutil.rmtree(work)
    return seen


def printed(runner: RunningRunner, end: Message) -> str:
    in_file = end["output"] is None and end["output_kept"]
    data = (
        runner.output_path(end["id"]).read_bytes()
        if in_file
        else (end["output"] or "").encode("latin-1")
    )
    return normal(data)


def all_ended(runner: RunningRunner, keys: list[str], ends: dict[str, Message]) -> bool:
    ends.update({each["id"]: each for each in runner.receive() if each["type"] == "ended"})
    return ends.keys() >= set(keys)


def compare(runner: RunningRunner, cases: list[Case], work: Path) -> None:
    """Compare each case with and without its shell."""
    without = run_all(runner, cases, work, direct=True)
    within = run_all(runner, cases, work, direct=False)
    differing = [
        (case, [pair for pair in zip(*both, strict=True) if pair[0] != pair[1]])
        for case, *both in zip(cases, without, within, strict=True)
        if both[0] != both[1]
    ]
    if differing:
        raise AssertionError("\n\n".join(map(str, [len(differing), *differing[:5]])))


# ---- generated commands

PROGRAMS = (
    "/bin/echo", "/bin/cat", "/bin/cat in", "/bin/pwd", "/bin/true", "/bin/false", "/usr/bin/id",
    "/usr/bin/env -0", "/usr/bin/env", "//usr/bin/env -0", "/usr/bin/../bin/env -0",
    "/bin/cat /proc/self/environ", "/bin/cat /proc/self/status", "/bin/cat /proc/self/limits",
    "/bin/cat /proc/self/cmdline", "/bin/cat /proc/self/comm", "/usr/bin/nice", "/usr/bin/tty",
    "/bin/readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2 /proc/self/fd/3"
    " /proc/self/fd/4 /proc/self/fd/5 /proc/self/fd/10 /proc/self/fd/255", "/usr/bin/touch b",
    "/bin/cat /proc/self/fdinfo/0 /proc/self/fdinfo/1 /proc/self/fdinfo/2", "/bin/touch new",
    "/bin/readlink /proc/self/exe", "{here}/die TERM", "{here}/die KILL", "{here}/die INT",
    "{here}/die SEGV", "{here}/die ABRT", "{here}/die PIPE", "{here}/die USR1", "{here}/die 40",
    "/bin/sh -c umask", "/bin/ls mine old nowhere", "/bin/cat nowhere", "/usr/bin/timeout 9 pwd",
    "/nowhere/program", "/etc/passwd", "/etc", "/etc/", "/", "/bin/echo/x", "/proc/self/exe -c pwd",
    "{here}/plain", "{here}/bad", "{here}/empty", "{here}/script", "{here}/data", "{here}/none",
)  # fmt: skip
WORDS = (
    "a", "-u", "b=c", "x:y,z", "@", "%d", "+1", "--", "-", "1", "22", "a2", "=", "..", "e@f",
)  # fmt: skip
TARGETS = (
    "new", "old", "in", "mine", "link", "dangling", "loop", "folder", "folder/new", "./new", "-",
    "/dev/null", "/dev/null", "/dev/null", "/dev/full", "/dev/stdout", "/dev/stderr", "/dev/fd/1",
    "none/new", "/dev/tty", "/dev/tcp/127.0.0.1/1", "/proc/self/fd/2", "1", "../../data", "in/x",
)  # fmt: skip
NAMES = (
    "FOO", "_", "PWD", "OLDPWD", "SHLVL", "PATH", "HOME", "SHELL", "LANG", "LC_ALL", "IFS", "PS1",
    "PS4", "PPID", "OPTIND", "UID", "TERM", "TZ", "HOSTNAME", "COLUMNS", "MAIL", "LINENO", "RANDOM",
    "BASHOPTS", "SHELLOPTS", "POSIXLY_CORRECT", "SSH_CLIENT", "A.B", "x-y", "1st", "BASH_FUNC_f%%",
    "TMPDIR", "CRON_JOB", "MAILTO", "SECONDS", "DISPLAY", "HISTFILE", "GROUPS", "DIRSTACK", "REPLY",
    "CDPATH", "EUID", "TMOUT", "GLOBIGNORE", "BASH_COMPAT", "HISTCMD", "OPTERR", "EPOCHSECONDS",
)  # fmt: skip
VALUES = ("", "1", "x y", "/", "/tmp", "/nowhere", "C", "a=b;c", "\u00e4\udcff", "() { :; }")


def generated(random: Random, here: Path) -> Case:
    program = random.choice(PROGRAMS).format(here=here)
    words = random.choices(WORDS, k=random.choice((0, 0, 1, 3)))
    parts = [program, *words]
    for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
        parts.insert(random.randint(1, len(parts)), redirection(random))
    names = random.sample(NAMES, k=random.choice((0, 1, 2, 5)))
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(here)}
    if random.random() < 0.5:
        environment |= {name: random.choice(VALUES) for name in names}
    changes: dict[str, Any] = {}
    if random.random() < 0.5:
        changes["stdin"] = random.choice(("", "first\nsecond\n"))
    if random.random() < 0.3:
        changes["umask"] = random.choice((0, 0o027, 0o077))
    if os.geteuid() == 0 and random.random() < 0.5:
        changes["user"] = other_user()
    blank = random.choice((" ", "\t", "  "))
    return Case(blank.join(parts), random.choice(SHELLS), environment, changes)


def redirection(random: Random) -> str:
    if random.random() < 0.35:
        return random.choice(("2>&1", ">&2", "1>&2", "1>&1"))
    operator = random.choice((">", ">>", "<", "2>", "2>>", "1>", "0<", "1>>", "2<", "0>"))
    target = random.choice(TARGETS)
    if "<" in operator and re.search(r"std|fd|full", target):
        target = "in"  # to read one's own output, or for ever, takes too long
    return operator + random.choice(("", " ")) + target


@pytest.mark.parametrize("seed", range(-(-COMMANDS // 2500)))
def test_generated_commands(runner: RunningRunner, directory: Path, seed: int) -> None:
    random = Random(seed)
    cases = [generated(random, directory) for _ in range(min(COMMANDS, 2500))]
    compare(runner, cases, directory / "work")


# ---- commands of real tables, with /bin/echo in place of the program: they are never run


def real_commands() -> list[str]:
    """The simple ones among those in the corpus."""
    if not CORPUS.is_dir():
        return []
    rows = map(json.loads, (CORPUS / "parsed.jsonl").read_text().splitlines())
    commands = {entry["cmd"] for row in rows for entry in row["entries"]}
    return sorted(each for each in commands if simple_command(each.split("%")[0]) is not None)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="PYCRON_CORPUS does not name the folder of tables")
def test_real_commands(runner: RunningRunner, directory: Path) -> None:
    cases = []
    for command in real_commands():
        harmless = re.sub(r"^\s*\S+?(?=[\s<>]|$)", "/bin/echo", command.split("%")[0])
        # Every file is one in the directory of the command.
        harmless = re.sub(
            r"([<>])([ \t]*)(?!/dev/null\b)([^\s<>&]+)",
            lambda found: found[1] + found[2] + found[3].replace("/", "_"),
            harmless,
        )
        cases += [Case(harmless, shell) for shell in SHELLS]
    assert len(cases) > 100
    compare(runner, cases, directory / "work")


# ---- which of the two has happened


class Recorder:
    """A shell that notes that it was started."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "recorder"
        self._notes = directory / "notes"
        self._notes.touch()
        self._notes.chmod(0o666)
        self.path.write_text(f'#!/bin/sh\necho x >>{self._notes}\nexec /bin/sh "$@"\n')
        self.path.chmod(0o755)

    def starts(self) -> int:
        return self._notes.read_text().count("x")


def shell_is_started(runner: RunningRunner, directory: Path, case: Case) -> bool:
    recorder = Recorder(directory)
    work = directory / "work"
    prepare(work)
    start = message(runner, "a.1", case, work, direct=True)
    start["argv"] = [str(recorder.path), "-c", case.command]
    runner.client.send([start])
    runner.ended("a.1")
    return recorder.starts() > 0


@pytest.mark.parametrize(
    "command",
    [
        "/bin/true", "/bin/cat <in >new", "/bin/ls >/dev/null 2>&1", "/bin/echo x >>old",
        "/bin/echo x 2>/dev/null", "/bin/echo x >link", "/bin/false >&2",
    ],
)  # fmt: skip
def test_a_simple_command_is_executed_without_its_shell(
    runner: RunningRunner, directory: Path, command: str
) -> None:
    assert not shell_is_started(runner, directory, Case(command))


@pytest.mark.parametrize(
    "command",
    [
        "/nowhere/program", "/etc/passwd", "/etc", "/bin/true <nowhere", "/bin/true >folder",
        "/bin/true >/dev/full", "/bin/true >none/new", "/bin/true >loop", "/proc/self/exe -c :",
        "/bin/true >/dev/stdout", "/bin/true >new 2>&1",
    ],
)  # fmt: skip
def test_the_shell_says_what_is_wrong(runner: RunningRunner, directory: Path, command: str) -> None:
    assert shell_is_started(runner, directory, Case(command))


@pytest.mark.parametrize("name", ["BASH_ENV", "ENV", "IFS", "A.B"])
def test_a_variable_that_the_shell_uses(runner: RunningRunner, directory: Path, name: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", name: "x"}
    assert shell_is_started(runner, directory, Case("/bin/true", environment=environment))


def test_a_fifo_keeps_nobody_waiting(runner: RunningRunner, directory: Path) -> None:
    """Only its own command waits for the other end."""
    work = directory / "work"
    prepare(work)
    for name in ("one", "two"):
        os.mkfifo(work / name)
    reader = os.open(work / "two", os.O_RDONLY | os.O_NONBLOCK)
    cases = {
        "z.1": Case("/bin/echo x >one"), "y.1": Case("/bin/cat <one"),
        "x.1": Case("/bin/echo x >two"), "w.1": Case("/bin/true >new"),
    }  # fmt: skip
    runner.client.send(message(runner, key, cases[key], work, direct=True) for key in cases)
    for key in cases:
        assert runner.ended(key)["exit_status"] == 0
    os.close(reader)


@needs_root
def test_new_mounts_are_noticed(tmp_path: Path) -> None:
    mounts = Mounts()
    assert "/proc/" in mounts.slow()
    subprocess.run(["mount", "-t", "proc", "proc", tmp_path], check=True)
    try:
        assert f"{tmp_path}/" in mounts.slow()
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert f"{tmp_path}/" not in mounts.slow()


# ---- processes


@pytest.mark.parametrize("shell", SHELLS)
def test_the_processes_are_the_same_but_for_a_shell_that_waits(
    runner: RunningRunner, directory: Path, shell: str
) -> None:
    """The first process of the Attempt is the child of the runner, and leads its session."""
    found = []
    for direct in (True, False):
        key = f"{direct}.1"
        start = message(runner, key, Case("/bin/sleep 1000", shell), directory, direct=direct)
        runner.client.send([start])
        first = pid = until(partial(runner.received, "started", key))["pid"]
        until(lambda: not starters_of(runner.process.pid))
        known = KnownShells().find(shell)
        if known is not None and known.waits and not direct:
            (pid,) = until(partial(children, first))
        command_line = until(partial(command_line_of_sleep, pid))
        assert stat_of(first)[1:4] == [str(runner.process.pid), str(first), str(first)]
        terminal = stat_of(pid)[4]
        found.append((command_line, children(pid), stat_of(pid)[3] == str(first), terminal))
        runner.client.send(
            [{"type": "end", "id": key, "cause": "cancelled", "reason": "", "kill_after": 5}]
        )
        assert runner.ended(key)["signal"] == signal.SIGTERM
    assert found[0] == found[1]


def command_line_of_sleep(pid: int) -> bytes:
    """Empty until it is the program: it has none for a moment while it is executed."""
    program = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
    is_sleep = program in ("sleep", "coreutils", "busybox")
    return Path(f"/proc/{pid}/cmdline").read_bytes() if is_sleep else b""


def stat_of(pid: int) -> list[str]:
    """The fields from the state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGSEGV, signal.SIGPIPE])
def test_a_signal_to_the_program_alone_is_told_as_the_shell_tells_it(
    runner: RunningRunner, directory: Path, number: signal.Signals
) -> None:
    """Also where the output is shown while the command runs, and its streams are two."""
    ends = []
    for direct in (True, False):
        key = f"{direct}.1"
        case = Case(f"{directory}/die {number} 2>&1", changes={"report_output": True})
        prepare(directory / "work")
        runner.client.send([message(runner, key, case, directory / "work", direct=direct)])
        end = runner.ended(key)
        until(partial(streams_have_ended, runner, key))
        said = [(each["stream"], each["data"]) for each in shown(runner, key)]
        streams = {name: "".join(text for on, text in said if on == name) for name, _ in said}
        assert [name for name, text in said if not text].count("stdout") == 1
        ends.append((end["exit_status"], end["signal"], streams))
        shutil.rmtree(directory / "work")
    assert ends[0] == ends[1]


def streams_have_ended(runner: RunningRunner, key: str) -> bool:
    ended = {each["stream"] for each in shown(runner, key) if not each["data"]}
    return ended == {"stdout", "stderr"}


def shown(runner: RunningRunner, key: str) -> list[Message]:
    return [each for each in runner.receive() if each["type"] == "output" and each["id"] == key]


# ---- the shells


@pytest.mark.parametrize("shell", SHELLS)
def test_what_shells_do_to_an_environment(shell: str, tmp_path: Path) -> None:
    """Each variable alone: either it is known what the shell makes of it, or the shell is asked."""
    kind = KnownShells().find(shell)
    assert kind is not None
    for name in NAMES:
        for value in VALUES:
            passed = {name: value, "X": "1"}
            known = environment_from(kind.name, passed, "/usr/bin/env", str(tmp_path))
            if known is None:
                continue
            done = subprocess.run(
                [shell, "-c", "/usr/bin/env -0"], env=passed, cwd=tmp_path, capture_output=True,
                stdin=subprocess.DEVNULL, check=True,
            )  # fmt: skip
            printed = os.fsdecode(done.stdout).split("\0")
            assert sorted(printed) == sorted(["", *map("=".join, known.items())]), passed
            assert done.stderr == b""


def test_a_shell_that_has_another_name_or_does_something_else(tmp_path: Path) -> None:
    assert KnownShells().find(str(tmp_path / "bash")) is None
    assert KnownShells().find("/bin/cat") is None


def test_the_daemon_does_not_look_at_a_shell_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be on a file system that does not answer, and each path would be remembered."""
    looked_at: list[str] = []
    monkeypatch.setattr("os.stat", looked_at.append)
    monkeypatch.setattr("os.path.realpath", looked_at.append)
    assert KnownShells().find("/home/alice/bin/bash") is None
    assert KnownShells().find("/bin/../bin/bash") is None
    assert looked_at == []


def test_a_shell_is_asked_before_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of a shell may do something else to the environment."""
    monkeypatch.setattr("pycron.executor.known_shells.environment_from", lambda *_: {"A": "b"})
    assert KnownShells().find(SHELLS[0]) is None


# ---- the daemon


def test_what_keeps_its_shell() -> None:
    """What a shell that waits would say of a signal must be known."""
    shells = KnownShells()
    for path in SHELLS:
        shell = shells.find(path)
        assert shell is not None
        for command in ("/bin/x >f", "/bin/x >/dev/null 2>&1", "/bin/x 2>&1"):
            assert (direct_request(command, path, shells) is None) == (shell.name == BASH)
    assert direct_request("/bin/x 2>f", "/bin/sh", shells) is None
    assert direct_request("/bin/x >f 2>&1", "/bin/sh", shells) is None
    assert direct_request("/bin/x", "/bin/cat", shells) is None


@pytest.mark.parametrize("value", ["true", "false"])
def test_the_option(tmp_path: Path, value: str) -> None:
    """dash waits for its command, so the command does not lead the session."""
    table = "CRON_NAME=j @every 1s /bin/cat /proc/self/stat\n"
    known = KnownShells().find("/bin/sh")
    with operated_daemon(tmp_path, table, f"[limits]\ndirect = {value}\n") as op:
        op.daemon.wait_for("attempt_ended", job="j", outcome="succeeded")
        run_id = op.rows("runs", "--job", "j", "--outcome", "succeeded")[0]["run_id"]
        pid, _, _, _, _, session, *_ = op.run("log", run_id).stdout.split()
        alone = value == "true" or known is None or not known.waits
        assert (pid == session) == alone
