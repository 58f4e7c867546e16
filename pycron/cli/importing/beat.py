"""`pycron import --from celery-beat`: a schedule of Celery Beat as a table."""

import sys
from pathlib import Path

from pycron.cli.errors import Failed
from pycron.cli.importing.beat_dump import entries_of_dump
from pycron.cli.importing.beat_module import entries_of_module
from pycron.crontab.celery_beat import BeatEntry, Converted, convert
from pycron.crontab.reader import ReaderContext
from pycron.system.zone_data import ZoneData

_MOST_BYTES = 2**26  # of a dump


def converted(origin: str, python: str | None) -> Converted:
    """The table for the schedule in a file or a module. Raises Failed.

    `python`: the interpreter that loads a module; by default this one.
    """
    context = ReaderContext(zone_exists=ZoneData().exists)
    return convert(_entries(origin, python), origin, context)


def _entries(origin: str, python: str | None) -> list[BeatEntry]:
    path = Path(origin)
    if path.suffix == ".py" or not path.is_file():
        return entries_of_module(origin, python or sys.executable)
    if python is not None:
        raise Failed(f"{origin} is a dump: no interpreter reads it")
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Failed(f"{origin}: {error.strerror}") from error
    if len(data) > _MOST_BYTES:
        raise Failed(f"{origin} is larger than {_MOST_BYTES} bytes")
    return entries_of_dump(data.decode(errors="replace"))
