"""Every file that the daemon trusts is checked when it is open: owner, mode, kind and names."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pycron.config import ConfigError, read_config
from pycron.system.files import ROOTS, Unreadable, own_rules, read_checked, read_secret
from pycron.system.user_lists import users_in, users_in_first

STRANGER = 12345  # a uid
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    directory = tmp_path / "etc"
    directory.mkdir(mode=0o755)
    return directory


def put(path: Path, text: str = "joe\n") -> Path:
    path.write_text(text)
    path.chmod(0o644)
    return path


def of_a_stranger(path: Path) -> None:
    os.chown(put(path), STRANGER, STRANGER)


def linked_twice_here(path: Path) -> None:
    os.link(put(path), path.with_name("another"))


def writable_directory(path: Path) -> None:
    os.link(put(path), path.parent.parent / "another")
    path.parent.chmod(0o777)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "another owner": (of_a_stranger, "wrong-owner"),
    "group-writable": (lambda path: put(path).chmod(0o664), "writable"),
    "writable for all": (lambda path: put(path).chmod(0o646), "writable"),
    "a symlink": (lambda path: path.symlink_to(put(path.with_name("real"))), "symlink"),
    "a symlink to no file": (lambda path: path.symlink_to("/nowhere"), "symlink"),
    "a directory": (Path.mkdir, "not-a-file"),
    "a FIFO": (lambda path: os.mkfifo(path, 0o600), "not-a-file"),
    "two names in the directory": (linked_twice_here, "hard-link"),
    "a name that others may have made": (writable_directory, "hard-link"),
    "too large": (lambda path: put(path, "x" * (2**20 + 1)), "too-large"),
}
each_bad = pytest.mark.parametrize(("make", "code"), BAD.values(), ids=BAD)


@needs_root
@each_bad
def test_a_file_of_the_system(etc: Path, make: Callable[[Path], object], code: str) -> None:
    make(etc / "file")
    with pytest.raises(Unreadable) as caught:
        read_checked(str(etc / "file"), ROOTS, 2**20)
    assert caught.value.code == code


@needs_root
@each_bad
def test_a_configuration_that_cannot_be_trusted_is_refused(
    etc: Path, make: Callable[[Path], object], code: str
) -> None:
    make(etc / "pycron.toml")
    with pytest.raises(ConfigError) as caught:
        read_config(etc / "pycron.toml", required=False, rules=ROOTS)
    assert str(caught.value).startswith(f"{etc}/pycron.toml: ")


@needs_root
@each_bad
def test_an_allow_file_that_cannot_be_trusted_is_no_missing_file(
    etc: Path, make: Callable[[Path], object], code: str
) -> None:
    make(etc / "allow")
    with pytest.raises(Unreadable) as caught:
        users_in_first(etc / "allow", etc / "cron.allow")
    assert str(caught.value).startswith(f"{etc}/allow: ")


@needs_root
def test_a_further_name_that_anybody_can_make_elsewhere_takes_no_file_out_of_use(
    etc: Path, tmp_path: Path
) -> None:
    """Where fs.protected_hardlinks is 0, every user can link to a file that they can see."""
    os.link(put(etc / "allow"), tmp_path / "elsewhere")
    assert users_in_first(etc / "allow", etc / "cron.allow") == ["joe"]


@needs_root
def test_roots_symlink_stands_for_the_file_of_another_cron(etc: Path, tmp_path: Path) -> None:
    (etc / "cron.allow").symlink_to(put(tmp_path / "managed"))
    assert users_in_first(etc / "allow", etc / "cron.allow") == ["joe"]
    os.lchown(etc / "cron.allow", STRANGER, STRANGER)
    with pytest.raises(Unreadable, match="not root's"):
        users_in_first(etc / "allow", etc / "cron.allow")


def test_ones_own_configuration_may_be_a_symlink(etc: Path, tmp_path: Path) -> None:
    """Programs that keep the files of a home elsewhere make symlinks."""
    (etc / "pycron.toml").symlink_to(put(tmp_path / "kept", "[limits]\nrunning = 5\n"))
    assert read_config(etc / "pycron.toml", required=True, rules=own_rules()).running == 5
    (tmp_path / "kept").chmod(0o666)
    with pytest.raises(ConfigError, match="others can write to it"):
        read_config(etc / "pycron.toml", required=True, rules=own_rules())


def test_without_a_file_nobody_is_listed(etc: Path) -> None:
    assert users_in_first(etc / "allow", etc / "cron.allow") is None


def test_a_comment_lists_nobody() -> None:
    text = "# not mallory\njoe # and eve\n\n  ann bob\n#\n"
    assert users_in(text) == ["joe", "ann", "bob"]


def test_a_secret_that_others_may_read_is_refused(etc: Path) -> None:
    put(etc / "password", "secret\n").chmod(0o640)
    with pytest.raises(Unreadable, match=f"{etc}/password: has the mode 0640"):
        read_secret(etc / "password")
    (etc / "password").chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert read_secret(etc / "password") == "secret"
