"""The cost of schedules: `python bench/schedules.py`. cronsim must be installed beside pycron.

All figures come from one run on one machine; only their ratios are meaningful. pycron, croniter and
cronsim do the same work: the next 20 fire times of 50 realistic expressions.
"""

import datetime
import multiprocessing
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import islice
from zoneinfo import ZoneInfo

import croniter
import cronsim
import psutil

from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.engine.cursor import Cursor
from pycron.engine.engine import Engine
from pycron.engine.events import Now, TableLoaded, Tick
from pycron.engine.timetable import Timetable
from pycron.model.job import Source
from pycron.schedule.expressions import parse_cron
from pycron.schedule.fire_times import next_fire
from pycron.schedule.zone import UTC, Zone

ROUNDS = 5
TIMES = 20
_IDLE_MINUTES = 1_000
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
NOW = int(START.timestamp())
YEAR = 365 * 86_400
EXPRESSIONS = (
    """
* * * * *|*/5 * * * *|*/15 * * * *|0 * * * *|17 * * * *|0 0 * * *|30 2 * * *|0 9 * * 1-5
*/10 8-18 * * 1-5|0 0 1 * *|0 0 * * 0|15 14 1 * *|0 22 * * 1-5|23 0-20/2 * * *|5 4 * * sun
0 0 1,15 * *|0 4 8-14 * *|0 0 29 2 *|59 23 31 12 *|0 12 * 1-6 *|*/7 * * * *|1,31 * * * *
0 0,12 1 */2 *|0 3 * * 2,4|10 10 10 10 *|45 23 * * 6|0 6 * * 1|30 4 1,15 * 5|*/30 9-17 * * *
0 1 * * *|0 2 * * *|15 3 * * *|30 1 * * *|20 4 * * 0|12 */3 * * *|5 0 * 8 *|0 18 28 * *
40 6 * * *|0 8 1 1 *|25 6 * * *|47 6 * * 7|52 6 1 * *|17 * * * *|*/2 * * * *|0-59/4 * * * *
3 3 3 * *|0 23 * * 1-5|30 7 * 3-10 1|0 5 * * 3|55 11 20-25 * *
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
ZONES = ("America/New_York", "Europe/Berlin", "Europe/London", "Europe/Dublin", "Asia/Tokyo",
         "Asia/Kolkata", "Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland",
         "Pacific/Chatham", "America/Sao_Paulo", "America/St_Johns", "America/Los_Angeles",
         "Africa/Cairo", "Africa/Casablanca", "Asia/Tehran", "Asia/Kathmandu", "Antarctica/Troll",
         "Pacific/Apia", "UTC")  # fmt: skip


def main() -> None:
    print(f"Python {platform.python_version()}, {platform.machine()}, pycron {version('pycrond')}, "
          f"croniter {version('croniter')}, cronsim {version('cronsim')}, "
          f"{datetime.date.today()}\n")  # fmt: skip
    next_times()
    loading()
    idle_minute()
    a_year()


def next_times() -> None:
    """Print the microseconds for one fire time: the median of the rounds (least, most)."""
    print(f"next fire time of {len(EXPRESSIONS)} expressions (microseconds each)")
    for name in ("UTC", "America/New_York"):
        ours = spread(lambda name=name: _ours(name))
        theirs = spread(lambda name=name: _croniter(name))
        sims = spread(lambda name=name: _cronsim(name))
        print(f"  {name:18} pycron {shown(ours)}   croniter {shown(theirs)}   "
              f"cronsim {shown(sims)}   ratios {theirs[0] / ours[0]:.1f}, "
              f"{sims[0] / ours[0]:.1f}")  # fmt: skip


_zones = {name: Zone(name, ZoneInfo(name)) for name in ZONES}


def _ours(name: str) -> None:
    zone = _zones[name]
    for expression in EXPRESSIONS:
        schedule = parse_cron(tuple(expression.split()))
        fire: int | None = NOW
        for _ in range(TIMES):
            assert fire is not None
            fire = next_fire(schedule, zone, fire)


def _croniter(name: str) -> None:
    start = START.astimezone(ZoneInfo(name))
    for expression in EXPRESSIONS:
        times = croniter.croniter(expression, start, ret_type=datetime.datetime)
        for _ in range(TIMES):
            times.get_next()


def _cronsim(name: str) -> None:
    start = START.astimezone(ZoneInfo(name))
    for expression in EXPRESSIONS:
        times = cronsim.CronSim(expression, start)
        for _ in range(TIMES):
            next(times)


def spread(work: Callable[[], None]) -> tuple[float, float, float]:
    work()
    each = len(EXPRESSIONS) * TIMES / 1e6
    taken = [timed(work) / each for _ in range(ROUNDS)]
    return statistics.median(taken), min(taken), max(taken)


def shown(figures: tuple[float, float, float]) -> str:
    median, least, most = figures
    return f"{median:.1f} ({least:.1f}-{most:.1f})"


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def loading() -> None:
    print("\ntables of 100,000 entries of 165 bytes, each its own schedule")
    for tables in (1, 10):
        # In a new process, because memory that this one has freed would hide what loading takes.
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            parsed, planned, bytes_an_entry = pool.apply(_load, (tables,))
        print(f"  {tables:2} tables  CPU seconds a table: parsed {parsed:.2f}, "
              f"planned {planned:.2f}  resident bytes an entry: {bytes_an_entry:.0f}")  # fmt: skip


def _load(tables: int) -> tuple[float, float, float]:
    """The CPU seconds to parse and to plan a table, and the resident bytes for each entry."""
    engine = Engine(lambda _: UTC, Cursor(NOW, NOW))
    lines = _own_schedules(tables * 100_000)
    before = _resident()
    times = [_load_one(engine, number, lines) for number in range(tables)]
    parsed, planned = (sum(each) / tables for each in zip(*times, strict=True))
    return parsed, planned, (_resident() - before) / (tables * 100_000)


def _load_one(engine: Engine, number: int, lines: Iterator[str]) -> tuple[float, float]:
    text = "".join(islice(lines, 100_000))
    start = time.process_time()
    table = parse(text, Source(f"bench{number}", "bench"), ReaderContext())
    parsed = time.process_time() - start
    return parsed, timed(lambda: engine.handle(TableLoaded(table), Now(NOW, 0)))


def _resident() -> int:
    return psutil.Process().memory_info().rss


def _own_schedules(count: int) -> Iterator[str]:
    """Entries with different schedules; none is due in March."""
    for n in range(count):
        first, rest = n % 30, n // 30
        second, rest = 30 + rest % 30, rest // 30
        hour, rest = rest % 24, rest // 24
        schedule = f"{first},{second} {hour} {1 + rest % 28} {4 + rest // 28} *"
        yield f"{schedule} /usr/local/bin/job --name=job{n} ".ljust(164, "x") + "\n"


def _lines(count: int, schedules: int) -> Iterator[str]:
    """Entries with this many different schedules; none is due in March."""
    for i in range(count):
        n = i % schedules
        schedule = f"{n % 60} {n // 60 % 24} {1 + n // 1440 % 28} {4 + n // 40_320 % 4} *"
        yield f"{schedule} /usr/local/bin/command --number={i} --and-some-more-arguments\n"


def idle_minute() -> None:
    print("\na minute in which nothing is due (microseconds)")
    for count in (1_000, 100_000, 1_000_000):
        table = parse("".join(_lines(count, 10_000)), Source("bench", "bench"), ReaderContext())
        engine = Engine(lambda _: UTC, Cursor(NOW, NOW))
        engine.handle(TableLoaded(table), Now(NOW, 0))

        def ticks(engine: Engine = engine) -> None:
            for minute in range(1, _IDLE_MINUTES + 1):
                engine.handle(Tick(), Now(NOW + minute * 60, minute * 60))

        print(f"  {count:9,} entries  {timed(ticks) / _IDLE_MINUTES * 1e6:.1f}")


def a_year() -> None:
    """Measure the fire times of Jobs with random daily, weekly and monthly schedules."""
    random.seed(1)
    lines = []
    for i in range(10_000):
        minute, hour = random.randrange(60), random.randrange(24)
        days = random.choice(["* * *", "* * 1-5", "* * 0", "1 * *", f"{1 + i % 28} * *"])
        lines.append(f"CRON_TZ={ZONES[i % len(ZONES)]} {minute} {hour} {days} true\n")
    table = parse("".join(lines), Source("bench", "bench"), ReaderContext())
    print("\na year of 10,000 Jobs in 20 zones")
    fired = 0

    def run() -> None:
        nonlocal fired
        fired = simulate(table)

    print(f"  {timed(run):.1f} CPU seconds, {fired:,} fire times")


def simulate(table: Table) -> int:
    """Take all fire times of a year from the timetable; return their number."""
    timetable = Timetable(lambda name: _zones[name or "UTC"], Cursor(NOW, NOW))
    timetable.put(table)
    fired = 0
    now: int | None = NOW
    while now is not None and now < NOW + YEAR:
        fired += len(timetable.take_due(now, 0))
        now = timetable.next_fire_time()
        if now is not None and now - timetable.cursor.wall > 240:
            timetable.take_due(
                timetable.cursor.wall + 240, 240
            )  # the daemon wakes up every few minutes, too
            now = min(now, timetable.cursor.wall + 240)
    return fired


if __name__ == "__main__":
    main()
