"""Files that are spoilt in a few places: zone files and the database.

Bytes travel as text here, each byte that is no UTF-8 as a surrogate.
"""

import functools
import random
import tempfile
from pathlib import Path

import tzdata

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import RecordAttempt, RecordRun
from pycron.model.job import Source
from pycron.model.run import AttemptKey, RunKey
from pycron.storage.store import Store

_ZONES = ["Africa/Casablanca", "America/New_York", "Asia/Kolkata", "Europe/Dublin", "Pacific/Apia"]


def bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def spoilt_zone(numbers: random.Random) -> str:
    path = Path(tzdata.__file__).parent / "zoneinfo" / numbers.choice(_ZONES)
    return _spoilt(path.read_bytes(), numbers)


def spoilt_database(numbers: random.Random) -> str:
    return _spoilt(_database(), numbers)


@functools.cache
def _database() -> bytes:
    (job,) = parse("0 2 * * * true\n", Source("alice", "alice"), ReaderContext()).jobs
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pycron.db"
        store = Store(path)
        for fire_time in range(1_800_000_000, 1_800_006_000, 60):
            run = RunKey(job.id, fire_time)
            store.write([RecordRun(run, job), RecordAttempt(AttemptKey(run, 1))])
        store.close()
        return path.read_bytes()


def _spoilt(data: bytes, numbers: random.Random) -> str:
    """With a few bytes replaced, and sometimes cut short or with a part cut out."""
    spoilt = bytearray(data)
    for _ in range(numbers.choice([0, 1, 1, 2, 5, 50])):
        spoilt[numbers.randrange(len(spoilt))] = numbers.choice([0, 1, 127, 128, 255])
    if numbers.random() < 0.3:
        start = numbers.randrange(len(spoilt))
        del spoilt[start : numbers.choice([len(spoilt), start + numbers.randrange(1, 5000)])]
    return spoilt.decode("utf-8", "surrogateescape")
