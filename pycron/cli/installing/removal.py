"""The plan of a removal (pure): exactly what setup has made, unless somebody has changed it."""

from pathlib import Path

from pycron.cli.installing.items import Target
from pycron.cli.installing.machine import Kind, Machine
from pycron.cli.installing.plan import Plan, systemctl
from pycron.cli.installing.record import Made, Record, temporary
from pycron.cli.installing.steps import (
    DismissRunner,
    Remove,
    RemoveDirectory,
    RemoveTree,
    Run,
)


def removal_plan(
    target: Target, machine: Machine, before: Record, *, purge: bool, runner: Path
) -> Plan:
    """`purge`: the state and the accounts, too. `runner`: its socket.

    What is kept stays in the record, so that a later call can remove it.
    """
    planner = _Planner(target, machine, before)
    planner.stop()
    planner.remove_files()
    if purge:
        if machine.at(runner).kind is not Kind.ABSENT:
            planner.plan.steps.append(DismissRunner(runner))
        planner.remove_accounts()
        planner.remove_trees()
    else:
        planner.keep_accounts()
    planner.remove_directories(above_state=False)
    planner.remove_state(purge)
    planner.remove_directories(above_state=True)
    planner.finish()
    return planner.plan


class _Planner:
    """Adds the steps of a removal to a plan."""

    def __init__(self, target: Target, machine: Machine, before: Record) -> None:
        self._target = target
        self._machine = machine
        self._before = before
        self._state = target.record.parent
        self._kept: list[Made] = []
        self._gone: set[Path] = set()
        self.plan = Plan()

    def stop(self) -> None:
        """Stop worker, page and daemon and disable their units, if they are those of setup."""
        reason = "stops the daemon; commands go on" if self._machine.active else None
        units = [(unit, None) for unit in self._target.further_units]
        for unit, why in (*units, (self._target.unit, reason)):
            if "systemctl" in self._machine.tools and self._is_ours(unit):
                words = (*systemctl(self._target), "disable")
                now = ("--now",) if self._machine.systemd else ()
                self.plan.steps.append(Run((*words, *now, unit.name), why))

    def _is_ours(self, unit: Path) -> bool:
        """Whether setup has made this unit, and it is there."""
        is_there = self._machine.at(unit).kind is not Kind.ABSENT
        return self._before.find(unit) is not None and is_there

    def remove_files(self) -> None:
        removed_unit = False
        for made in self._before.made:
            if made.kind not in ("file", "link"):
                continue
            if self._machine.at(made.temporary).kind is Kind.FILE:  # of an interrupted call
                self._remove(made.temporary)
            found = self._machine.at(made.path)
            if found.mark in made.marks:
                self._remove(made.path)
                removed_unit |= made.path in (self._target.unit, *self._target.further_units)
            elif found.kind is not Kind.ABSENT:
                self._keep(made, "it was changed since setup has made it")
        if removed_unit and self._machine.systemd:
            self.plan.steps.append(Run((*systemctl(self._target), "daemon-reload")))

    def _remove(self, path: Path) -> None:
        self.plan.steps.append(Remove(path))
        self._gone.add(path)

    def _keep(self, made: Made, reason: str) -> None:
        self._kept.append(made)
        self.plan.notes.append(f"kept {made.name}: {reason}")

    def keep_accounts(self) -> None:
        accounts = [each for each in self._before.made if each.kind in ("user", "group")]
        self._kept += accounts
        if accounts:
            names = ", ".join(each.name for each in accounts)
            self.plan.notes.append(f"kept the accounts {names}: files in the state may be theirs "
                                   "(--purge removes both)")  # fmt: skip

    def remove_accounts(self) -> None:
        for made in self._before.made:
            if made.kind == "user" and made.name in self._machine.users:
                self._delete(made, "userdel")
            elif made.kind == "group" and made.name in self._machine.groups:
                members = self._machine.groups[made.name]
                if members:
                    self._keep(made, f"the group has members ({', '.join(members)})")
                else:
                    self._delete(made, "groupdel")

    def _delete(self, made: Made, tool: str) -> None:
        if tool in self._machine.tools:
            self.plan.steps.append(Run((tool, made.name)))
        else:
            self._keep(made, f"there is no {tool}")

    def remove_trees(self) -> None:
        """All but the state directory itself, which has the record: that goes last."""
        for tree in self._target.trees:
            is_there = self._machine.at(tree).kind is Kind.DIRECTORY
            if tree != self._state and is_there:
                self.plan.steps.append(RemoveTree(tree))
                self._gone.add(tree)

    def remove_directories(self, *, above_state: bool) -> None:
        """The directories that setup has made and that are empty by then, the deepest first.

        `above_state`: those above the state directory, which goes before them; or the others.
        """
        directories = [each for each in self._before.made if each.kind == "directory"]
        for made in sorted(directories, key=lambda each: len(each.path.parts), reverse=True):
            found = self._machine.at(made.path)
            if found.kind is Kind.ABSENT or made.path in self._gone or made.path == self._state:
                continue
            if (made.path in self._state.parents) is not above_state:
                continue
            left = sorted(name for name in found.entries if made.path / name not in self._gone)
            if left:
                self._keep(made, f"it contains {', '.join(left[:3])}{' ...' * (len(left) > 3)}")
            else:
                self.plan.steps.append(RemoveDirectory(made.path))
                self._gone.add(made.path)

    def remove_state(self, purge: bool) -> None:
        """The state directory, with the record; without `purge` only if nothing else is in it."""
        record, found = self._target.record, self._machine.at(self._state)
        made = self._before.find(self._state)
        others = found.entries - {record.name, temporary(record).name}
        if purge and found.kind is Kind.DIRECTORY:
            self.plan.steps.append(RemoveTree(self._state))
            self._gone.add(self._state)
        elif others:
            self.plan.notes.append(f"kept {self._state}: the history and output of Runs "
                                   "(--purge removes it)")  # fmt: skip
        elif found.kind is Kind.DIRECTORY and made and not self._kept:
            self.plan.steps += [Remove(record)] if record.name in found.entries else []
            self.plan.steps.append(RemoveDirectory(self._state))
            self._gone.add(self._state)

    def finish(self) -> None:
        """What is kept stays in the record, if there still is a directory for it."""
        if self._state in self._gone:
            return
        made = self._before.find(self._state)
        self._kept += [made] if made else []
        self.plan.after = Record(tuple(self._kept))
