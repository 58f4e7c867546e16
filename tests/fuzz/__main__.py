"""Fuzzing: `make fuzz T=tables SECONDS=60` reads random texts, and says how many it has read.

No reader may fail in another way than by the errors that it documents, and none may take longer
than a second. The seed is printed; a text that fails is kept in tests/fuzz/corpus, which is read
first.
"""

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pycron.config import ConfigError, read_config
from pycron.config.options import OPTIONS
from pycron.crontab import comparison
from pycron.crontab.other_cron import CRONIE, DEBIAN
from pycron.crontab.reader import ReaderContext, parse
from pycron.model.job import Source
from pycron.schedule.expressions import ScheduleError, parse_cron, parse_nickname, resolved_text
from pycron.schedule.fields import FieldError
from pycron.schedule.fire_times import next_fire
from pycron.schedule.words import explain
from pycron.schedule.zone import UTC
from pycron.system.user_lists import users_in
from tests.fuzz.tables import Maker

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 1.0  # seconds of CPU for one text
_NOW = 1_781_092_800


def tables(text: str) -> None:
    machine = comparison.Machine(lambda _: UTC, _NOW)
    for owner in ("joe", None):
        source = Source("joe", owner)
        table = parse(
            text, source, ReaderContext(host="h", no_mail="none", ceilings={"retries": 3})
        )
        assert table.jobs.table_text == text
        for index, job in enumerate(table.jobs):
            assert job.id == table.jobs.id(index)
            next_fire(job.schedule, UTC, _NOW)
            dict(job.environment)
        for problem in table.problems:
            str(problem).encode()  # no byte of the table reaches a terminal as it is
        for rules in (DEBIAN, CRONIE):
            comparison.compare(text, source, ReaderContext(), rules, machine)


def schedules(text: str) -> None:
    words = tuple(text.split())
    try:
        if text.startswith("@"):
            schedule = parse_nickname(*words[:2])
        elif len(words) == 5:
            schedule = parse_cron(words, lambda _: 7)
        else:
            return
    except (FieldError, ScheduleError):
        return
    explain(schedule)
    resolved_text(schedule)
    next_fire(schedule, UTC, _NOW)


def configuration(text: str) -> None:
    with tempfile.NamedTemporaryFile("w", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        try:
            read_config(Path(file.name), required=True)
        except ConfigError as error:
            str(error)


def allow(text: str) -> None:
    assert not any("#" in user for user in users_in(text))


def _configuration_text(maker: Maker, numbers: random.Random) -> str:
    lines = []
    for _ in range(numbers.randrange(1, 6)):
        section, _, key = numbers.choice([*OPTIONS, "defaults.CRON_RETRIES", "notify.x"]).partition(
            "."
        )
        value = numbers.choice(['"1h"', "5", "-1", "1e400", "[]", "{}", '"é"', "true", "[[1]]",
                                "2026-01-01", f'"{maker.field()}"'])  # fmt: skip
        lines.append(f"[{section}]\n{key} = {value}\n")
    return maker.spoilt("".join(lines))


Make = Callable[[Maker, random.Random], str]

TARGETS: dict[str, tuple[Callable[[str], None], Make]] = {
    "tables": (tables, lambda maker, _: maker.table()),
    "schedules": (schedules, lambda maker, _: maker.spoilt(maker.schedule())),
    "configuration": (configuration, _configuration_text),
    "allow": (allow, lambda maker, _: maker.table()),
}


def fuzz(target: str, seconds: float, seed: int) -> int:
    """Read texts for so many seconds; their number. An error names the seed, and keeps the text."""
    read, make = TARGETS[target]
    numbers = random.Random(seed)
    maker = Maker(numbers)
    end, count = time.monotonic() + seconds, 0
    kept = sorted(CORPUS.glob(f"{target}-*"))
    while time.monotonic() < end:
        text = (
            kept.pop().read_bytes().decode("utf-8", "surrogateescape")
            if kept
            else make(maker, numbers)
        )
        start = time.process_time()
        try:
            read(text)
            assert time.process_time() - start < LONGEST, "it takes too long"
        except BaseException:
            file = CORPUS / f"{target}-{seed}-{count}"
            file.write_bytes(text.encode("utf-8", "surrogateescape"))
            print(f"{target}: seed {seed}, text {count}: kept in {file}", file=sys.stderr)
            raise
        count += 1
    return count


def main() -> None:
    target, seconds = sys.argv[1], float(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(2**32)
    count = fuzz(target, seconds, seed)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{target}: {count} texts, seed {seed}, {memory} MB")


if __name__ == "__main__":
    main()
