"""The last versions of users' tables on disk, and what the change of a table means in words."""

import datetime
import os
import re
import sys
from pathlib import Path

import pytest

from pycron.cli import crontab_edit
from pycron.cli.crontab_texts import say_installed
from pycron.config import Config
from pycron.crontab import reader
from pycron.crontab.changes import TableChanges, compare
from pycron.crontab.entries import Entries
from pycron.crontab.reader import ReaderContext
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.job import Source
from pycron.model.table_version import MOST_VERSIONS, Origin, Provenance
from pycron.protocol.table_answers import ChangesRow, InstallAnswer
from pycron.system.accounts import Account, Accounts
from pycron.tables.check import parse_found
from pycron.tables.directories import Found
from pycron.tables.spool_form import vixie_header, without_header
from pycron.tables.versions import NoVersion, TableVersions

BY_JOE = Provenance("joe", Origin.EDIT)


class People(Accounts):
    """Accounts that a test gives uids."""

    def __init__(self, **uids: int) -> None:
        super().__init__()
        self.uids = uids

    def find(self, name: str) -> Account | None:
        uid = self.uids.get(name)
        return None if uid is None else Account(name, uid, uid, (uid,), "/")


class Kept:
    """Versions in a directory of a test, and what was logged."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "versions"
        self.people = People(joe=1001, ann=1002)
        self.logged: list[Log] = []
        config = Config(user_table_bytes=100)
        self.versions = TableVersions(
            self.directory, lambda: config, self.people, self.logged.append
        )

    def keep(self, text: str | None, by: Provenance = BY_JOE) -> str | None:
        return self.versions.keep("joe", text, by, 1)

    def numbers(self) -> list[int]:
        return [version.number for version in self.versions.of("joe")]


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


# ---- kept and read


def test_a_version_comes_back_as_it_was(kept: Kept) -> None:
    text = "# caf\udcff é\r\n@daily a"
    assert kept.versions.of("joe") == []
    assert kept.keep(text, Provenance("root", Origin.RESTORE, restored=4)) is None
    (version,) = kept.versions.of("joe")
    assert (version.number, version.size, version.entries) == (1, 19, 1)
    assert version.provenance == Provenance("root", Origin.RESTORE, 4)
    assert kept.versions.text("joe", 1) == text
    assert kept.versions.of("ann") == []


def test_a_deletion_is_a_version_without_text(kept: Kept) -> None:
    kept.keep("@daily a\n")
    kept.keep(None)
    kept.keep("")
    assert [version.size for version in kept.versions.of("joe")] == [0, None, 9]
    assert [kept.versions.text("joe", number) for number in (1, 2, 3)] == ["@daily a\n", None, ""]


def test_the_last_ten_stay_and_keep_their_numbers(kept: Kept) -> None:
    for number in range(1, 26):
        kept.keep(f"# {number}\n")
    assert kept.numbers() == list(range(25, 25 - MOST_VERSIONS, -1))
    assert kept.versions.text("joe", 16) == "# 16\n"
    for number in (0, 15, 26):
        with pytest.raises(NoVersion, match=f"there is no version {number} "):
            kept.versions.text("joe", number)
    assert len(os.listdir(kept.directory / "joe")) == MOST_VERSIONS


def test_nobody_else_can_read_them(kept: Kept) -> None:
    umask = os.umask(0)
    try:
        kept.keep("# secret\n")
    finally:
        os.umask(umask)
    paths = [kept.directory, kept.directory / "joe", kept.directory / "joe" / "1"]
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o700, 0o700, 0o600]


def test_another_account_of_the_same_name_has_none(kept: Kept) -> None:
    kept.keep("# of the first joe\n")
    kept.people.uids["joe"] = 2001
    assert kept.versions.of("joe") == []
    with pytest.raises(NoVersion):
        kept.versions.text("joe", 1)
    kept.keep("# of the second joe\n")
    assert kept.numbers() == [2]
    kept.people.uids["joe"] = 1001
    assert kept.versions.of("joe") == []  # the first change of the second joe has deleted them


def test_a_file_that_is_not_whole_is_passed_over(kept: Kept) -> None:
    """As a power cut may leave it."""
    for number in range(1, 7):
        kept.keep(f"# {number}\n")
    directory = kept.directory / "joe"
    os.truncate(directory / "6", 3)
    os.truncate(directory / "5", (directory / "5").stat().st_size - 1)
    (directory / "4").write_bytes(b"[1]\n")
    (directory / "3").write_bytes(b"")
    (directory / "note").write_text("not a version")
    assert kept.numbers() == [2, 1]
    kept.keep("# 7\n")
    assert kept.numbers() == [7, 2, 1]


def test_a_header_without_end_is_not_read_to_its_end(kept: Kept) -> None:
    kept.keep("# 1\n")
    with (kept.directory / "joe" / "2").open("wb") as file:
        file.truncate(2**40)
    assert kept.numbers() == [1]


# ---- what somebody changed without the daemon


def test_an_unknown_text_is_kept_once(kept: Kept) -> None:
    kept.keep("# mine\n")
    for _ in range(3):
        kept.versions.notice("joe", "# found\n", lambda: 3)
    found, _ = kept.versions.of("joe")
    assert (found.provenance, found.entries) == (Provenance(None, Origin.FOUND), 3)
    kept.versions.notice("joe", None, lambda: 0)
    kept.versions.notice("joe", None, lambda: 0)
    assert [version.size for version in kept.versions.of("joe")] == [None, 8, 7]


def test_no_table_that_never_was_is_no_change(kept: Kept) -> None:
    kept.versions.notice("joe", None, lambda: 0)
    kept.versions.notice("stranger", "# no such user\n", lambda: 0)
    assert not kept.directory.exists()
    assert kept.logged == []


# ---- what cannot be kept


def test_a_failure_is_returned_and_logged_once(kept: Kept) -> None:
    kept.directory.write_text("in the way")
    assert kept.keep("# 1\n") == "File exists"
    assert kept.keep("# 2\n") == "File exists"
    (log,) = kept.logged
    assert (log.event, log.fields) == (
        Event.VERSION_NOT_KEPT, {"table": "joe", "reason": "File exists"},
    )  # fmt: skip
    kept.directory.unlink()
    assert kept.keep("# 3\n") is None
    assert kept.numbers() == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_deletes_no_version(kept: Kept) -> None:
    for number in range(1, 1 + MOST_VERSIONS):
        kept.keep(f"# {number}\n")
    (kept.directory / "joe" / ".new").symlink_to("/dev/full")
    assert kept.keep("# more\n") == "No space left on device"
    assert kept.numbers() == list(range(MOST_VERSIONS, 0, -1))


def test_a_text_that_is_too_large(kept: Kept) -> None:
    assert kept.keep("#" * 101) == "larger than 100 bytes (limits.user_table_bytes)"
    assert kept.keep("#" * 100) is None


# ---- the header of Vixie cron


def test_the_header_is_taken_off_once() -> None:
    header = vixie_header(0)
    assert header.count("\n") == 3
    assert without_header(header + "# mine\n@daily a\n") == "# mine\n@daily a\n"
    assert without_header(header + header) == header


@pytest.mark.parametrize(
    "text",
    [
        "", "# mine\n# (two)\n# (three)\n@daily a\n",
        "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n# mine\n# mine too\n",
        vixie_header(0)[:-1],
        "\n" + vixie_header(0),
    ],
)  # fmt: skip
def test_other_comments_stay(text: str) -> None:
    assert without_header(text) == text


def test_the_header_of_debians_crontab() -> None:
    """As Debian's crontab 3.0pl1-162 writes it."""
    header = (
        "# DO NOT EDIT THIS FILE - edit the master and reinstall.\n"
        "# (- installed on Sun Nov 29 02:33:55 2026)\n"
        "# (Cron version -- $Id: crontab.c,v 2.13 1994/01/17 03:20:37 vixie Exp $)\n"
    )
    assert without_header(header + "@daily true\n") == "@daily true\n"


def test_lines_are_those_of_the_user() -> None:
    """In a user's table; a system table with such lines is what it is."""
    text = vixie_header(0) + "61 * * * * a\n"
    for source, line in ((Source("joe", "joe"), 1), (Source("/etc/cron.d/x", None), 4)):
        (problem,) = parse_found(Found(source, text), ReaderContext()).errors
        assert problem.line == line


# ---- what has changed


def entries(text: str) -> Entries:
    source = Source("joe", "joe")
    return reader.parse(text, source, ReaderContext(zone_exists={"UTC"}.__contains__)).jobs


CHANGES = [
    ("", "", (0, 0, 0)),
    ("", "@daily a\n@daily b\n", (2, 0, 0)),
    ("@daily a\n@daily b\n", "", (0, 0, 2)),
    ("@daily a\n", "# a comment\n\n  @daily   a\n", (0, 0, 0)),
    ("1 2 * * * a b\n", "30 2 * * * a b\n", (0, 1, 0)),
    ("@daily a b\n", "30 2 * * * a b\n", (0, 1, 0)),
    ("@every 60s a\n", "@every 90s a\n", (0, 1, 0)),
    ("@daily a\n", "@daily b\n", (1, 0, 1)),
    ("@daily a\n", "FOO=1\n@daily a\n", (0, 1, 0)),
    ("@daily a\n", "CRON_TZ=UTC @daily a\n", (0, 1, 0)),
    ("CRON_NAME=x @daily a\n", "CRON_NAME=x @daily b\n", (0, 1, 0)),
    ("CRON_NAME=x @daily a\n", "CRON_NAME=y @daily a\n", (0, 1, 0)),
    ("@daily a\n", "@daily a\n@daily a\n", (1, 0, 0)),
    ("@daily a\n@hourly a\n", "@weekly a\n", (0, 1, 1)),
    ("@daily a\n@hourly b\n", "@hourly b\n@daily a\n", (0, 0, 0)),
    ("* * * * * a\n* * * * * b\n", "* * * * * b\n5 * * * * a\n@daily c\n", (1, 1, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "counts"), CHANGES)
def test_changes(old: str, new: str, counts: tuple[int, int, int]) -> None:
    assert compare(entries(old), entries(new)) == TableChanges(*counts)


NOON = {"fire_time": "2026-03-08T11:00:00Z", "local": "2026-03-08T12:00:00+01:00", "zone": None}
WORDS = [
    ((2, 1, 0), None, "2 entries added, 1 changed"),
    ((1, 0, 1), None, "1 entry added, 1 removed"),
    ((0, 1, 0), None, "1 entry changed"),
    ((0, 0, 0), None, "no entry changed"),
    ((0, 0, 3), NOON, "3 entries removed, next due 2026-03-08 12:00"),
    (
        (0, 0, 0),
        NOON | {"zone": "Europe/Berlin", "local": "2026-03-08T12:00:05+01:00"},
        "no entry changed, next due 2026-03-08 12:00:05 Europe/Berlin",
    ),
]


def answer(counts: tuple[int, int, int], due: object = None) -> InstallAnswer:
    added, changed, removed = counts
    row: ChangesRow = {"added": added, "changed": changed, "removed": removed}
    return {"user": "joe", "problems": [], "jobs": 1, "changes": row, "next": due}  # type: ignore[typeddict-item]


@pytest.mark.parametrize(("counts", "due", "words"), WORDS)
def test_words(
    counts: tuple[int, int, int], due: object, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    say_installed(answer(counts, due), "-")
    assert capsys.readouterr() == ("", f"pycrontab: {words}\n")


def test_a_time_of_today_has_no_date(capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=5)))
    due = NOON | {"local": now.replace(second=0, microsecond=0).isoformat()}
    say_installed(answer((1, 0, 0), due), "-")
    said = capsys.readouterr().err
    tomorrow = datetime.datetime.now(now.tzinfo).date() != now.date()
    assert tomorrow or re.fullmatch(r"pycrontab: 1 entry added, next due \d\d:\d\d\n", said)


def test_an_older_daemon_does_not_say_what_changed(capsys: pytest.CaptureFixture[str]) -> None:
    say_installed({"user": "joe", "problems": [], "jobs": 1}, "-")
    assert capsys.readouterr() == ("", "")


def test_under_the_name_of_cron_only_a_terminal_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/crontab", "-"])
    say_installed(answer((1, 0, 0)), "-")
    assert capsys.readouterr() == ("", "")


# ---- the editor


def test_the_editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables, then Debian's programs if they are there, then vi."""
    programs = [tmp_path / "sensible-editor", tmp_path / "editor"]
    monkeypatch.setattr(crontab_edit, "_CHOSEN", list(map(str, programs)))
    monkeypatch.setenv("VISUAL", "")
    monkeypatch.setenv("EDITOR", "ed -s")
    assert crontab_edit._editor() == "ed -s"
    monkeypatch.setenv("VISUAL", "visual")
    assert crontab_edit._editor() == "visual"
    monkeypatch.delenv("VISUAL")
    monkeypatch.delenv("EDITOR")
    assert crontab_edit._editor() == "vi"
    for program in reversed(programs):
        program.touch(mode=0o755)
        assert crontab_edit._editor() == str(program)
