"""The measures. Each measure returns a table: a title, and rows for each daemon."""

import contextlib
import math
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from box import Box, Unable
from daemons import EVERY_MINUTE, USER, Daemon, Entry, Pycron, Spawn, Vixie
from service import Minute, service_burst

Row = dict[str, str | float]

_LEAD = 0.2  # an edit is to be finished this many seconds before a boundary
_FEW = 20  # so few commands are due in a minute that none has to wait
_RUNNING = 200
_DEADLINE = "60s"  # all commands of a flood must start within this time after the boundary


class Table(NamedTuple):
    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Plan:
    """The options of the command line. `patience`: a daemon that is busy for longer is given up."""

    daemons: list[Daemon]
    cache: Path
    jobs: int
    minutes: int
    flood: int
    limit: int
    entries: list[int]
    patience: float
    unable: dict[str, str] = field(default_factory=dict)

    def able(self, *kinds: type[Daemon]) -> Iterator[Daemon]:
        """The daemons that can still take part; with `kinds`, only those of these classes."""
        for daemon in self.daemons:
            if daemon.name not in self.unable and isinstance(daemon, kinds or Daemon):
                yield daemon

    @contextlib.contextmanager
    def trying(self, daemon: Daemon) -> Iterator[None]:
        """If Unable is raised, note the reason and leave the daemon out from then on."""
        try:
            yield
        except Unable as error:
            self.unable[daemon.name] = str(error)

    def rows_of_unable(self) -> list[Row]:
        return [{"daemon": name, "note": reason} for name, reason in self.unable.items()]

    @contextlib.contextmanager
    def running(
        self, daemon: Daemon, entries: Sequence[Entry], user: str = "root",
        *, prints: bool = False, limit: int = 0,
    ) -> Iterator[Box]:  # fmt: skip
        """A box in which the daemon runs, has read its entries and has become idle."""
        with Box(self.cache) as box:
            daemon.install(box, user, entries, prints=prints)
            daemon.start(box, user, limit)
            box.settle(self.patience)
            yield box


# ---- entries


def _stamps(
    box_stamps: Path, cache: Path, count: int, *, prints: bool, shell: bool = False
) -> list[Entry]:
    """Simple commands; with `shell`, commands that only a shell can start."""
    begin, words = "cd / && " if shell else "", " done" if prints else ""
    return [
        Entry(EVERY_MINUTE, f"{begin}{cache}/stamp {box_stamps} {number}{words}")
        for number in range(count)
    ]


def far(count: int) -> list[Entry]:
    """Long realistic entries with 161,280 schedules, none of them due for two months."""
    month = time.localtime().tm_mon
    months = [(month + ahead) % 12 + 1 for ahead in range(2, 6)]
    return [
        Entry(
            f"{i % 60} {i // 60 % 24} {i // 1440 % 28 + 1} {months[i // 40_320 % 4]} *",
            f"/usr/bin/flock -n /run/lock/tenant-{i:06d}.lock /opt/app/bin/manage.py sync"
            f" --tenant={i:06d} --since=yesterday --quiet >> /var/log/app/sync-{i:06d}.log 2>&1",
        )
        for i in range(count)
    ]


# ---- time


def _next_boundary(period: int, margin: float = 2.0) -> int:
    """The next multiple of `period` seconds that is at least `margin` seconds away."""
    return (int(time.time() + margin) // period + 1) * period


def _sleep_until(instant: float) -> None:
    while (left := instant - time.time()) > 0:
        time.sleep(left)


def _seconds(work: Callable[[], None]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


# ---- bursts


class _Burst(NamedTuple):
    """One minute in which many commands are due.

    First, median, p99 and last start: ms after the boundary. `cpu`: seconds, including commands.
    """

    first: float
    median: float
    p99: float
    last: float
    cpu: float
    lost: int
    doubled: int


class _Order(NamedTuple):
    """The order of the starts of a flood, in percent.

    `urgent_first`: the share of urgent jobs among the first starts, as many as there are urgent
    jobs; 100 is right. `one_user`: one of two users' share of the first half of the other starts;
    50 is fair.
    """

    urgent_first: float
    one_user: float


def _measured_burst(box: Box, boundary: int, count: int, patience: float) -> _Burst:
    _sleep_until(boundary - 0.5)
    before, cpu = box.starts(), box.cpu()
    _sleep_until(boundary)
    while box.starts() < before + count and time.time() < boundary + patience:
        time.sleep(0.05)
    with suppress(Unable):  # mails go on for longer than a minute
        box.settle(5, quiet=0.5)
    cpu = box.cpu() - cpu
    starts: defaultdict[str, list[float]] = defaultdict(list)
    for name, instant in box.started():
        if instant >= boundary - 0.5:
            starts[name].append(1000 * (instant - boundary))
    late = sorted(lateness for times in starts.values() for lateness in times)
    if not late:
        raise Unable("it started nothing")
    doubled = sum(len(times) - 1 for times in starts.values())
    return _Burst(
        late[0], statistics.median(late), _p99(late), late[-1], cpu, count - len(starts), doubled
    )


def _p99(ordered: Sequence[float]) -> float:
    return ordered[math.ceil(0.99 * len(ordered)) - 1]


def burst(
    plan: Plan, user: str, *, prints: bool = False, others: int = 0, shell: bool = False
) -> Table:
    """All jobs due in one minute.

    The daemons take turns, one minute each, so that a drift of the machine affects all of them.
    """
    bursts: defaultdict[str, list[_Burst]] = defaultdict(list)
    for _ in range(plan.minutes):
        for daemon in plan.able():
            with plan.trying(daemon), Box(plan.cache) as box:
                due = _stamps(box.stamps, plan.cache, plan.jobs, prints=prints, shell=shell)
                daemon.install(box, user, due + far(others), prints=prints)
                daemon.start(box, user)
                box.settle(plan.patience)
                boundary = _next_boundary(daemon.period)
                bursts[daemon.name].append(_measured_burst(box, boundary, plan.jobs, 50))
    title = (
        f"{plan.jobs:,} {'shell' if shell else 'simple'} commands of"
        f" {'root' if user == 'root' else 'an ordinary user'} in one minute"
    )
    title += ", a line of output each" if prints else ""
    title += f", {others:,} other entries" if others else ""
    least = bursts.get(Spawn.name)
    rows = [_burst_row(name, minutes, least) for name, minutes in bursts.items() if minutes]
    return Table(f"{title} (ms; {plan.minutes} minutes)", rows)


def _burst_row(name: str, minutes: list[_Burst], least: list[_Burst] | None) -> Row:
    row: Row = {"daemon": name}
    for figure in ("first", "median", "p99", "last"):
        row[figure] = statistics.median(getattr(minute, figure) for minute in minutes)
    last = [minute.last for minute in minutes]
    cpu = [minute.cpu for minute in minutes]
    row["last min-max"] = f"{min(last):.0f}-{max(last):.0f}"
    row["CPU s"] = statistics.median(cpu)
    row["CPU min-max"] = f"{min(cpu):.2f}-{max(cpu):.2f}"
    if least:
        row["last / spawn"] = _ratio(last, [minute.last for minute in least])
        row["CPU / spawn"] = _ratio(cpu, [minute.cpu for minute in least])
    row["lost"] = sum(minute.lost for minute in minutes)
    row["doubled"] = sum(minute.doubled for minute in minutes)
    return row


def _ratio(figures: list[float], least: list[float]) -> float:
    """The median over all rounds of the ratio of two figures of the same round."""
    return statistics.median(a / b for a, b in zip(figures, least, strict=False))


def mail(plan: Plan) -> Table:
    """Each job prints a line, which is mailed: when the last mail has gone, and what all costs."""
    rows: list[Row] = []
    for daemon in plan.able(Vixie):
        with plan.trying(daemon), Box(plan.cache) as box:
            box.count_mails()
            entries = _stamps(box.stamps, plan.cache, plan.jobs, prints=True)
            daemon.install(box, "root", entries, prints=True)
            daemon.start(box, "root")
            box.settle(plan.patience)
            boundary = _next_boundary(daemon.period, margin=10)
            _sleep_until(boundary - 6)
            before, mails = box.cpu(), box.mails()
            # At most until the next boundary, because the commands are due again then.
            while (count := box.mails() - mails) < plan.jobs and time.time() < boundary + 58:
                time.sleep(0.05)
            took = time.time() - boundary
            starts = [instant - boundary for _, instant in box.started() if instant >= boundary - 1]
            row: Row = {"daemon": daemon.name, "last start": 1000 * max(starts, default=math.nan)}
            row |= {"last mail s": took, "mails": count, "CPU s": box.cpu() - before}
            rows.append(row | {"CPU ms a mail": 1000 * float(row["CPU s"]) / max(1, count)})
    return Table(f"{plan.jobs:,} jobs that print a line each, which is mailed", rows)


def service(plan: Plan, *, shell: bool = False) -> Table:
    """The pycron that is the machine's service, beside plain spawning as a service: no box."""
    title = f"{plan.jobs:,} {'shell' if shell else 'simple'} commands as a service (ms)"
    minutes: dict[str, list[Minute]] = {Spawn.name: [], Pycron.name: []}
    try:
        with service_burst(plan.cache, plan.jobs, shell=shell) as bursts:
            for _ in range(plan.minutes):
                minutes[Spawn.name].append(bursts.spawned())
                minutes[Pycron.name].append(bursts.pycron())
    except Unable as error:
        return Table(title, [{"daemon": Pycron.name, "note": str(error)}])
    rows: list[Row] = []
    for name, each in minutes.items():
        row: Row = {"daemon": name}
        for figure in Minute._fields:
            row[figure] = statistics.median(getattr(minute, figure) for minute in each)
        for figure in ("last", "cpu"):
            least = [getattr(minute, figure) for minute in minutes[Spawn.name]]
            row[f"{figure} / spawn"] = _ratio([getattr(minute, figure) for minute in each], least)
        rows.append(row)
    return Table(title, rows)


def shared(plan: Plan) -> Table:
    """As many shared Jobs on three daemons of this machine as local ones on one: no box."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from shared import starts, unable

    if why := unable():
        return Table("shared Jobs", [{"daemon": Pycron.name, "note": why}])
    rows = [{"daemon": Pycron.name, **row} for row in starts(plan.jobs, hosts_count=3)]
    return Table(f"{plan.jobs:,} shared Jobs in one minute (ms after it begins)", rows)


def first(plan: Plan) -> Table:
    """How late the first start of a minute is when few are due."""
    rows: list[Row] = []
    for daemon in plan.able():
        with plan.trying(daemon), Box(plan.cache) as box:
            entries = _stamps(box.stamps, plan.cache, _FEW, prints=False)
            daemon.install(box, "root", entries, prints=False)
            daemon.start(box, "root")
            box.settle(plan.patience)
            boundary = _next_boundary(daemon.period)
            _sleep_until(boundary + (plan.minutes - 1) * daemon.period + 10)
            starts: defaultdict[int, list[float]] = defaultdict(list)
            for _, instant in box.started():
                number = round((instant - boundary) // daemon.period)
                starts[number].append(1000 * (instant - boundary - number * daemon.period))
            firsts = sorted(min(times) for number, times in starts.items() if number >= 0)
            lasts = sorted(max(times) for number, times in starts.items() if number >= 0)
            if not firsts:
                raise Unable("it started nothing")
            rows.append(
                {
                    "daemon": daemon.name,
                    "minutes": len(firsts),
                    "first": statistics.median(firsts),
                    "p99 of first": _p99(firsts),
                    "worst first": firsts[-1],
                    "last": statistics.median(lasts),
                }
            )
    return Table(f"{_FEW} jobs due in a minute (ms after the boundary)", rows)


def flood(plan: Plan) -> Table:
    """Far more jobs are due than may run at once: how fast they start, and in which order.

    The daemons take turns, as in a burst.
    """
    floods: defaultdict[str, list[_Burst]] = defaultdict(list)
    orders: defaultdict[str, list[_Order]] = defaultdict(list)
    for _ in range(plan.minutes):
        for daemon in (each for each in plan.able() if each.limits):
            boundary = _next_boundary(60, margin=20)
            with plan.trying(daemon), Box(plan.cache) as box:
                entries = _stamps(box.stamps, plan.cache, plan.flood, prints=False)
                _sleep_until(boundary - 15)
                _install_flood(daemon, box, entries, boundary)
                daemon.start(box, "root", plan.limit)
                box.settle(14)
                minute = _measured_burst(box, boundary, plan.flood, plan.patience)
                floods[daemon.name].append(minute)
                if not isinstance(daemon, Spawn):
                    orders[daemon.name].append(_order(box))
    least = floods.get(Spawn.name)
    rows = [
        _burst_row(name, minutes, least) | _order_row(orders[name])
        for name, minutes in floods.items()
        if minutes
    ]
    title = f"{plan.flood:,} jobs due in one minute, {plan.limit} at once"
    return Table(f"{title} (ms; {plan.minutes} minutes)", rows)


def _install_flood(daemon: Daemon, box: Box, entries: list[Entry], boundary: int) -> None:
    """Install jobs that are due in one minute only, because running all of them may take minutes.

    Half of the jobs belong to another user. The last quarter of each table has a higher priority. A
    job that cannot start within CRON_START_DEADLINE does not start at all.
    """
    if isinstance(daemon, Spawn):
        daemon.install(box, "root", entries, prints=False)
        return
    due = time.strftime(f"CRON_START_DEADLINE={_DEADLINE} %-M %-H * * *", time.localtime(boundary))
    once = [Entry(due, entry.command) for entry in entries]
    urgent = _first_urgent(len(once))
    once[urgent:] = [Entry(f"CRON_PRIORITY=10 {due}", entry.command) for entry in once[urgent:]]
    for number, user in enumerate(("root", USER)):
        daemon.install(box, user, once[number::2], prints=False)


def _first_urgent(count: int) -> int:
    return count * 3 // 4


def _order(box: Box) -> _Order:
    """How well the order of the starts follows the priority and shares the limit between users."""
    order = [int(name) for name, _ in sorted(box.started(), key=lambda start: start[1])]
    urgent = _first_urgent(len(order))
    first = order[: len(order) - urgent]
    half = [number for number in order if number < urgent][: urgent // 2]
    return _Order(
        urgent_first=100 * sum(number >= urgent for number in first) / len(first),
        one_user=100 * sum(number % 2 for number in half) / len(half),
    )


def _order_row(orders: list[_Order]) -> Row:
    if not orders:
        return {}
    return {
        "urgent first %": statistics.median(each.urgent_first for each in orders),
        "one of two users %": statistics.median(each.one_user for each in orders),
    }


# ---- memory and idle time


def running(plan: Plan) -> Table:
    """The memory and processes that the daemon and its helpers need for each running command."""
    rows: list[Row] = []
    commands = ("sh", "sleep")
    for daemon in plan.able():
        sleeping = [Entry(EVERY_MINUTE, "sleep 90")] * _RUNNING
        with plan.trying(daemon), plan.running(daemon, sleeping) as box:
            before = box.memory(commands)
            _sleep_until(_next_boundary(daemon.period) + 15)
            after = box.memory(commands)
            rows.append(
                {
                    "daemon": daemon.name,
                    "KiB of PSS a command": (after.pss - before.pss) / _RUNNING,
                    "processes a command": (after.processes - before.processes) / _RUNNING,
                }
            )
    return Table(f"{_RUNNING} commands at once: what the daemon and its helpers grow by", rows)


def load(plan: Plan) -> Table:
    """Reading entries, none of which is due: CPU until the daemon is idle, and its memory then."""
    rows: list[Row] = []
    for daemon in plan.able():
        if isinstance(daemon, Spawn):
            continue
        least: float | None = None
        for count in (1, *plan.entries):
            try:
                with plan.running(daemon, far(count)) as box:
                    pss = box.memory().pss
                    least = pss if least is None else least
                    rows.append(
                        {
                            "daemon": daemon.name,
                            "entries": count,
                            "CPU s": box.cpu(),
                            "PSS MiB": pss / 1024,
                            "bytes an entry": 1024 * (pss - least) / count if count > 1 else "",
                            "note": "",
                        }
                    )
            except Unable as error:
                rows.append({"daemon": daemon.name, "entries": count, "note": str(error)})
                break
    return Table("loading entries, each with a schedule of its own, none due", rows)


def change(plan: Plan) -> Table:
    """One entry of many changes: CPU of the daemon until the next minute has begun."""
    rows: list[Row] = []
    entries = far(plan.entries[0])
    changed = [*entries[:-1], Entry(entries[-1].schedule, "true")]
    for daemon in plan.able():
        if isinstance(daemon, Spawn):
            continue
        with plan.trying(daemon), plan.running(daemon, entries) as box:
            boundary = _next_boundary(60, margin=10)
            _sleep_until(boundary - 5)
            before = box.cpu()
            daemon.install(box, "root", changed, prints=False)
            _sleep_until(boundary + 5)
            box.settle(plan.patience)
            rows.append({"daemon": daemon.name, "CPU s": box.cpu() - before})
    return Table(f"one entry of {len(entries):,} changes, through the next boundary", rows)


def idle(plan: Plan) -> Table:
    """Whole minutes in which nothing is due: CPU, wake-ups and memory."""
    rows: list[Row] = []
    for daemon in plan.able():
        if isinstance(daemon, Spawn):
            continue
        for count in (1, plan.entries[0]):
            with plan.trying(daemon), plan.running(daemon, far(count)) as box:
                if time.time() % 60 > 50:
                    time.sleep(15)  # the window must not begin or end near a boundary
                cpu, wakeups = box.cpu(), box.wakeups()
                time.sleep(60 * plan.minutes)
                memory = box.memory()
                rows.append(
                    {
                        "daemon": daemon.name,
                        "entries": count,
                        "CPU ms a minute": 1000 * (box.cpu() - cpu) / plan.minutes,
                        "wake-ups a minute": (box.wakeups() - wakeups) / plan.minutes,
                        "RSS MiB": memory.rss / 1024,
                        "PSS MiB": memory.pss / 1024,
                        "processes": memory.processes,
                    }
                )
    return Table(f"{plan.minutes} minutes in which nothing is due", rows)


# ---- programs for users


def edit(plan: Plan) -> Table:
    """Whether an entry that is added shortly before a boundary starts at that boundary."""
    rows: list[Row] = []
    for daemon in plan.able():
        if isinstance(daemon, Spawn):
            continue
        with plan.trying(daemon), plan.running(daemon, far(1)) as box:
            takes = max(_seconds(partial(daemon.edit, box, "root", far(2))) for _ in range(3))
            boundary = _next_boundary(60, margin=5)
            _sleep_until(boundary - _LEAD - takes)
            daemon.edit(box, "root", far(2) + _stamps(box.stamps, plan.cache, 1, prints=False))
            done = time.time() - boundary
            while not box.starts() and time.time() < boundary + 70:
                time.sleep(0.1)
            started = [instant - boundary for _, instant in box.started()]
            rows.append(
                {
                    "daemon": daemon.name,
                    "installed s": done,
                    "first start s": min(started) if started else "never",
                }
            )
    return Table(f"an entry that is added {_LEAD} s before a boundary (s after it)", rows)


def cli(plan: Plan) -> Table:
    """The time of pycron's programs, as whole processes.

    The row of `true` shows the time that it takes to enter the box.
    """
    rows: list[Row] = []
    for daemon in plan.able(Pycron):
        with plan.trying(daemon), plan.running(daemon, far(_FEW)) as box:
            for argv in (["true"], ["pycrontab", "-l"], ["pycron", "status"], ["pycron", "runs"]):
                program = "true" if argv == ["true"] else daemon.program / argv[0]
                ask = partial(box.run, [program, *argv[1:]])
                times = [1000 * _seconds(ask) for _ in range(20)]
                row: Row = {"daemon": daemon.name, "program": " ".join(argv)}
                row["ms"] = statistics.median(times)
                rows.append(row | {"min": min(times), "max": max(times)})
    return Table("a program from its start to its end (20 times)", rows)


MEASURES: dict[str, Callable[[Plan], Table]] = {
    "burst-root": partial(burst, user="root"),
    "burst-root-output": partial(burst, user="root", prints=True),
    "burst-root-shell": partial(burst, user="root", shell=True),
    "burst-user": partial(burst, user=USER),
    "burst-user-shell": partial(burst, user=USER, shell=True),
    "burst-user-output": partial(burst, user=USER, prints=True),
    "burst-crowded": partial(burst, user="root", others=100_000),
    "service": service,
    "service-shell": partial(service, shell=True),
    "mail": mail,
    "shared": shared,
    "first": first,
    "flood": flood,
    "running": running,
    "load": load,
    "change": change,
    "idle": idle,
    "edit": edit,
    "cli": cli,
}
