"""`pycron setup` that ends between any two steps: the next call completes or removes everything."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pycron.cli.installing.carry_out import carry_out
from pycron.cli.installing.items import File, Item, Link, Target, wanted_items
from pycron.cli.installing.machine import Machine, look_at
from pycron.cli.installing.plan import Plan, install_plan
from pycron.cli.installing.record import read_record, temporary
from pycron.cli.installing.removal import removal_plan
from pycron.cli.installing.steps import Step

SHIPPED = {
    "share/pycron/systemd/pycron-user.service": b"ExecStart=/usr/bin/pycrond\n",
    "share/man/man1/pycron.1": b"1",
    "share/man/man8/pycrond.8": b"8",
}
NEWER = SHIPPED | {"share/man/man1/pycron.1": b"newer", "share/man/man5/pycrontab.5": b"5"}
del NEWER["share/man/man8/pycrond.8"]


EMPTY = "directory 40700"


class PowerCut(BaseException):
    pass


class House:
    """A home directory, and what is done in it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        home.mkdir()
        self.target = Target(
            programs=home.parent,
            links=home / "bin",
            share=home / "share",
            unit=home / "config/systemd/pycron.service",
            config=home / "config/pycron/pycron.toml",
            record=home / "local/state/setup.json",
            trees=(home / "local/state", home / "run"),
            private=0o700,
        )

    def install(self, shipped: dict[str, bytes], cut_at: int | None = None) -> int:
        """Carry the installation out, up to the step `cut_at`; the number of steps."""
        items = wanted_items(self.target, shipped, "# nothing\n")
        return self._carry_out(self._install_plan(items), cut_at)

    def _install_plan(self, items: list[Item]) -> Plan:
        machine = self._machine([item.path for item in items])
        return install_plan(self.target, items, {}, machine, read_record(self.target.record))

    def remove(self, cut_at: int | None = None, *, purge: bool = True) -> int:
        machine, before = self._machine([]), read_record(self.target.record)
        runner = self.home / "run/runner.sock"
        plan = removal_plan(self.target, machine, before, purge=purge, runner=runner)
        return self._carry_out(plan, cut_at)

    def _machine(self, wanted: list[Path]) -> Machine:
        made = [each.path for each in read_record(self.target.record).made]
        paths = [*wanted, *made, *map(temporary, made), *self.target.trees]
        return Machine(look_at(paths), tools=(), systemd=False)

    def _carry_out(self, plan: Plan, cut_at: int | None) -> int:
        assert plan.conflicts == []
        left = iter(range(len(plan.steps)))

        def say(_step: Step) -> None:
            if next(left) == cut_at:
                raise PowerCut

        carry_out(plan, self.target.record, read_record(self.target.record), say)
        return len(plan.steps)

    def listing(self) -> dict[str, str]:
        """What each path of the home directory is; of the record only that it is there."""
        return {str(path.relative_to(self.home)): _state(path) for path in self.home.rglob("*")}


def _state(path: Path) -> str:
    if path.is_symlink():
        return f"link {path.readlink()}"
    if path.is_dir():
        return f"directory {path.stat().st_mode:o}"
    text = b"" if path.name == "setup.json" else path.read_bytes()
    return f"file {path.stat().st_mode:o} {hashlib.sha256(text).hexdigest()}"


Cut = Callable[[House, int], int]


def cut_everywhere(directory: Path, first: Callable[[House], object], cut: Cut) -> list[House]:
    """A house for each step of `cut`, which was interrupted before that step."""
    houses = []
    for number in range(100):
        house = House(directory / str(number))
        first(house)
        try:
            cut(house, number)
        except PowerCut:
            houses.append(house)
        else:
            assert len(houses) > 3
            return houses
    raise AssertionError("no end")


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, str]:
    """The listing of an installation of the newer version."""
    house = House(tmp_path / "whole")
    house.install(NEWER)
    return house.listing()


def test_an_interrupted_installation(tmp_path: Path, whole: dict[str, str]) -> None:
    def cut(house: House, number: int) -> int:
        return house.install(NEWER, number)

    for house in cut_everywhere(tmp_path, House.listing, cut):
        house.install(NEWER)
        assert house.listing() == whole
        assert house.install(NEWER) == 0
    (tmp_path / "again").mkdir()
    for house in cut_everywhere(tmp_path / "again", House.listing, cut):
        house.remove()
        assert house.listing() == {}


def test_an_interrupted_upgrade(tmp_path: Path, whole: dict[str, str]) -> None:
    def cut(house: House, number: int) -> int:
        return house.install(NEWER, number)

    for house in cut_everywhere(tmp_path, lambda house: house.install(SHIPPED), cut):
        house.install(NEWER)
        assert {name for name in house.listing() if "man8" not in name} == set(whole)
        house.remove()
        assert house.listing() == {}
    (tmp_path / "back").mkdir()
    for house in cut_everywhere(
        tmp_path / "back", lambda house: house.install(SHIPPED), cut
    ):  # back to the older version
        house.install(SHIPPED)
        house.remove()
        assert house.listing() == {}


@pytest.mark.parametrize("purge", [True, False])
def test_an_interrupted_removal(tmp_path: Path, purge: bool) -> None:
    def cut(house: House, number: int) -> int:
        return house.remove(number, purge=purge)

    for house in cut_everywhere(tmp_path, lambda house: house.install(NEWER), cut):
        house.remove(purge=purge)
        # Without the record, directories that were above it are nobody's.
        assert house.listing().items() <= {"local": EMPTY, "local/state": EMPTY}.items()


def test_items_of_the_test_are_of_every_kind(tmp_path: Path) -> None:
    items = wanted_items(House(tmp_path / "x").target, NEWER, "")
    assert {File, Link} < {type(item) for item in items}
