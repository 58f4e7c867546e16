"""Users' own tables on disk: read, installed, removed and kept, with the messages of users."""

import dataclasses
import os
from pathlib import Path

import pytest

from pycron import ports
from pycron.crontab.entries import Entries
from pycron.crontab.reader import ReaderContext
from pycron.engine.actions import Log
from pycron.model.problem import Problem
from pycron.model.table_version import Origin, Provenance
from pycron.system.accounts import Account, Accounts
from pycron.tables.loaded import Tables
from pycron.tables.spool_form import PLAIN, SpoolForm
from pycron.tables.user_tables import UserTableFiles, UserTableLimits, UserTablePaths
from pycron.tables.versions import TableVersions

LIMITS = UserTableLimits(table_bytes=200, user_table_bytes=100, user_table_entries=2, tables=3)
CONTEXT = ReaderContext(zone_exists={"UTC"}.__contains__)


@dataclasses.dataclass
class Loaded:
    """The tables of a daemon, as far as UserTableFiles needs them."""

    tables: int = 0

    def count(self) -> int:
        return self.tables

    def problems(self) -> list[Problem]:
        return []

    def entries(self, name: str) -> Entries:
        raise AssertionError("the caller compares")

    def rescan(self, again: bool = False) -> None:
        raise AssertionError("the caller rescans")


BY = Provenance("joe", Origin.EDIT)


def spool(
    directory: Path, loaded: int = 0, uid: int | None = 7, form: SpoolForm = PLAIN
) -> UserTableFiles:
    """`uid`: that of every user."""
    paths = UserTablePaths(directory / "spool", form=form)
    kept = TableVersions(directory / "versions", 100, OneUid(uid), LOG.append)
    return UserTableFiles(paths, LIMITS, lambda: CONTEXT, Loaded(loaded), kept)


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
        tables.install("joe", text, BY)
    assert tables.read("joe") is None
    return caught.value


def test_installed_read_and_removed(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    assert tables.of_all_users
    assert tables.read("joe") is None
    table = tables.install("joe", "@daily a\n@hourly b\n", BY)
    assert [job.command for job in table.jobs] == ["a", "b"]
    assert tables.read("joe") == "@daily a\n@hourly b\n"
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert tables.remove("joe", "joe")
    assert not tables.remove("joe", "joe")
    assert os.listdir(tmp_path / "spool") == []


def test_bytes_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    tables.install("joe", "@daily \udcff\n", BY)
    assert (tmp_path / "spool" / "joe").read_bytes() == b"@daily \xff\n"
    assert tables.read("joe") == "@daily \udcff\n"


def test_warnings_do_not_keep_a_table_from_being_installed(tmp_path: Path) -> None:
    table = spool(tmp_path).install("joe", "@daily a", BY)
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
    tables.install("ann", "#" + "é" * 49 + "\n", BY)
    failure = refusal(tables, "#" + "é" * 50 + "\n")
    assert str(failure) == "the table is larger than 100 bytes (limits.user_table_bytes)"


def test_a_surrogate_is_no_text(tmp_path: Path) -> None:
    failure = refusal(spool(tmp_path), "@daily \ud800\n")
    assert str(failure) == "install: the text is no text"


def test_too_many_tables(tmp_path: Path) -> None:
    """A user who has a table may still change it."""
    spool(tmp_path).install("ann", "@daily a\n", BY)
    full = spool(tmp_path, loaded=3)
    full.install("ann", "@daily b\n", BY)
    failure = refusal(full, "@daily a\n")
    assert str(failure) == "no room for another table (limits.tables is 3)"


def test_a_file_that_must_not_be_read(tmp_path: Path) -> None:
    tables = spool(tmp_path)
    tables.install("ann", "@daily a\n", BY)
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
        tables.install("joe", "@daily a\n", BY)
    assert str(caught.value) == f"{path}: cannot be written: Is a directory"
    with pytest.raises(ports.TableFailure) as caught:
        tables.remove("joe", "joe")
    assert str(caught.value) == f"{path}: cannot be deleted: Is a directory"


def test_the_one_table_of_a_users_own_daemon(tmp_path: Path) -> None:
    path = tmp_path / "crontab"
    paths = UserTablePaths(tmp_path, only=("joe", path))
    tables = dataclasses.replace(spool(tmp_path), paths=paths)
    assert not tables.of_all_users
    tables.install("joe", "@daily a\n", BY)
    assert path.read_text() == "@daily a\n"
    with pytest.raises(ports.TableFailure, match="this is the daemon of another user than ann"):
        tables.read("ann")
