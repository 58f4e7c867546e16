"""A bad table never replaces a good one: the events for the engine, and the log."""

import dataclasses
import os
import time
from pathlib import Path

import pytest

from pycron.config import Config
from pycron.crontab.reader import ReaderContext
from pycron.engine.actions import Log
from pycron.engine.events import InputEvent, TableLoaded, TableRemoved
from pycron.engine.log_events import Event
from pycron.system.accounts import Accounts, own_account
from pycron.tables.directories import TableDirectories, TableLocation
from pycron.tables.loaded import Tables
from pycron.tables.versions import TableVersions


@dataclasses.dataclass
class LoadedDirectory:
    """A directory of tables, with the events and log entries that its changes cause."""

    directory: Path
    fed: list[InputEvent] = dataclasses.field(default_factory=list)
    logged: list[Log] = dataclasses.field(default_factory=list)
    context: ReaderContext = dataclasses.field(default_factory=ReaderContext)

    def __post_init__(self) -> None:
        me = own_account().name
        spool = TableDirectories([TableLocation(self.directory, me, directory=True)], Config)
        accounts, log = Accounts(), self.logged.append
        versions = TableVersions(self.directory / ".versions", Config, accounts, log)
        self.tables = Tables(spool, accounts, lambda: self.context, self.fed.append, log, versions)

    def put(self, text: str, name: str = "table") -> None:
        (self.directory / name).write_text(text)
        (self.directory / name).chmod(0o644)
        self.look()

    def look(self, again: bool = False) -> None:
        self.fed.clear()
        self.logged.clear()
        self.tables.rescan(again)

    def commands(self) -> list[str]:
        """The commands that the engine got."""
        (event,) = self.fed
        assert isinstance(event, TableLoaded)
        return [job.command for job in event.table.jobs]

    def events(self) -> list[Event]:
        return [log.event for log in self.logged]

    def said(self, event: Event) -> Log:
        return next(log for log in self.logged if log.event is event)


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedDirectory:
    return LoadedDirectory(tmp_path)


def test_a_good_table(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n* * * * * two\n")
    assert loaded.commands() == ["one", "two"]
    assert loaded.events() == [Event.TABLE_LOADED]
    assert loaded.tables.problems() == []
    loaded.look()
    assert loaded.fed == []
    assert loaded.logged == []


def test_a_table_that_turns_bad_keeps_its_last_good_jobs(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n")
    loaded.put("* * * * * two\n61 * * * * three\n")
    assert loaded.commands() == ["one"]
    assert loaded.events() == [Event.TABLE_PROBLEM, Event.TABLE_BAD]
    assert loaded.said(Event.TABLE_BAD).fields["running"] == "its last good version"
    assert loaded.said(Event.TABLE_BAD).bad
    problem = loaded.said(Event.TABLE_PROBLEM)
    assert str(problem.fields["problem"]).startswith(f'{loaded.directory}/table:2: bad minute: "61')
    assert [p.line for p in loaded.tables.problems()] == [2]
    loaded.put("61 * * * * four\n")  # another bad version changes nothing
    assert loaded.commands() == ["one"]
    loaded.put("* * * * * five\n")
    assert loaded.commands() == ["five"]
    assert loaded.tables.problems() == []


def test_a_table_that_was_never_good_runs_its_good_lines(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n61 * * * * two\n")
    assert loaded.commands() == ["one"]
    assert loaded.said(Event.TABLE_BAD).fields["running"] == "its good lines"
    loaded.put("61 * * * * two\n* * * * * three\n")  # there never was a good one
    assert loaded.commands() == ["three"]


GOOD = "* * * * * one\n"
BAD = "* * * * * two\n* * * * * three\n61 * * * * four\n"


@pytest.mark.parametrize("beginning", ["", "* * * * * two\n"])
@pytest.mark.parametrize(
    ("before", "commands", "running"),
    [
        (GOOD, ["one"], "its last good version"),
        (None, ["two", "three"], "its good lines"),
    ],
)
def test_the_beginning_of_a_bad_table_is_no_good_version(
    loaded: LoadedDirectory, before: str | None, beginning: str, commands: list[str], running: str
) -> None:
    """A scan that another change caused reads a file that somebody is just writing."""
    loaded.look()  # the daemon starts
    if before is not None:
        loaded.put(before)
    with (loaded.directory / "table").open("w") as file:  # as an editor or `cp` writes it
        os.fchmod(file.fileno(), 0o644)
        loaded.look()
        file.write(beginning)
        file.flush()
        loaded.look()
        file.write(BAD.removeprefix(beginning))
    loaded.look()
    assert loaded.commands() == commands
    assert loaded.said(Event.TABLE_BAD).fields["running"] == running


def test_a_bad_line_that_is_added_later_leaves_the_good_version(loaded: LoadedDirectory) -> None:
    loaded.put(GOOD)
    time.sleep(2.1)  # longer than one write takes
    with (loaded.directory / "table").open("a") as file:
        file.write("* * * * * two\n61 * * * * three\n")
    loaded.look()
    assert loaded.commands() == ["one"]


def test_a_table_that_cannot_be_read_any_more_keeps_its_jobs(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n")
    (loaded.directory / "table").chmod(0o666)
    loaded.look()
    assert loaded.commands() == ["one"]
    assert [problem.code for problem in loaded.tables.problems()] == ["writable"]
    assert loaded.said(Event.TABLE_PROBLEM).bad
    (loaded.directory / "table").chmod(0o644)
    loaded.look()
    assert loaded.commands() == ["one"]
    assert loaded.tables.problems() == []


def test_a_table_that_could_never_be_read(loaded: LoadedDirectory) -> None:
    os.mkfifo(loaded.directory / "fifo")
    loaded.look()
    assert loaded.commands() == []
    assert loaded.tables.problems()[0].code == "not-a-file"


def test_a_table_that_was_removed_has_no_jobs(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n")
    (loaded.directory / "table").unlink()
    loaded.look()
    assert loaded.fed == [TableRemoved(str(loaded.directory / "table"))]
    assert loaded.events() == [Event.TABLE_REMOVED]
    loaded.put("61 * * * * two\n* * * * * three\n")  # a new one: the old jobs don't come back
    assert loaded.commands() == ["three"]


def test_an_empty_table_is_good(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n")
    loaded.put("")
    assert loaded.commands() == []
    assert loaded.events() == [Event.TABLE_LOADED]


def test_a_warning_does_not_keep_it_from_loading(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one")
    assert loaded.commands() == ["one"]
    assert loaded.events() == [Event.TABLE_PROBLEM, Event.TABLE_LOADED]
    assert "warning: " in str(loaded.said(Event.TABLE_PROBLEM).fields["problem"])


def test_a_file_with_another_kind_of_name_is_logged_once(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n", name="table.bak")
    assert loaded.fed == []
    assert loaded.events() == [Event.TABLE_IGNORED]
    loaded.look()
    assert loaded.events() == []


def test_a_rescan_of_everything(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n")
    loaded.look(again=True)
    assert loaded.commands() == ["one"]


def test_a_user_that_does_not_exist(tmp_path: Path) -> None:
    loaded = LoadedDirectory(tmp_path)
    loaded.tables.directories.locations = [TableLocation(tmp_path, directory=True)]
    loaded.put("* * * * * no-such-user-here one\n")
    assert loaded.commands() == ["one"]  # LDAP may know the user by then
    problem = str(loaded.said(Event.TABLE_PROBLEM).fields["problem"])
    assert problem.startswith(f'{tmp_path}/table:1: warning: no such user: "no-such-user-here"')
    assert loaded.events()[-1] is Event.TABLE_LOADED


def test_the_last_good_version_follows_the_configuration(loaded: LoadedDirectory) -> None:
    """A table that turns bad does not escape a lowered ceiling."""
    loaded.put("CRON_RETRIES=9 * * * * * one\n")
    loaded.put("61 * * * * two\n")
    loaded.context = ReaderContext(defaults={"timeout": 60}, ceilings={"retries": 2})
    loaded.look(again=True)
    assert loaded.commands() == ["one"]
    (event,) = loaded.fed
    assert isinstance(event, TableLoaded)
    assert (event.table.jobs[0].settings.retries, event.table.jobs[0].settings.timeout) == (2, 60)


def test_the_last_good_version_stays_if_new_limits_make_it_bad(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n* * * * * two\n")
    loaded.context = ReaderContext(most_entries=1)
    loaded.look(again=True)
    assert loaded.commands() == ["one", "two"]
    assert [problem.code for problem in loaded.tables.problems()] == ["too-many-entries"]


@pytest.mark.parametrize("junk", ["@daily root\0x\n", "* * * * * good\nbad\nworse\n"])
def test_nothing_in_a_junk_file_runs(loaded: LoadedDirectory, junk: str) -> None:
    loaded.put(junk)
    assert loaded.commands() == []
    assert loaded.said(Event.TABLE_BAD).fields["running"] == "nothing"


def test_junk_does_not_replace_the_last_good_version(loaded: LoadedDirectory) -> None:
    loaded.put("* * * * * one\n")
    loaded.put("* * * * * two\nbad\n\0\n")
    assert loaded.commands() == ["one"]
    assert loaded.said(Event.TABLE_BAD).fields["running"] == "its last good version"


def test_changes_are_loaded_in_steps(loaded: LoadedDirectory) -> None:
    (loaded.directory / "large").write_text("".join(f"@daily {n}\n" for n in range(2000)))
    (loaded.directory / "large").chmod(0o644)
    loaded.tables.look()
    steps = 0
    while loaded.tables.has_work:
        assert loaded.fed == []
        loaded.tables.work()
        steps += 1
        if loaded.fed:
            break
    assert steps > 10
    while loaded.tables.has_work:
        loaded.tables.work()
    assert len(loaded.commands()) == 2000


def test_a_change_during_the_steps_is_seen(loaded: LoadedDirectory) -> None:
    loaded.put("@daily one\n", "first")
    loaded.fed.clear()
    loaded.tables.look()
    (loaded.directory / "second").write_text("@daily two\n")
    (loaded.directory / "second").chmod(0o644)
    loaded.tables.look()
    while loaded.tables.has_work:
        loaded.tables.work()
    assert loaded.commands() == ["two"]
