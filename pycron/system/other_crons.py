"""Other crons of this machine: the daemons, and anacron, that run jobs besides pycron.

`other_crons` gathers a few facts from /proc, the units' symlinks and the init links, and `decide`
says from them which other cron runs now or would run after the next boot. No program is started, so
the daemon may ask: it costs a few milliseconds.

A timer has no process. If anacron's timer or cron.target (systemd-cron) is enabled, and systemd
runs, it is taken for active.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

ROOT = Path("/")


class Kind(Enum):
    """What another cron runs; the value says it in a sentence behind its name."""

    CRON = "it would run the same jobs"
    ANACRON = "it would run the jobs of /etc/anacrontab"
    OWN_TABLES = "it runs the jobs of its own tables"


@dataclass(frozen=True, slots=True)
class _Known:
    """A cron that people install: the names of its processes, units and init scripts."""

    name: str
    kind: Kind
    programs: tuple[str, ...]
    units: tuple[str, ...]
    scripts: tuple[str, ...] = ()


_ALL = (
    _Known("cron", Kind.CRON, ("cron",), ("cron.service",), ("cron",)),
    _Known("crond", Kind.CRON, ("crond",), ("crond.service", "cronie.service", "dcron.service"),
           ("crond", "cronie", "dcron")),
    _Known("bcron", Kind.CRON, ("bcron-exec",), ("bcron-sched.service",), ("bcron-sched",)),
    _Known("fcron", Kind.OWN_TABLES, ("fcron",), ("fcron.service",), ("fcron",)),
    _Known("systemd-cron", Kind.CRON, (), ("cron.target",)),
    _Known("anacron", Kind.ANACRON, ("anacron",), ("anacron.timer", "anacron.service"),
           ("anacron",)),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Process:
    """A process of root in our pid namespace.

    `name`: of at most 15 characters (proc(5)). `program`: the path of the program; None if this
    user may not see it. `unit`: the systemd service that it belongs to. `left`: its daemon has
    ended; Debian's cron leaves a process beside each command that still runs.
    """

    pid: int
    parent: int
    name: str
    program: str | None
    unit: str | None = None
    left: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the machine shows. `systemd`: whether it was booted with systemd.

    `units`: the enabled units. `scripts`: the enabled init scripts.
    """

    systemd: bool
    processes: tuple[Process, ...] = ()
    units: frozenset[str] = frozenset()
    scripts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class OtherCron:
    """Another cron. `active`: it runs now. `enabled`: it would run after the next boot.

    `pid`: of its process, if it has one. `units`: the systemd units to stop and to disable.
    `scripts`: the same for the init scripts of a machine without systemd.
    """

    name: str
    kind: Kind
    pid: int | None
    active: bool
    enabled: bool
    units: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()

    @property
    def remedy(self) -> str:
        """The command that ends it for good."""
        if self.units:
            return f"systemctl disable --now {' '.join(map(_short, self.units))}"
        if self.scripts:
            return "; ".join(f"service {s} stop; update-rc.d {s} disable" for s in self.scripts)
        return f"kill {self.pid}"

    @property
    def message(self) -> str:
        """One sentence: what it is, whether it runs, and what to do."""
        names = [f"pid {self.pid}"] if self.pid else []
        where = ", ".join((*names, *self.units))
        state = "is running" if self.active else "is enabled and would run after the next boot"
        return f"{self.name} ({where or 'init script'}) {state}: {self.kind.value}; {self.remedy}"


def other_crons(root: Path = ROOT) -> list[OtherCron]:
    """The other crons of this machine that run, or would run after the next boot.

    `root`: of another tree than the machine's, for tests; the processes are the machine's.
    """
    return decide(_gather(root))


def conflicting_units() -> tuple[str, ...]:
    """The units of systemd that may not run beside pycron, if both have the same tables.

    Not those of anacron: systemd would stop pycron whenever anacron starts for its daily jobs.
    """
    return tuple(unit for known in _ALL if known.kind is Kind.CRON for unit in known.units)


# ---- the decision


def decide(facts: Facts) -> list[OtherCron]:
    """The other crons that these facts show."""
    found = (_decide_about(known, facts) for known in _ALL)
    return [cron for cron in found if cron is not None]


def _decide_about(known: _Known, facts: Facts) -> OtherCron | None:
    process = _daemon_of(known, facts.processes)
    units = [unit for unit in known.units if unit in facts.units]
    scripts = tuple(script for script in known.scripts if script in facts.scripts)
    timed = facts.systemd and any(not unit.endswith(".service") for unit in units)
    enabled = bool(units or scripts)
    if process is None and not enabled:
        return None
    if process is not None and process.unit is not None and process.unit not in units:
        units.append(process.unit)
    name = _name(known, process) if process else known.name
    pid = process.pid if process else None
    return OtherCron(name, known.kind, pid, process is not None or timed, enabled,
                     tuple(units), () if units else scripts)  # fmt: skip


def _daemon_of(known: _Known, processes: Iterable[Process]) -> Process | None:
    """The process of this cron; it forks, so the one whose parent is another program."""
    own = {process.pid: process for process in processes if _is_of(process, known)}
    return next((process for process in own.values() if process.parent not in own), None)


def _is_of(process: Process, known: _Known) -> bool:
    """Whether a process has a name of this cron, and the program too: a script has not."""
    if process.name not in known.programs or process.left:
        return False
    return process.program is None or _base(process.program) in (process.name, "busybox")


def _name(known: _Known, process: Process) -> str:
    is_busybox = process.program is not None and _base(process.program) == "busybox"
    return "busybox crond" if is_busybox else known.name


def _base(program: str) -> str:
    return os.path.basename(program.removesuffix(" (deleted)"))


def _short(unit: str) -> str:
    """A unit's name as people type it."""
    return unit.removesuffix(".service")


# ---- the facts


def _gather(root: Path) -> Facts:
    systemd = (root / "run/systemd/system").is_dir()
    units = {unit for known in _ALL for unit in known.units if _is_enabled(root, unit)}
    scripts = {script for known in _ALL for script in known.scripts}
    covered = {s for s in scripts if systemd and _has_unit(root, f"{s}.service")}
    return Facts(systemd, tuple(_processes()), frozenset(units if systemd else ()),
                 frozenset(_enabled_scripts(root, scripts) - covered))  # fmt: skip


def _processes() -> Iterator[Process]:
    """The processes of root that have the name of a cron."""
    names = {name for known in _ALL for name in known.programs}
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            if _read(f"/proc/{entry}/comm").rstrip("\n") in names:
                yield from _process(entry)
        except OSError:  # the process has ended
            continue


def _process(pid: str) -> Iterator[Process]:
    """The process, if it is one of root and of our pid namespace, and has not ended.

    Raises OSError.
    """
    lines = _read(f"/proc/{pid}/status").splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    in_container = len(status.get("NSpid", pid).split()) > 1
    if in_container or status["Uid"].split()[0] != "0" or status["State"][0] in "ZX":
        return
    try:
        program = os.readlink(f"/proc/{pid}/exe")
    except OSError:  # another user's process
        program = None
    parent, group = int(status["PPid"]), status.get("NSpgid", pid)
    left = parent == 1 and group != pid and not os.path.exists(f"/proc/{group}")
    yield Process(int(pid), parent, status["Name"], program, _service(pid), left)


def _service(pid: str) -> str | None:
    """The systemd service of a process, from its cgroup. Raises OSError."""
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        unit = line.rpartition("/")[2]
        if unit.endswith(".service") and line.startswith(("0::/system.slice/", "1:name=systemd:/")):
            return unit
    return None


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


_UNIT_DIRECTORIES = ("etc/systemd/system", "run/systemd/system", "lib/systemd/system",
                     "usr/lib/systemd/system")  # fmt: skip


def _is_enabled(root: Path, unit: str) -> bool:
    """Whether a symlink makes systemd start the unit, and the unit is there and not masked."""
    if not _has_unit(root, unit):
        return False
    wants = [f"{directory}/*.{suffix}" for directory in _UNIT_DIRECTORIES
             for suffix in ("wants", "requires")]  # fmt: skip
    return any(os.path.lexists(found / unit) for each in wants for found in root.glob(each))


def _has_unit(root: Path, unit: str) -> bool:
    """Whether systemd finds a unit file that does not lead to /dev/null."""
    for directory in _UNIT_DIRECTORIES:
        path = root / directory / unit
        if path.is_symlink() or path.exists():
            return not (path.is_symlink() and os.readlink(path) == "/dev/null")
    return False


def _enabled_scripts(root: Path, scripts: set[str]) -> set[str]:
    """The init scripts that the runlevels of SysV init (2 to 5) or of OpenRC start.

    Debian leaves the script of a removed package there, not executable: nobody starts it.
    """
    found = set()
    for link in [*root.glob("etc/rc[2-5].d/S[0-9][0-9]*"), *root.glob("etc/runlevels/*/*")]:
        script = link.name[3:] if link.parent.name.startswith("rc") else link.name
        if script in scripts and os.access(root / "etc/init.d" / script, os.X_OK):
            found.add(script)
    return found
