"""The documentation says what the programs do: both sides are read and compared.

A crontab example is a `.Bd -literal` block under a `.\\" crontab` comment in a manual, a fenced
block ```crontab in README.md or docs/*.md, or a file examples/*.crontab. The word `system` after
`crontab`, or `system table` in the first line of the file, says that it has a user column.
"""

import argparse
import dataclasses
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import pycron
from pycron.analysis.forecast import JobForecast
from pycron.analysis.statistics import statistics_of
from pycron.cli import pycron as pycron_program
from pycron.cli import pycrond, pycrontab
from pycron.cli.installing.steps import Remove
from pycron.cli.problem_formats import problem_details
from pycron.cli.simulation_view import job_row as job_row_of_simulation
from pycron.cli.statistics_view import statistics_row
from pycron.config import CAPPED, OPEN_SECTIONS, OPTIONS, Config, NotificationOptions
from pycron.control.rows import attempt_row, live_row, pause_row, run_row
from pycron.crontab import reader
from pycron.crontab.comparison import Finding, Verdict, finding_row
from pycron.crontab.reader import ReaderContext
from pycron.engine.delivery_jobs import HOOK_SETTINGS, failure_hook
from pycron.engine.live_runs import LiveRun
from pycron.engine.log_events import Event
from pycron.engine.states import State
from pycron.model.history import AttemptRecord, RunRecord
from pycron.model.job import Source
from pycron.model.pause import ALL, Pause
from pycron.model.problem import Problem, Severity
from pycron.model.run import Outcome, RunKey
from pycron.model.settings import SETTINGS, Setting
from pycron.protocol.control_answers import WhyRow
from pycron.protocol.job_answers import LastRunRow, ListedJobRow, NextRow, PausedRow
from pycron.protocol.question_answers import SampleRow
from pycron.system.zone_data import ZoneData

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "man").glob("*.[158]"))
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "pycrond.8": pycrond.parser,
    "pycrontab.1": pycrontab.parser,
    "pycron.1": pycron_program.parser,
}
MAINS: dict[str, Callable[[list[str]], int]] = {
    "pycrond": pycrond.main,
    "pycrontab": pycrontab.main,
    "pycron": pycron_program.main,
}


def verb_parsers() -> dict[str, argparse.ArgumentParser]:
    actions = pycron_program.parser()._actions
    [verbs] = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    return dict(verbs.choices)


VERBS = verb_parsers()
HELPS = [(program,) for program in MAINS] + [("pycron", verb) for verb in VERBS]


def parser_options(parser: argparse.ArgumentParser) -> set[str]:
    return set(parser._option_string_actions)


# ---- manuals: sections, and the items of their lists


@cache
def page(name: str) -> str:
    return (ROOT / "man" / name).read_text()


@cache
def sections(name: str) -> dict[str, str]:
    """The text of each section and subsection, without those below it."""
    parts = re.split(r"^\.S[hs] (.+)$", page(name), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def items(text: str, macro: str) -> dict[str, str]:
    """The text of each list item `.It MACRO NAME`."""
    parts = re.split(rf"^\.It {macro} (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.split("\n.It ")[0] for part in parts[2::2]), strict=True))


def manual_options(text: str) -> set[str]:
    heads = re.findall(r"^\.It (Fl .+)$", text, re.MULTILINE)
    return {"-" + flag for head in heads for flag in re.findall(r"Fl (\S+)", head)}


def written_default(text: str) -> str | None:
    """The text after `Default:`; None for `not set`."""
    match = re.search(r"^Default:\n\.(Cm (.+?)|Em not set)(?: \.)?$", text, re.MULTILINE)
    assert match, "no default"
    return match[2]


# ---- options


@pytest.mark.parametrize("name", PARSERS)
def test_options_are_those_of_the_manual(name: str) -> None:
    text = sections(name)["DESCRIPTION"]
    assert manual_options(text) == parser_options(PARSERS[name]())


@pytest.mark.parametrize("verb", VERBS)
def test_options_of_a_verb_are_those_of_the_manual(verb: str) -> None:
    described = sections("pycron.1")
    common = manual_options(described["Options of every verb"])
    assert manual_options(described[verb]) | common == parser_options(VERBS[verb])


@pytest.mark.parametrize("name", PARSERS)
def test_synopsis_has_options_that_exist(name: str) -> None:
    synopsis = re.findall(r"(?:Fl|\|) (-?[a-z][a-z-]*|-?[A-Z])\b", sections(name)["SYNOPSIS"])
    known = parser_options(PARSERS[name]())
    if name == "pycron.1":
        known |= {option for parser in VERBS.values() for option in parser_options(parser)}
        known |= {f"-{verb}" for verb in VERBS}  # `status | list`
    assert {f"-{flag}" for flag in synopsis} <= known


# ---- settings, configuration, events


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=list(SETTINGS))
def test_setting_is_in_the_manual(setting: Setting) -> None:
    text = items(sections("pycrontab.5")["Settings"], "Ev")[setting.name]
    prose = " ".join(text.split()).casefold()
    assert setting.form.casefold() in prose
    assert setting.help.split(";")[0].casefold() in prose
    written = written_default(text)
    default = None if setting.default == () else setting.default
    assert default == (None if written is None else setting.parse(written))


def test_manual_has_no_setting_that_does_not_exist() -> None:
    assert set(items(sections("pycrontab.5")["Settings"], "Ev")) == set(SETTINGS)


@pytest.mark.parametrize("key", OPTIONS)
def test_config_option_is_in_the_manual(key: str) -> None:
    written = written_default(items(sections("pycron.toml.5")["OPTIONS"], "Cm")[key])
    default = getattr(Config(), OPTIONS[key].name)
    text = str(default).lower() if isinstance(default, bool) else str(default)
    assert written in ((None,) if default in (None, ()) else (text, rf"\(dq{text}\(dq"))


def test_manual_has_no_config_option_that_does_not_exist() -> None:
    described = set(items(sections("pycron.toml.5")["OPTIONS"], "Cm"))
    assert described == {*OPTIONS, *(f"[{section}]" for section in OPEN_SECTIONS)}


def test_manual_has_the_keys_of_a_notification() -> None:
    described = items(sections("pycron.toml.5")["Notifications"], "Cm")
    assert set(described) == {field.name for field in dataclasses.fields(NotificationOptions)}


def test_manual_names_the_settings_that_have_a_ceiling() -> None:
    text = items(sections("pycron.toml.5")["OPTIONS"], "Cm")["[ceilings]"]
    assert set(re.findall(r"CRON_[A-Z_]+", text)) == set(CAPPED)


def test_manual_names_the_settings_that_a_failure_hook_has() -> None:
    """The settings of a Job that apply to its CRON_ON_FAILURE command."""
    _, _, text = sections("pycrontab.5")["When a Run has failed"].partition("It has the Job's")
    named = set(re.findall(r"CRON_[A-Z_]+", text.partition(".Pp")[0]))
    assert named == {s.name for s in SETTINGS.values() if s.attribute in HOOK_SETTINGS}


def test_manual_names_the_variables_of_a_failure_hook() -> None:
    entry = "CRON_ON_FAILURE=x @daily true\n"
    [job] = reader.parse(entry, Source("joe", "joe"), ReaderContext()).jobs
    hook = failure_hook(job, RunKey(job.id, 0), Outcome.FAILED, 1)
    assert hook is not None
    described = items(sections("pycrontab.5")["When a Run has failed"], "Ev")
    assert set(described) == set(dict(hook.environment)) - set(dict(job.environment))


@pytest.mark.parametrize("key", OPTIONS)
def test_the_manual_says_which_options_need_a_new_start(key: str) -> None:
    text = items(sections("pycron.toml.5")["OPTIONS"], "Cm")[key]
    assert ("takes effect at the next start" in text) is OPTIONS[key].metadata["at_start"]


def test_log_events_are_those_of_the_manual() -> None:
    assert set(items(sections("pycrond.8")["LOG EVENTS"], "Cm")) == {e.value for e in Event}


_SAMPLES: SampleRow = {
    "job": "x", "id": "0", "table": "joe", "line": 1, "user": "joe", "fire_times": [],
    "lateness_ms": [], "seconds": [], "outcomes": [],
}  # fmt: skip


def _keys_of(row: type) -> Mapping[str, object]:
    return dict.fromkeys(row.__annotations__)


def json_keys() -> dict[str, Mapping[str, object]]:
    """A row of each verb that prints rows."""
    [job] = reader.parse("@daily true\n", Source("joe", "joe"), ReaderContext()).jobs
    problem = Problem("joe", 1, 1, Severity.ERROR, "bad-minute", "bad minute")
    key = RunKey("0", 0)
    run = RunRecord(1, key, "x", "joe", 1, "joe", "", None, "", None, None, False, None, None)
    return {
        "list": {**_keys_of(ListedJobRow), **_keys_of(LastRunRow), **_keys_of(PausedRow)},
        "next": {**_keys_of(NextRow), **_keys_of(PausedRow)},
        "why": _keys_of(WhyRow),
        "runs": run_row(run),
        "show": attempt_row(AttemptRecord(1)),
        "pause": pause_row(Pause(ALL, 0, None, "root", None), {}),
        "top": live_row(LiveRun(RunKey("0", 0), job, State.QUEUED, 0, 0, None, None, None)),
        "check": problem_details(problem),
        "stats": statistics_row(_SAMPLES, statistics_of([])),
        "simulate": job_row_of_simulation(JobForecast("x", "0", "joe", "joe", 1)),
        "setup": dict(Remove(Path("/x")).row),
        "import": finding_row(Finding("x", 1, Verdict.SAME, "same", "means the same")),
    }


@pytest.mark.parametrize(("verb", "row"), json_keys().items(), ids=json_keys())
def test_json_keys_are_in_the_manual(verb: str, row: Mapping[str, object]) -> None:
    _, _, keys = sections("pycron.1")[verb].partition("\nKeys:")
    lines = re.findall(r"^\.Cm (.+)$", keys, re.MULTILINE)
    assert set(row) <= {word for line in lines for word in line.split()}


# ---- the manuals themselves


@pytest.mark.skipif(not shutil.which("mandoc"), reason="mandoc is not installed")
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_manual_is_clean(path: Path) -> None:
    command = ["mandoc", "-T", "lint", "-W", "warning", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == ("", "")


# ---- examples


def examples() -> Iterator[tuple[str, bool, str]]:
    """Name, whether it has a user column, and text of each crontab example."""
    for path in PAGES:
        marked = r'^\.\\" crontab( system)?\n\.Bd -literal.*\n((?s:.*?))^\.Ed$'
        for match in re.finditer(marked, path.read_text(), re.MULTILINE):
            text = match[2].replace("\\&", "").replace("\\e", "\\")
            yield f"{path.name}:{match.start()}", bool(match[1]), text
    fenced = r"^```crontab( system)?\n((?s:.*?))^```$"
    for path in TEXTS:
        for match in re.finditer(fenced, path.read_text(), re.MULTILINE):
            yield f"{path.name}:{match.start()}", bool(match[1]), match[2]
    for path in sorted((ROOT / "examples").glob("*.crontab")):
        text = path.read_text()
        yield path.name, "system table" in text.partition("\n")[0], text


EXAMPLES = list(examples())


@pytest.mark.parametrize(("name", "system", "text"), EXAMPLES, ids=[e[0] for e in EXAMPLES])
def test_example_has_no_errors(name: str, system: bool, text: str) -> None:
    source = Source(name, None if system else "joe")
    table = reader.parse(text, source, ReaderContext("host", ZoneData().exists))
    assert not table.errors
    assert table.jobs


# ---- commands of the texts


def commands(fences: bool) -> list[str]:
    """The commands of pycron's programs in README.md and docs/*.md, each once.

    Those in fenced blocks are whole. Those in the prose may leave arguments out.
    """
    found = []
    for path in TEXTS:
        parts = re.split(r"^```(\w*).*\n((?s:.*?))^```$", path.read_text(), flags=re.MULTILINE)
        shell = [part for kind, part in zip(parts[1::3], parts[2::3], strict=True) if kind == "sh"]
        spans = [span for part in parts[::3] for span in re.findall(r"`([^`\n]+)`", part)]
        lines = "\n".join(shell).splitlines() if fences else spans
        found += [line.partition(" #")[0].strip() for line in lines]
    return sorted({line for line in found if line.partition(" ")[0] in MAINS})


@pytest.mark.parametrize("command", commands(fences=True))
def test_a_command_of_the_texts_can_be_run(command: str) -> None:
    program, *words = shlex.split(command)
    parsers = {path.partition(".")[0]: make for path, make in PARSERS.items()}
    parsers[program]().parse_args(words)


@pytest.mark.parametrize("command", commands(fences=False))
def test_a_command_in_the_prose_has_a_verb_and_options_that_exist(command: str) -> None:
    program, *words = command.split()
    parsers = {path.partition(".")[0]: make for path, make in PARSERS.items()}
    known = parser_options(parsers[program]())
    if program == "pycron" and words:
        assert words[0] in VERBS
        known |= parser_options(VERBS[words[0]])
    options = {word.partition("=")[0].rstrip(",") for word in words if re.match("--?[a-z]", word)}
    assert options <= known


def test_the_texts_have_commands() -> None:
    assert len(commands(fences=True)) > 20
    assert len(commands(fences=False)) > 20


# ---- --help


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_help(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        MAINS[words[0]]([*words[1:], "--help"])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert out.strip()
    assert [line for line in out.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("words", HELPS, ids=" ".join)
def test_bad_option(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        MAINS[words[0]]([*words[1:], "--no-such-option"])
    out, err = capsys.readouterr()
    assert ended.value.code in (1, 2)
    assert out == ""
    assert err.strip()


@pytest.mark.parametrize(
    "parser", [*(make() for make in PARSERS.values()), *VERBS.values()], ids=lambda p: str(p.prog)
)
def test_everything_has_a_help_text(parser: argparse.ArgumentParser) -> None:
    assert [action.dest for action in parser._actions if not helped(action)] == []
    assert parser.description


def helped(action: argparse.Action) -> bool:
    return bool(action.help) or isinstance(action, argparse._SubParsersAction)


# ---- the rest


def test_changelog_has_this_version() -> None:
    headings = re.findall(r"^## \[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert pycron.__version__ in headings or "Unreleased" in headings


def test_changelog_knows_everything() -> None:
    words = set(re.findall(r"`([^`]+)`", (ROOT / "CHANGELOG.md").read_text()))
    parsers = [*(make() for make in PARSERS.values()), *VERBS.values()]
    options = {option for parser in parsers for option in parser_options(parser)}
    known = {*VERBS, *SETTINGS, *OPTIONS, *(e.value for e in Event), *options}
    assert known - {"-h", "--help"} - words == set()


SERVICE = ROOT / "contrib" / "systemd" / "pycron.service"


@pytest.mark.skipif(not SERVICE.exists(), reason="there is no unit")
def test_unit_names_options_that_exist() -> None:
    commands = re.findall(r"^Exec\w+=(\S*?pycrond)\b(.*)$", SERVICE.read_text(), re.MULTILINE)
    used = {option for _, rest in commands for option in re.findall(r"(?<= )--[a-z-]+", rest)}
    assert commands
    assert used <= parser_options(pycrond.parser())


@pytest.mark.parametrize("name", ["pycron-web.service", "pycron-worker.service"])
def test_further_units_have_a_verb_and_options_that_exist(name: str) -> None:
    text = SERVICE.with_name(name).read_text()
    [command] = re.findall(r"^ExecStart=/usr/bin/pycron (.+)$", text, re.MULTILINE)
    assert vars(pycron_program.parser().parse_args(shlex.split(command)))["system"]
