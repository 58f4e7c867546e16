"""The plan of an installation (pure): what is to be made, from what there is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pycron.cli.installing.items import Directory, File, Item, Link, Target
from pycron.cli.installing.machine import Kind, Machine, digest
from pycron.cli.installing.record import Made, Record
from pycron.cli.installing.steps import Make, Remove, Run, Step


@dataclass(slots=True)
class Plan:
    """`after`: what the record says at the end. `notes`: what is left as it is, and why.

    `conflicts`: files of somebody else that are in the way; then nothing is done.
    """

    steps: list[Step] = field(default_factory=list)
    after: Record = field(default_factory=Record)
    notes: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)


def install_plan(
    target: Target,
    items: Iterable[Item],
    accounts: Mapping[str, str | None],
    machine: Machine,
    before: Record,
) -> Plan:
    """What makes the items and accounts complete. `before`: the record of earlier installations.

    The same call on a machine on which everything is in place gives no step.
    """
    planner = _Planner(target, machine, before)
    items = list(items)
    for item in items:
        planner.add(item)
    planner.remove_old({str(item.path) for item in items})
    planner.add_accounts(accounts)
    if machine.systemd and any(_is_about_unit(step, target) for step in planner.plan.steps):
        planner.plan.steps.append(Run((*systemctl(target), "daemon-reload")))
    planner.plan.after = Record(tuple(planner.made.values()))
    return planner.plan


def systemctl(target: Target) -> tuple[str, ...]:
    return ("systemctl",) if target.system else ("systemctl", "--user")


def _is_about_unit(step: Step, target: Target) -> bool:
    return isinstance(step, Make) and step.item.path in (target.unit, *target.further_units)


class _Planner:
    """Adds item after item to a plan."""

    def __init__(self, target: Target, machine: Machine, before: Record) -> None:
        self._target = target
        self._machine = machine
        self._before = before
        self.plan = Plan()
        self.made: dict[str, Made] = {each.name: each for each in before.made}
        self._new: set[Path] = set()  # directories that the plan makes
        self._left_out: set[Path] = set()  # directories that cannot be written to

    def add(self, item: Item) -> None:
        found = self._machine.at(item.path)
        if _is_in_place(item, self._machine) or item.path in self._new:
            return
        if isinstance(item, File) and item.yours and found.kind is not Kind.ABSENT:
            return
        made = self._before.find(item.path)
        if found.kind is Kind.ABSENT:
            self._make(item, replaces=False)
        elif made is None:
            self.plan.conflicts.append(f"{item.path} is {found.kind.value} that setup has not made")
        elif isinstance(item, Directory) or found.mark not in made.marks:
            self.plan.notes.append(f"kept {item.path}: it was changed since setup has made it")
        else:
            self._make(item, replaces=True)

    def _make(self, item: Item, *, replaces: bool) -> None:
        if self._is_left_out(item.path):
            return
        for directory in self._missing_above(item.path):
            self._make(Directory(directory, self._target.private), replaces=False)
        if isinstance(item, Directory):
            self._new.add(item.path)
        self.plan.steps.append(Make(item, replaces))
        self.made[str(item.path)] = made_of(item)

    def _missing_above(self, path: Path) -> Iterator[Path]:
        for parent in reversed(path.parents):
            if self._machine.at(parent).kind is Kind.ABSENT and parent not in self._new:
                yield parent

    def _is_left_out(self, path: Path) -> bool:
        """Whether the path is in a directory that cannot be written to, which is said once."""
        for directory in self._target.optional:
            if directory in self._machine.read_only and path.is_relative_to(directory):
                if directory not in self._left_out:
                    self._left_out.add(directory)
                    self.plan.notes.append(_left_out(directory, self._target))
                return True
        return False

    def remove_old(self, wanted: set[str]) -> None:
        """Remove files and links that an earlier version has made and this one does not have."""
        for made in self._before.made:
            if made.kind in ("file", "link") and made.name not in wanted:
                found = self._machine.at(made.path)
                if found.mark in made.marks:
                    self.plan.steps.append(Remove(made.path))
                if found.mark in made.marks or found.kind is Kind.ABSENT:
                    del self.made[made.name]

    def add_accounts(self, accounts: Mapping[str, str | None]) -> None:
        """With systemd-sysusers, otherwise with useradd and groupadd."""
        there = {*self._machine.users, *self._machine.groups}
        missing = {name: text for name, text in accounts.items() if name not in there}
        if not missing:
            return
        steps = self._account_steps(missing)
        if not steps:
            self.plan.notes.append(f"make these accounts yourself: {', '.join(missing)}")
            return
        self.plan.steps += steps
        for name, text in missing.items():
            self.made[name] = Made("group" if text is None else "user", name)

    def _account_steps(self, missing: Mapping[str, str | None]) -> list[Step]:
        tools = self._machine.tools
        if "systemd-sysusers" in tools:
            command = ("systemd-sysusers", str(self._target.accounts))
            return [Run(command, f"makes {', '.join(missing)}")]
        if "useradd" not in tools or "groupadd" not in tools:
            return []
        return [
            Run(("groupadd", "--system", name)) if text is None else
            Run(("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", "/",
                 "--shell", "/usr/sbin/nologin", "--comment", text, name))
            for name, text in missing.items()
        ]  # fmt: skip


def made_of(item: Item) -> Made:
    """The item's row in the record."""
    if isinstance(item, Directory):
        return Made("directory", str(item.path))
    if isinstance(item, Link):
        return Made("link", str(item.path), (str(item.target),))
    return Made("file", str(item.path), (digest(item.data),))


def _is_in_place(item: Item, machine: Machine) -> bool:
    """Whether the path leads to the wanted thing, whoever has made it: pipx makes links, too."""
    found = machine.at(item.path)
    if isinstance(item, Directory):
        return found.kind is Kind.DIRECTORY
    if isinstance(item, Link):
        return str(item.target) in (found.mark, *found.behind[:1])
    return digest(item.data) in (found.mark, *found.behind[1:])


def _left_out(directory: Path, target: Target) -> str:
    return (
        f"left out {directory}: the file system is read-only; the programs are in {target.programs}"
    )
