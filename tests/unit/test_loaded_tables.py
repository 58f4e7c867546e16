"""A bad table never replaces a good one: what the engine gets, and what people are told."""

import dataclasses
import os
from pathlib import Path

import pytest

from pycron.crontab.reader import ReaderContext
from pycron.engine.actions import Log
from pycron.engine.events import InputEvent, TableLoaded, TableRemoved
from pycron.engine.log_events import Event
from pycron.system.accounts import Accounts, own_account
from pycron.tables.directories import TableDirectories, TableLocation
from pycron.tables.loaded import Tables


@dataclasses.dataclass
class Office:
    """A directory of tables, and everything that was said about it."""

    directory: Path
    fed: list[InputEvent] = dataclasses.field(default_factory=list)
    logged: list[Log] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        me = own_account().name
        spool = TableDirectories(
            [TableLocation(self.directory, me, directory=True)], 1_000_000, 100
        )
        self.tables = Tables(spool, Accounts(), ReaderContext, self.fed.append, self.logged.append)

    def put(self, text: str, name: str = "table") -> None:
        (self.directory / name).write_text(text)
        (self.directory / name).chmod(0o644)
        self.look()

    def look(self, again: bool = False) -> None:
        self.fed.clear()
        self.logged.clear()
        self.tables.rescan(again)

    def commands(self) -> list[str]:
        """What the engine was given to run."""
        (event,) = self.fed
        assert isinstance(event, TableLoaded)
        return [job.command for job in event.table.jobs]

    def events(self) -> list[Event]:
        return [log.event for log in self.logged]

    def said(self, event: Event) -> Log:
        return next(log for log in self.logged if log.event is event)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_a_good_table(office: Office) -> None:
    office.put("* * * * * one\n* * * * * two\n")
    assert office.commands() == ["one", "two"]
    assert office.events() == [Event.TABLE_LOADED]
    assert office.tables.problems() == []
    office.look()
    assert office.fed == []
    assert office.logged == []


def test_a_table_that_turns_bad_keeps_its_last_good_jobs(office: Office) -> None:
    office.put("* * * * * one\n")
    office.put("* * * * * two\n61 * * * * three\n")
    assert office.commands() == ["one"]
    assert office.events() == [Event.TABLE_PROBLEM, Event.TABLE_BAD]
    assert office.said(Event.TABLE_BAD).fields["running"] == "its last good version"
    assert office.said(Event.TABLE_BAD).bad
    problem = office.said(Event.TABLE_PROBLEM)
    assert str(problem.fields["problem"]).startswith(f'{office.directory}/table:2: bad minute: "61')
    assert [p.line for p in office.tables.problems()] == [2]
    office.put("61 * * * * four\n")  # and it stays so, however often it is bad
    assert office.commands() == ["one"]
    office.put("* * * * * five\n")
    assert office.commands() == ["five"]
    assert office.tables.problems() == []


def test_a_first_bad_one_runs_its_good_lines(office: Office) -> None:
    office.put("* * * * * one\n61 * * * * two\n")
    assert office.commands() == ["one"]
    assert office.said(Event.TABLE_BAD).fields["running"] == "its good lines"
    office.put("61 * * * * two\n* * * * * three\n")  # there never was a good one
    assert office.commands() == ["three"]


def test_one_that_cannot_be_read_keeps_its_jobs(office: Office) -> None:
    office.put("* * * * * one\n")
    (office.directory / "table").chmod(0o666)
    office.look()
    assert office.commands() == ["one"]
    assert [problem.code for problem in office.tables.problems()] == ["writable"]
    assert office.said(Event.TABLE_PROBLEM).bad
    (office.directory / "table").chmod(0o644)
    office.look()
    assert office.commands() == ["one"]
    assert office.tables.problems() == []


def test_one_that_could_never_be_read(office: Office) -> None:
    os.mkfifo(office.directory / "fifo")
    office.look()
    assert office.commands() == []
    assert office.tables.problems()[0].code == "not-a-file"


def test_one_that_was_removed_has_no_jobs(office: Office) -> None:
    office.put("* * * * * one\n")
    (office.directory / "table").unlink()
    office.look()
    assert office.fed == [TableRemoved(str(office.directory / "table"))]
    assert office.events() == [Event.TABLE_REMOVED]
    office.put("61 * * * * two\n* * * * * three\n")  # a new one: the old jobs don't come back
    assert office.commands() == ["three"]


def test_an_empty_one_is_good(office: Office) -> None:
    office.put("* * * * * one\n")
    office.put("")
    assert office.commands() == []
    assert office.events() == [Event.TABLE_LOADED]


def test_a_warning_does_not_keep_it_from_loading(office: Office) -> None:
    office.put("* * * * * one")
    assert office.commands() == ["one"]
    assert office.events() == [Event.TABLE_PROBLEM, Event.TABLE_LOADED]
    assert "warning: " in str(office.said(Event.TABLE_PROBLEM).fields["problem"])


def test_a_name_that_is_no_tables_is_told_once(office: Office) -> None:
    office.put("* * * * * one\n", name="table.bak")
    assert office.fed == []
    assert office.events() == [Event.TABLE_IGNORED]
    office.look()
    assert office.events() == []


def test_everything_again(office: Office) -> None:
    office.put("* * * * * one\n")
    office.look(again=True)
    assert office.commands() == ["one"]


def test_a_user_that_does_not_exist(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.tables.directories.locations = [TableLocation(tmp_path, directory=True)]
    office.put("* * * * * no-such-user-here one\n")
    assert office.commands() == ["one"]  # the user may come with the next look into LDAP
    problem = str(office.said(Event.TABLE_PROBLEM).fields["problem"])
    assert problem.startswith(f'{tmp_path}/table:1: warning: no such user: "no-such-user-here"')
    assert office.events()[-1] is Event.TABLE_LOADED
