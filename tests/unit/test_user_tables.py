"""Users' own tables on disk: read, installed, removed and kept, with the messages of users."""

import dataclasses
import os
from pathlib import Path

import pytest

from pycron import ports
from pycron.config import Config
from pycron.crontab.entries import Entries
from pycron.crontab.reader import ReaderContext
from pycron.engine.actions import Log
from pycron.model.problem import Problem
from pycron.model.steps import Steps, finish
from pycron.model.table_version import Origin, Provenance
from pycron.system.accounts import Account, Accounts
from pycron.tables.loaded import Tables
from pycron.tables.spool_form import PLAIN, SpoolForm, vixie_header
from pycron.tables.user_tables import UserTableFiles, UserTablePaths
from pycron.tables.versions import TableVersions

CONFIG = Config(table_bytes=200, user_table_bytes=100, user_table_entries=2, tables=3)
CONTEXT = ReaderContext(zone_exists={"UTC"}.__contains__)


@dataclasses.dataclass
class Loaded:
    """The tables of a daemon, as far as UserTableFiles needs them."""

    tables: int = 0

    def count(self, owner: str | None = None) -> int:
        return self.tables

    def problems(self) -> list[Problem]:
        return []

    def entries(self, name: str) -> Entries:
        raise AssertionError("the caller compares")

    def rescan(self, again: bool = False) -> None:
        raise AssertionError("the caller rescans")

    def rescanned(self) -> Steps[None]:
        raise AssertionError("the caller rescans")


BY = Provenance("joe", Origin.EDIT)


def spool(
    directory: Path, loaded: int = 0, uid: int | None = 7, form: SpoolForm = PLAIN
) -> UserTableFiles:
    """`uid`: that of every user."""
    paths = UserTablePaths(directory / "spool", form=form)
    kept = TableVersions(directory / "versions", lambda: CONFIG, OneUid(uid), LOG.append)
    return UserTableFiles(paths, lambda: CONFIG, lambda: CONTEXT, Loaded(loaded), kept)


LOG: list[Log] = []


class OneUid(Accounts):
    """Accounts in which every user has this uid; None: nobody has an account."""

    def __init__(self, uid: int | None) -> None:
        super().__init__()
        self.uid = uid

    def find(self, name: str) -> Account | None:
        return None if self.uid is None else Account(name, self.uid, self.uid, (self.uid,), "/")


def as_ports(tables: Tables, user_tables: UserTableFiles) -> tuple[ports.Tables, ports.UserTables]:
    """mypy checks here that these classes implement the ports."""
    return tables, user_tables


def refusal(tables: UserTableFiles, text: str) -> ports.TableFailure:
    with pytest.raises(ports.TableFailure) as caught:
        finish(tables.install("joe", text, BY))
    assert tables.read("joe") is None
    return caught.value


def test_installed_read_and_removed(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    assert tables.of_all_users
    assert tables.read("joe") is None
    table = finish(tables.install("joe", "@daily a\n@hourly b\n", BY))
    assert [job.command for job in table.jobs] == ["a", "b"]
    assert tables.read("joe") == "@daily a\n@hourly b\n"
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert tables.remove("joe", "joe")
    assert not tables.remove("joe", "joe")
    assert os.listdir(tmp_path / "spool") == []


def test_bytes_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    finish(tables.install("joe", "@daily \udcff\n", BY))
    assert (tmp_path / "spool" / "joe").read_bytes() == b"@daily \xff\n"
    assert tables.read("joe") == "@daily \udcff\n"


def test_warnings_do_not_keep_a_table_from_being_installed(tmp_path: Path) -> None:
    table = finish(spool(tmp_path).install("joe", "@daily a", BY))
    assert [problem.code for problem in table.problems] == ["unterminated"]


def test_a_table_with_errors_is_not_installed(tmp_path: Path) -> None:
    failure = refusal(spool(tmp_path), "CRON_TZ=Nowhere\n@daily a")
    assert str(failure) == "the table has errors; nothing was installed"
    assert [problem.code for problem in failure.problems] == ["unknown-zone", "unterminated"]


def test_too_many_entries(tmp_path: Path) -> None:
    failure = refusal(spool(tmp_path), "@daily a\n" * 3)
    assert [problem.code for problem in failure.problems] == ["too-many-entries"]


def test_too_many_bytes(tmp_path: Path) -> None:
    """Bytes, not characters."""
    tables = spool(tmp_path)
    finish(tables.install("ann", "#" + "é" * 49 + "\n", BY))
    failure = refusal(tables, "#" + "é" * 50 + "\n")
    assert str(failure) == "the table is larger than 100 bytes (limits.user_table_bytes)"


def test_a_surrogate_is_no_text(tmp_path: Path) -> None:
    failure = refusal(spool(tmp_path), "@daily \ud800\n")
    assert str(failure) == "install: the text is no text"


def test_too_many_tables(tmp_path: Path) -> None:
    """A user who has a table may still change it."""
    finish(spool(tmp_path).install("ann", "@daily a\n", BY))
    full = spool(tmp_path, loaded=3)
    finish(full.install("ann", "@daily b\n", BY))
    failure = refusal(full, "@daily a\n")
    assert str(failure) == "no room for another table (limits.tables is 3)"


def test_a_file_that_must_not_be_read(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    finish(tables.install("ann", "@daily a\n", BY))
    path = tmp_path / "spool" / "ann"
    path.chmod(0o666)
    with pytest.raises(ports.TableFailure) as caught:
        tables.read("ann")
    assert str(caught.value) == f"{path}: others can write to it (mode 0666): chmod go-w"


def test_a_table_that_cannot_be_written_or_deleted(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    path = tmp_path / "spool" / "joe"
    path.mkdir(parents=True)
    with pytest.raises(ports.TableFailure) as caught:
        finish(tables.install("joe", "@daily a\n", BY))
    assert str(caught.value) == f"{path}: cannot be written: Is a directory"
    with pytest.raises(ports.TableFailure) as caught:
        tables.remove("joe", "joe")
    assert str(caught.value) == f"{path}: cannot be deleted: Is a directory"


def test_the_one_table_of_a_users_own_daemon(tmp_path: Path) -> None:
    path = tmp_path / "crontab"
    paths = UserTablePaths(tmp_path, only=("joe", path))
    tables = dataclasses.replace(spool(tmp_path), paths=paths)
    assert not tables.of_all_users
    finish(tables.install("joe", "@daily a\n", BY))
    assert path.read_text() == "@daily a\n"
    with pytest.raises(ports.TableFailure, match="this is the daemon of another user than ann"):
        tables.read("ann")


# ---- versions


def origins(tables: UserTableFiles) -> list[tuple[str, str | None, bool]]:
    """The origin, author and whether it is current of each version, the newest first."""
    return [
        (version.provenance.origin.value, version.provenance.author, version.current)
        for version in tables.versions("joe")
    ]


def test_each_change_is_a_version(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    assert origins(tables) == []
    finish(tables.install("joe", "@daily a\n", BY))
    tables.remove("joe", "root")
    assert origins(tables) == [("delete", "root", True), ("edit", "joe", False)]
    assert (tables.version("joe", 1), tables.version("joe", 2)) == ("@daily a\n", None)
    with pytest.raises(ports.TableFailure, match="there is no version 3"):
        tables.version("joe", 3)


def test_the_same_text_is_no_new_version(tmp_path: Path) -> None:
    """A program that installs a table each hour does not push the other versions out."""
    tables = spool(tmp_path)
    finish(tables.install("joe", "@daily a\n", BY))
    for _ in range(20):
        finish(tables.install("joe", "@daily b\n", BY))
    assert len(tables.versions("joe")) == 2


def test_a_refused_table_is_no_version(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    refusal(tables, "61 * * * * a\n")
    assert not tables.remove("joe", "joe")
    assert origins(tables) == []


@pytest.mark.parametrize("act", ["install", "remove", "list"])
def test_what_somebody_wrote_into_the_spool_is_kept_first(tmp_path: Path, act: str) -> None:
    tables = spool(tmp_path)
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "joe").write_text("@daily by-hand\n")
    if act == "install":
        finish(tables.install("joe", "@daily a\n", BY))
    if act == "remove":
        tables.remove("joe", "joe")
    *_, first = origins(tables)
    assert first == ("found", None, act == "list")
    assert tables.version("joe", 1) == "@daily by-hand\n"
    assert tables.versions("joe")[-1].entries == 1


def test_a_version_that_cannot_be_kept_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "versions").write_text("in the way")
    tables = spool(tmp_path)
    table = finish(tables.install("joe", "@daily a\n", BY))
    assert [str(problem) for problem in table.problems] == [
        "joe: warning: this version could not be kept for --restore: File exists"
    ]
    assert tables.read("joe") == "@daily a\n"
    assert tables.versions("joe") == []


# ---- the form of the spool


def owned_by(uid: int) -> SpoolForm:
    return SpoolForm(owner=lambda _: (uid, 1234))


def test_a_header_is_written_and_not_read(tmp_path: Path) -> None:
    tables = spool(tmp_path, form=SpoolForm(header=vixie_header))
    for _ in range(2):
        finish(tables.install("joe", tables.read("joe") or "@daily a\n", BY))
    assert origins(tables) == [("edit", "joe", True)]
    lines = (tmp_path / "spool" / "joe").read_text().splitlines()
    assert lines[0] == "# DO NOT EDIT THIS FILE - edit the master and reinstall."
    assert (len(lines), lines[3]) == (4, "@daily a")
    assert tables.read("joe") == tables.version("joe", 1) == "@daily a\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_table_belongs_to_its_user(tmp_path: Path) -> None:
    """An account that gets the name of another one has no table, and may install one."""
    first, second = (spool(tmp_path, uid=uid, form=owned_by(uid)) for uid in (7, 8))
    finish(first.install("joe", "@daily secret\n", BY))
    status = (tmp_path / "spool" / "joe").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (7, 1234, 0o600)
    assert second.read("joe") is None
    assert second.versions("joe") == []
    finish(second.install("joe", "@daily a\n", BY))
    assert [second.read("joe"), first.read("joe")] == ["@daily a\n", None]
    assert [version.number for version in second.versions("joe")] == [2]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_table_of_root_is_that_of_any_user(tmp_path: Path) -> None:
    """An administrator may put it into the spool."""
    finish(spool(tmp_path).install("joe", "@daily a\n", BY))
    assert spool(tmp_path, form=owned_by(8)).read("joe") == "@daily a\n"
