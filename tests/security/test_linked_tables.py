"""Symlinks in /etc/pycron.d: root's are followed to root's file, and nobody else can lead the way.

As in a ConfigMap of Kubernetes, which exchanges its files by a symlink, and as stow makes them.
"""

import contextlib
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pycron.config import Config
from pycron.system.files import ROOTS, Unreadable, read_checked
from pycron.tables.directories import Found, Gone, TableDirectories, TableLocation
from pycron.tables.layouts import Layout
from tests.support.isolated_system import IsolatedSystem

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a symlink of root's"),
]
RULES = replace(ROOTS, checked_links=True)
TABLE = "0 0 * * * root true\n"
SOMEBODY = 4711


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A place that only root can change, below /tmp, where everybody may make files."""
    place = tmp_path / "etc"
    place.mkdir(mode=0o755)
    return place


def read(path: Path) -> str:
    return read_checked(str(path), RULES, 1000).data.decode()


def refusal(path: Path) -> str:
    with pytest.raises(Unreadable) as refused:
        read(path)
    assert refused.value.code in ("symlink", "wrong-owner", "writable", "not-a-file", "unreadable")
    return str(refused.value)


def open_below(place: Path) -> list[str]:
    """The files below the place that this process has open, and no others."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [each for each in found if each.startswith(str(place.parent))]


def config_map(place: Path, version: str, text: str = TABLE) -> None:
    """Put a version in place, as kubelet does: a directory, and one rename."""
    (place / f"..{version}").mkdir()
    (place / f"..{version}" / "backup").write_text(text)
    (place / "..data_tmp").symlink_to(f"..{version}")
    (place / "..data_tmp").rename(place / "..data")
    if not (place / "backup").is_symlink():
        (place / "backup").symlink_to("..data/backup")


def test_the_default_of_the_systems_tables() -> None:
    assert Layout().system_rules == RULES


def test_a_config_map(place: Path) -> None:
    config_map(place, "1")
    assert read(place / "backup") == TABLE


def test_a_link_that_leads_up_and_down_again(place: Path) -> None:
    """stow makes such links."""
    stowed = place.parent / "stow" / "pycron" / "etc"
    stowed.mkdir(parents=True)
    (stowed / "backup").write_text(TABLE)
    (place / "backup").symlink_to("../stow/./pycron//etc/backup")
    assert read(place / "backup") == TABLE
    (place / "absolute").symlink_to(place / "backup")
    assert read(place / "absolute") == TABLE


def test_the_way_must_be_roots(place: Path) -> None:
    config_map(place, "1")
    link, data, directory, file = (
        place / name for name in ("backup", "..data", "..1", "..1/backup")
    )
    for part in (link, data, directory):
        os.chown(part, SOMEBODY, 0, follow_symlinks=False)
        assert f"{part} belongs to uid {SOMEBODY}, not to 0" in refusal(link)
        os.chown(part, 0, 0, follow_symlinks=False)
        assert read(link) == TABLE
    os.chown(file, SOMEBODY, 0)
    assert f"belongs to uid {SOMEBODY}" in refusal(link)
    os.chown(file, 0, 0)
    file.chmod(0o664)
    assert "others can write to it" in refusal(link)


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_nobody_else_can_exchange_the_file(place: Path, mode: int) -> None:
    config_map(place, "1")
    (place / "..1").chmod(mode)
    assert f"others can write to {place}/..1 (mode 0{mode:o})" in refusal(place / "backup")
    (place / "..1").chmod(mode | 0o1000)  # as /tmp: nobody can exchange what is root's
    assert read(place / "backup") == TABLE


def test_links_to_nothing_useful(place: Path) -> None:
    (place / "gone").symlink_to("nowhere")
    (place / "loop").symlink_to("loop")
    (place / "up").symlink_to("..")
    (place / "directory").symlink_to("../etc")
    (place / "below").symlink_to("/etc/passwd/x")
    os.mkfifo(place / "fifo")
    (place / "pipe").symlink_to("fifo")
    assert refusal(place / "gone") == "a symbolic link to no file: mend or remove it"
    assert "leads to itself" in refusal(place / "loop")
    assert "to a directory" in refusal(place / "up")
    assert "a directory" in refusal(place / "directory")
    assert "Not a directory" in refusal(place / "below")
    assert "a FIFO" in refusal(place / "pipe")
    assert open_below(place) == []
    with pytest.raises(FileNotFoundError):
        read(place / "none")


def test_a_refused_link_leaves_no_descriptor_open(place: Path) -> None:
    config_map(place, "1")
    os.chown(place / "..1", SOMEBODY, 0)
    for _ in range(20):
        refusal(place / "backup")
    assert open_below(place) == []


def test_an_exchange_during_the_check_gives_nothing_away(place: Path) -> None:
    """Somebody exchanges root's directory and their own, without a pause."""
    theirs = place.parent / "theirs"
    theirs.mkdir()
    (theirs / "backup").write_text("0 0 * * * root evil\n")
    os.chown(theirs, SOMEBODY, 0)
    (place / "1").mkdir()
    (place / "1" / "backup").write_text(TABLE)
    (place / "backup").symlink_to("turn/backup")
    (place / "good").symlink_to("1")
    (place / "bad").symlink_to("../theirs")
    stop = threading.Event()

    def exchange() -> None:
        while not stop.is_set():
            for link in ("good", "bad"):
                os.link(place / link, place / "next", follow_symlinks=False)
                os.rename(place / "next", place / "turn")
                (place / "next").unlink(missing_ok=True)

    exchanger = threading.Thread(target=exchange)
    exchanger.start()
    try:
        assert {_read_or_refuse(place / "backup") for _ in range(3000)} <= {TABLE, ""}
    finally:
        stop.set()
        exchanger.join()


def _read_or_refuse(path: Path) -> str:
    try:
        return read(path)
    except (Unreadable, FileNotFoundError):
        return ""


def test_a_scan_sees_each_change_of_the_way(place: Path) -> None:
    location = TableLocation(place, directory=True, rules=RULES)
    directories = TableDirectories([location], Config)
    config_map(place, "1")
    assert [text(found) for found in directories.scan()] == [TABLE]
    assert list(directories.scan()) == []
    config_map(place, "2", TABLE * 2)
    assert [text(found) for found in directories.scan()] == [TABLE * 2]
    (place / "..2" / "backup").write_text(TABLE * 3)
    assert [text(found) for found in directories.scan()] == [TABLE * 3]
    os.chown(place / "..2", SOMEBODY, 0)
    assert [text(found) for found in directories.scan()] == [None]
    assert list(directories.scan()) == []
    os.chown(place / "..2", 0, 0)
    assert [text(found) for found in directories.scan()] == [TABLE * 3]
    (place / "backup").unlink()
    assert list(directories.scan()) == [Gone(str(place / "backup"))]


def text(found: object) -> str | None:
    assert isinstance(found, Found)
    return found.text


# ---- the daemon


def test_the_daemon_runs_a_config_map_and_notices_its_exchange(tmp_path: Path) -> None:
    """The directory of a ConfigMap has the mode 0777 and is mounted read-only."""
    made = tmp_path / "map"
    made.mkdir()
    made.chmod(0o777)
    config_map(made, "1", "CRON_NAME=one @every 1s root true\n")
    mount = f"mount --bind {made} /etc/pycron.d; mount -o remount,bind,ro /etc/pycron.d"
    with contextlib.closing(IsolatedSystem(tmp_path, mount)) as system:
        system.daemon.wait_for("attempt_ended", job="one", outcome="succeeded")
        config_map(made, "2", "CRON_NAME=two @every 1s root true\n")
        system.daemon.wait_for("attempt_ended", job="two", outcome="succeeded")
        system.shell("mount -o remount,bind,rw /etc/pycron.d")
        system.daemon.signal(signal.SIGHUP)
        problem = system.daemon.wait_for("table_problem")
        assert "others can write to /etc/pycron.d" in problem["problem"]
