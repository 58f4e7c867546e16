"""The lease file: written as a whole, and worth nothing when it is damaged or of another boot."""

import os
from pathlib import Path

import pytest

from pycron.system import lease_file
from pycron.system.lease_file import Lease


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lease")


def _lease(incarnation: str | None = "i", deadline: float = 100.0) -> Lease:
    return Lease(incarnation, deadline, "store", lease_file.boot_id())


def test_what_was_written_is_read(path: str) -> None:
    lease_file.write(path, _lease())
    lease_file.write(path, _lease("j", 200.5))
    assert lease_file.read(path) == _lease("j", 200.5)
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_a_file_that_an_interrupted_agent_left_is_no_obstacle(path: str) -> None:
    Path(path + ".new").write_text("half")
    lease_file.write(path, _lease())
    assert lease_file.read(path) == _lease()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"incarnation": "i"}',
        '{"incarnation": 7, "deadline": 1, "store": "s", "boot": "b"}',
        '{"incarnation": "i", "deadline": true, "store": "s", "boot": "b"}',
        '{"incarnation": "i", "deadline": "1", "store": "s", "boot": "b"}',
        '{"incarnation": "i", "deadline": 1, "store": null, "boot": "b"}',
        "[" * 4000,
        "\xff",
    ],
)
def test_a_damaged_file_is_no_lease(path: str, text: str) -> None:
    Path(path).write_text(text, encoding="latin-1")
    assert lease_file.read(path) is None


def test_a_missing_file_and_a_link_are_no_lease(path: str, tmp_path: Path) -> None:
    assert lease_file.read(path) is None
    lease_file.write(str(tmp_path / "other"), _lease())
    os.symlink(tmp_path / "other", path)
    assert lease_file.read(path) is None


def test_a_lease_of_another_boot_is_no_lease(path: str) -> None:
    lease_file.write(path, _lease()._replace(boot="another"))
    assert lease_file.read(path) is None


def test_an_attempt_may_run_while_its_incarnation_has_a_deadline_ahead() -> None:
    assert lease_file.may_run(_lease(), "i", 99.9)
    assert not lease_file.may_run(_lease(), "i", 100.0)
    assert not lease_file.may_run(_lease(), "j", 99.9)
    assert not lease_file.may_run(_lease(None), "i", 99.9)
    assert not lease_file.may_run(None, "i", 99.9)


def test_only_another_incarnation_or_none_voids_a_lease() -> None:
    assert lease_file.is_void(_lease(None), "i")
    assert lease_file.is_void(_lease("j"), "i")
    assert not lease_file.is_void(_lease(), "i")
    assert not lease_file.is_void(None, "i")
