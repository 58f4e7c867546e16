"""Tables on disk: refused files, the changes that a scan reports, installation, inotify."""

import contextlib
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pycron.config import Config
from pycron.system.files import TRUSTED, FileRules, Unreadable
from pycron.system.inotify import DirectoryWatch
from pycron.tables.directories import Found, Gone, Ignored, TableDirectories, TableLocation
from pycron.tables.files import ANY_OWNER, install, read_table
from tests.support.waiting import until

TABLE = "* * * * * true\n"
LIMIT = 1_000_000
MOST = 100


def config() -> Config:
    return Config(table_bytes=LIMIT, tables=MOST)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    directory = tmp_path / "tables"
    directory.mkdir()
    return directory


@pytest.fixture
def spool(tables: Path) -> TableDirectories:
    return TableDirectories(
        [TableLocation(tables, directory=True, rules=owned_by(os.geteuid()))], config
    )


def owned_by(uid: int) -> FileRules:
    return FileRules(owners=lambda _: {uid})


def refusal(path: Path, rules: FileRules = ANY_OWNER) -> tuple[str, str]:
    with pytest.raises(Unreadable) as caught:
        read_table(str(path), rules, LIMIT)
    return caught.value.code, str(caught.value)


def put(path: Path, text: str = TABLE) -> Path:
    path.write_text(text)
    path.chmod(0o644)
    return path


# ---- refused files


def test_a_good_table(tables: Path) -> None:
    text, signature = read_table(str(put(tables / "good")), owned_by(os.geteuid()), LIMIT)
    assert text == TABLE
    assert signature


def test_a_missing_table(tables: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(str(tables / "none"), ANY_OWNER, LIMIT)


@pytest.mark.parametrize("rules", [ANY_OWNER, TRUSTED])
def test_a_fifo_is_not_waited_for(tables: Path, rules: FileRules) -> None:
    os.mkfifo(tables / "fifo")
    started = time.monotonic()
    assert refusal(tables / "fifo", rules)[0] == "not-a-file"
    assert time.monotonic() - started < 1


def test_a_symlink(tables: Path) -> None:
    put(tables / "target")
    (tables / "link").symlink_to(tables / "target")
    assert refusal(tables / "link")[0] == "symlink"
    assert read_table(str(tables / "link"), TRUSTED, LIMIT)[0] == TABLE


def test_a_symlink_to_nowhere(tables: Path) -> None:
    (tables / "link").symlink_to(tables / "none")
    assert refusal(tables / "link")[0] == "symlink"


def test_a_directory(tables: Path) -> None:
    code, reason = refusal(tables)
    assert code == "not-a-file"
    assert "a directory" in reason


def test_a_device() -> None:
    assert refusal(Path("/dev/null"))[0] == "not-a-file"
    assert refusal(Path("/dev/zero"), TRUSTED)[0] == "not-a-file"


def test_a_socket(tables: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        where = os.getcwd()
        os.chdir(tables)  # an address is short
        listener.bind("socket")
        os.chdir(where)
        code, reason = refusal(tables / "socket")
    assert code in ("not-a-file", "unreadable")
    assert reason


def test_a_table_of_another_owner(tables: Path) -> None:
    code, reason = refusal(put(tables / "table"), owned_by(os.geteuid() + 1))
    assert code == "wrong-owner"
    assert str(os.geteuid()) in reason


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_table_that_others_can_write_to(tables: Path, mode: int) -> None:
    put(tables / "table").chmod(mode)
    code, reason = refusal(tables / "table")
    assert code == "writable"
    assert f"{mode:04o}" in reason
    assert read_table(str(tables / "table"), TRUSTED, LIMIT)[0] == TABLE


@pytest.mark.parametrize(
    ("mode", "code"),
    [(0o600, None), (0o400, None), (0o644, "mode"), (0o640, "mode"), (0o700, "mode"),
     (0o4600, "mode"), (0o606, "writable")],
)  # fmt: skip
def test_the_modes_of_user_tables_that_debians_cron_takes(
    tables: Path, mode: int, code: str | None
) -> None:
    put(tables / "table").chmod(mode)
    rules = FileRules(forbidden_mode=0o7177)
    if code is None:
        assert read_table(str(tables / "table"), rules, LIMIT)[0] == TABLE
        return
    found, reason = refusal(tables / "table", rules)
    assert found == code
    assert f"{mode:04o}" in reason


def test_the_refused_mode_names_the_remedy(tables: Path) -> None:
    put(tables / "table")
    reason = refusal(tables / "table", FileRules(forbidden_mode=0o7177))[1]
    assert reason == "has the mode 0644, which cron refuses here: chmod 600"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a symlink of root's")
def test_a_symlink_of_roots_stands_for_a_table(tables: Path) -> None:
    """As in /etc/cron.d of Debian; the rules hold for the file that the link leads to."""
    rules = FileRules(owners=lambda _: {0}, link_owners=frozenset({0}))
    target = put(tables / "target")
    (tables / "link").symlink_to(target)
    assert read_table(str(tables / "link"), rules, LIMIT)[0] == TABLE
    os.chown(target, 1, 1)
    assert refusal(tables / "link", rules)[0] == "wrong-owner"
    os.chown(target, 0, 0)
    os.chown(tables / "link", 1, 1, follow_symlinks=False)
    assert refusal(tables / "link", rules) == (
        "symlink", "a symbolic link that is not root's: put the file itself here",
    )  # fmt: skip


def test_a_symlink_to_nowhere_is_reported_once(tables: Path) -> None:
    rules = FileRules(link_owners=frozenset({os.geteuid()}))
    spool = TableDirectories([TableLocation(tables, directory=True, rules=rules)], config)
    (tables / "link").symlink_to(tables / "none")
    (found,) = spool.scan()
    assert isinstance(found, Found)
    assert found.problem
    assert found.problem.code == "symlink"
    assert list(spool.scan()) == []
    put(tables / "none")
    assert [change.text for change in spool.scan() if isinstance(change, Found)] == [TABLE, TABLE]


def test_a_table_with_two_names(tables: Path) -> None:
    os.link(put(tables / "one"), tables / "two")
    assert refusal(tables / "one")[0] == refusal(tables / "two")[0] == "hard-link"


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_table_without_read_permission(tables: Path) -> None:
    put(tables / "table").chmod(0)
    assert refusal(tables / "table")[0] == "unreadable"


def test_a_table_that_is_too_large_is_not_read(tables: Path) -> None:
    with (tables / "table").open("wb") as file:
        file.truncate(100_000_000)
    (tables / "table").chmod(0o644)
    before = resource.getrusage(resource.RUSAGE_SELF)
    code, reason = refusal(tables / "table")
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert code == "too-large"
    assert "1000000 bytes" in reason
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.05


def test_a_table_of_the_largest_size(tables: Path) -> None:
    put(tables / "table", "x" * LIMIT)
    assert len(read_table(str(tables / "table"), ANY_OWNER, LIMIT)[0]) == LIMIT
    put(tables / "table", "x" * (LIMIT + 1))
    assert refusal(tables / "table")[0] == "too-large"


def test_a_table_that_is_larger_than_its_status_says() -> None:
    """Files of /proc have the size 0; other files may grow after fstat."""
    with pytest.raises(Unreadable) as caught:
        read_table("/proc/self/maps", TRUSTED, 100)
    assert caught.value.code == "too-large"


def test_a_read_error_in_the_middle() -> None:
    """As with a bad disk or a lost file server: here the unmapped first page of a process."""
    assert refusal(Path("/proc/self/mem"), TRUSTED)[0] == "unreadable"


# ---- the number of tables


def test_tables_beyond_the_limit_wait_until_there_is_room(tables: Path) -> None:
    spool = TableDirectories(
        [TableLocation(tables, directory=True)], lambda: Config(table_bytes=LIMIT, tables=2)
    )
    for name in ("a", "b", "c", "d"):
        put(tables / name)
    changes = list(spool.scan())
    assert [type(change) for change in changes] == [Found, Found, Ignored, Ignored]
    assert isinstance(changes[2], Ignored)
    assert changes[2].reason == "no room for another table (limits.tables is 2)"
    put(tables / "a", f"{TABLE}{TABLE}")
    assert [type(change) for change in spool.scan()] == [Found]
    (tables / "a").unlink()
    assert [type(change) for change in spool.scan()] == [Gone]
    (found,) = spool.scan()
    assert isinstance(found, Found)
    assert found.source.name == str(tables / "c")
    (tables / "b").unlink()
    (tables / "c").unlink()
    assert [type(change) for change in spool.scan()] == [Gone, Gone]
    assert [type(change) for change in spool.scan()] == [Found]


# ---- names


@pytest.mark.parametrize("name", ["backup", "a-b_C9", "-"])
def test_names_that_are_tables(tables: Path, spool: TableDirectories, name: str) -> None:
    put(tables / name)
    assert [type(change) for change in spool.scan()] == [Found]


@pytest.mark.parametrize("name", ["a.b", "a~", "#a#", "a.dpkg-new", "a b", "ä", "a\nb", "a,v"])
def test_names_that_are_no_tables(tables: Path, spool: TableDirectories, name: str) -> None:
    put(tables / name)
    (ignored,) = spool.scan()
    assert isinstance(ignored, Ignored)
    assert ignored.path == str(tables / name)
    assert list(spool.scan()) == []  # reported once
    assert list(spool.scan(again=True)) == [ignored]


@pytest.mark.parametrize("name", [".hidden", ".placeholder", ".new-abc"])
def test_hidden_files_are_not_reported(tables: Path, spool: TableDirectories, name: str) -> None:
    put(tables / name)
    assert list(spool.scan()) == []


def test_a_name_that_is_no_text(tables: Path, spool: TableDirectories) -> None:
    put(tables / os.fsdecode(b"\xff"))
    assert [type(change) for change in spool.scan()] == [Ignored]


def test_a_users_table_has_the_name_of_the_user(tables: Path) -> None:
    spool = TableDirectories([TableLocation(tables, users=True, directory=True)], config)
    for name in ("anna", "x.y", "EXAMPLE\\bert", "machine$"):
        put(tables / name)
    found = [change for change in spool.scan() if isinstance(change, Found)]
    assert {(f.source.name, f.source.owner) for f in found} == {
        (name, name) for name in ("anna", "x.y", "EXAMPLE\\bert", "machine$")
    }


# ---- scans


def test_a_scan_reports_only_what_has_changed(tables: Path, spool: TableDirectories) -> None:
    put(tables / "a")
    put(tables / "b")
    assert len(list(spool.scan())) == 2
    assert list(spool.scan()) == []
    put(tables / "b", "0 0 * * * false\n")
    changed = list(spool.scan())
    assert [c.text for c in changed if isinstance(c, Found)] == ["0 0 * * * false\n"]
    assert list(spool.scan()) == []
    assert len(list(spool.scan(again=True))) == 2


def test_a_deleted_table_is_gone(tables: Path, spool: TableDirectories) -> None:
    put(tables / "a")
    list(spool.scan())
    (tables / "a").unlink()
    assert list(spool.scan()) == [Gone(str(tables / "a"))]
    assert list(spool.scan()) == []


def test_a_rename_is_one_gone_and_one_found(tables: Path, spool: TableDirectories) -> None:
    put(tables / "a")
    list(spool.scan())
    (tables / "a").rename(tables / "b")
    found, gone = spool.scan()
    assert isinstance(found, Found)
    assert found.source.name == str(tables / "b")
    assert gone == Gone(str(tables / "a"))


def test_a_change_of_the_mode_is_a_change(tables: Path, spool: TableDirectories) -> None:
    put(tables / "a")
    list(spool.scan())
    (tables / "a").chmod(0o666)
    (bad,) = spool.scan()
    assert isinstance(bad, Found)
    assert bad.problem is not None
    assert (bad.text, bad.problem.code, bad.problem.line) == (None, "writable", 0)
    assert list(spool.scan()) == []
    (tables / "a").chmod(0o644)
    (good,) = spool.scan()
    assert isinstance(good, Found)
    assert good.text == TABLE


def test_a_rewrite_of_the_same_size_with_the_same_mtime(
    tables: Path, spool: TableDirectories
) -> None:
    path = put(tables / "a", "1 * * * * true\n")
    list(spool.scan())
    status = path.stat()

    def seen() -> str | None:
        # Repeat until the kernel's coarse clock of file times has advanced.
        path.write_text("2 * * * * true\n")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return next((c.text for c in spool.scan() if isinstance(c, Found)), None)

    assert until(seen) == "2 * * * * true\n"


def test_another_file_of_the_same_size_and_mtime(tables: Path, spool: TableDirectories) -> None:
    path = put(tables / "a", "1 * * * * true\n")
    list(spool.scan())
    status = path.stat()
    put(tables / ".new", "2 * * * * true\n")
    os.utime(tables / ".new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tables / ".new").rename(path)
    (found,) = spool.scan()
    assert isinstance(found, Found)
    assert found.text == "2 * * * * true\n"


def test_a_file_that_appears_vanishes_and_changes_while_it_is_looked_at(
    tables: Path, spool: TableDirectories
) -> None:
    stop = threading.Event()

    def disturb() -> None:
        while not stop.is_set():
            put(tables / ".new").rename(tables / "a")
            (tables / "a").unlink()
            (tables / "a").symlink_to("/dev/null")
            (tables / "a").unlink()
            (tables / "a").mkdir()
            (tables / "a").rmdir()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(2000):
            for change in spool.scan():
                if isinstance(change, Found):
                    assert change.text in (None, TABLE, "")
    finally:
        stop.set()
        thread.join()
    put(tables / "a")
    assert [c.text for c in spool.scan(again=True) if isinstance(c, Found)] == [TABLE]


def test_a_missing_directory_holds_no_tables(tmp_path: Path) -> None:
    assert (
        list(TableDirectories([TableLocation(tmp_path / "none", directory=True)], config).scan())
        == []
    )


def test_a_spool_that_is_a_file_now(tables: Path) -> None:
    """The daemon goes on."""
    spool = TableDirectories([TableLocation(tables, users=True, directory=True)], config)
    put(tables / "a")
    list(spool.scan())
    (tables / "a").unlink()
    tables.rmdir()
    tables.write_text("")
    assert [type(change) for change in spool.scan()] in ([], [Gone])


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_the_tables_of_an_unreadable_directory_have_not_gone(
    tables: Path, spool: TableDirectories
) -> None:
    """Its tables may still exist, so none of them is reported as gone."""
    put(tables / "a")
    list(spool.scan())
    tables.chmod(0)
    try:
        assert Gone(str(tables / "a")) not in list(spool.scan())
    finally:
        tables.chmod(0o700)
    assert list(spool.scan()) == []


def test_one_file(tables: Path) -> None:
    path = put(tables / "any name.txt")
    spool = TableDirectories([TableLocation(path, owner="anna", rules=TRUSTED)], config)
    (found,) = spool.scan()
    assert isinstance(found, Found)
    assert (found.source.name, found.source.owner) == (str(path), "anna")
    path.unlink()
    assert list(spool.scan()) == [Gone(str(path))]


def test_a_location_that_is_a_file_or_a_directory(tables: Path) -> None:
    """A path of [tables] system may be either; the names of a directory do not bind a file."""
    path = tables / "a.table"
    spool = TableDirectories([TableLocation(path, directory=True)], config)
    assert list(spool.scan()) == []
    put(path)
    (found,) = spool.scan()
    assert isinstance(found, Found)
    assert found.source.name == str(path)
    path.unlink()
    path.mkdir()
    put(path / "inside")
    changes = list(spool.scan())
    assert [change.source.name for change in changes if isinstance(change, Found)] == [
        f"{path}/inside"
    ]
    assert Gone(str(path)) in changes


def test_one_file_that_is_a_link_in_a_circle(tables: Path) -> None:
    (tables / "link").symlink_to(tables / "link")
    (found,) = TableDirectories([TableLocation(tables / "link", rules=TRUSTED)], config).scan()
    assert isinstance(found, Found)
    assert found.problem


def test_a_read_that_failed_for_a_moment_is_tried_again(
    tables: Path, spool: TableDirectories
) -> None:
    """The file does not change when the daemon has file descriptors again."""
    put(tables / "a")
    free = os.open("/dev/null", os.O_RDONLY)
    os.close(free)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    listed = spool.locations[0].candidates()
    single = TableDirectories([TableLocation(Path(path)) for path in listed], config)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
    try:
        first = list(single.scan())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert [c.text for c in first if isinstance(c, Found)] in ([], [None])
    assert [c.text for c in single.scan() if isinstance(c, Found)] == [TABLE]


# ---- installing


def test_install_replaces_a_table(tables: Path) -> None:
    install(tables / "anna", TABLE, None)
    install(tables / "anna", "0 0 * * * false\n", (os.geteuid(), os.getegid()))
    assert (tables / "anna").read_text() == "0 0 * * * false\n"
    assert (tables / "anna").stat().st_mode & 0o777 == 0o600
    assert os.listdir(tables) == ["anna"]


def test_bytes_that_are_no_utf8_are_kept(tables: Path) -> None:
    (tables / "a").write_bytes(b"* * * * * echo \xff\xfe\xe4\r\n")
    (tables / "a").chmod(0o644)
    text, _ = read_table(str(tables / "a"), ANY_OWNER, LIMIT)
    install(tables / "b", text, None)
    assert (tables / "b").read_bytes() == (tables / "a").read_bytes()


def test_an_install_that_fails_changes_nothing(tables: Path) -> None:
    put(tables / "anna")
    (tables / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        install(tables / "folder", TABLE, None)
    with pytest.raises(ValueError, match="surrogates"):
        install(tables / "anna", "\ud800", None)
    assert sorted(os.listdir(tables)) == ["anna", "folder"]
    assert (tables / "anna").read_text() == TABLE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may give files away")
def test_an_install_for_somebody_else_fails(tables: Path) -> None:
    with pytest.raises(PermissionError):
        install(tables / "anna", TABLE, (0, 0))
    assert os.listdir(tables) == []


def test_an_install_on_a_full_disk_changes_nothing(tables: Path) -> None:
    put(tables / "anna")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            install(tables / "anna", TABLE * 1000, None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tables) == ["anna"]
    assert (tables / "anna").read_text() == TABLE


def test_a_reader_sees_the_old_or_the_new_table_never_a_part(tables: Path) -> None:
    versions = {"a" * 200_000, "b" * 200_000}
    install(tables / "anna", "a" * 200_000, None)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            for version in versions:
                install(tables / "anna", version, None)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(300):
            with contextlib.suppress(Unreadable):  # opened, then replaced: it has no name now
                assert read_table(str(tables / "anna"), ANY_OWNER, LIMIT)[0] in versions
    finally:
        stop.set()
        thread.join()


# ---- inotify


@pytest.fixture
def watch(tables: Path) -> Iterator[DirectoryWatch]:
    watch = DirectoryWatch({tables})
    watch.renew()
    yield watch
    watch.close()


def told(watch: DirectoryWatch) -> bool:
    return bool(select.select([watch], [], [], 5)[0])


def quiet(watch: DirectoryWatch) -> bool:
    return not select.select([watch], [], [], 0)[0]


CHANGES: dict[str, Callable[[Path], object]] = {
    "create": lambda tables: put(tables / "new"),
    "rewrite": lambda tables: (tables / "old").write_text("x"),
    "rename into": lambda tables: (tables.parent / "outside").rename(tables / "in"),
    "rename out of": lambda tables: (tables / "old").rename(tables.parent / "out"),
    "delete": lambda tables: (tables / "old").unlink(),
    "chmod": lambda tables: (tables / "old").chmod(0o600),
    "install": lambda tables: install(tables / "anna", TABLE, None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_the_watch_reports_a_change(
    tables: Path, watch: DirectoryWatch, change: Callable[[Path], object]
) -> None:
    put(tables / "old")
    put(tables.parent / "outside")
    watch.drain()
    assert quiet(watch)
    change(tables)
    assert told(watch)
    watch.drain()
    assert quiet(watch)


def test_a_directory_that_comes_later_is_watched_after_renew(tmp_path: Path) -> None:
    watch = DirectoryWatch({tmp_path / "later"})
    (tmp_path / "later").mkdir()
    watch.renew()
    put(tmp_path / "later" / "a")
    assert told(watch)
    (tmp_path / "later" / "a").unlink()
    (tmp_path / "later").rmdir()
    watch.drain()
    (tmp_path / "later").mkdir()
    watch.renew()
    put(tmp_path / "later" / "a")
    assert told(watch)
    watch.close()
