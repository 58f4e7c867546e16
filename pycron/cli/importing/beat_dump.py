"""The rows of django-celery-beat, from `manage.py dumpdata django_celery_beat`: JSON, no code."""

import json
from collections.abc import Mapping
from typing import Any

from pycron.cli.errors import Failed
from pycron.crontab.celery_beat import BeatEntry, Interval, Unknown
from pycron.crontab.celery_fields import CeleryFields

_APP = "django_celery_beat."
_PERIODS = {"days": 86_400, "hours": 3600, "minutes": 60, "seconds": 1, "microseconds": 1e-6}
_SHAPES = {"solar": "Celery's solar schedules", "clocked": "a single time (use at(1))"}
# Fields of a row, besides queue, that change its message.
_OPTIONS = ("exchange", "routing_key", "priority", "expires", "expire_seconds", "start_time")

Rows = dict[str, dict[str, Mapping[str, Any]]]


def entries_of_dump(text: str) -> list[BeatEntry]:
    """The entries of a dump. Raises Failed."""
    rows = _rows(text)
    tasks = rows.get("periodictask", {})
    if not tasks:
        raise Failed("no rows of django_celery_beat.periodictask (manage.py dumpdata)")
    return [_entry(fields, rows) for fields in tasks.values()]


def _rows(text: str) -> Rows:
    """The fields of each row, by model and key."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Failed("no JSON (manage.py dumpdata django_celery_beat)") from None
    rows: Rows = {}
    for row in document if isinstance(document, list) else ():
        if not isinstance(row, dict) or not isinstance(fields := row.get("fields"), dict):
            raise Failed("a row without fields")
        model = str(row.get("model"))
        if model.startswith(_APP):
            rows.setdefault(model.removeprefix(_APP), {})[str(row.get("pk"))] = fields
    return rows


def _entry(fields: Mapping[str, Any], rows: Rows) -> BeatEntry:
    schedule, zone = _schedule(fields, rows)
    arguments, named = _json(fields, "args", list), _json(fields, "kwargs", dict)
    if arguments is None or named is None:
        schedule, arguments, named = Unknown("its args or kwargs are no JSON"), [], {}
    if fields.get("one_off"):
        schedule = Unknown("it is sent once only (use at(1))")
    options = [name for name in _OPTIONS if fields.get(name) is not None]
    options += ["headers"] if fields.get("headers") not in (None, "", "{}") else []
    return BeatEntry(
        name=str(fields.get("name")),
        task=str(fields.get("task")),
        schedule=schedule,
        arguments=arguments,
        named=named,
        zone=zone,
        queue=str(fields["queue"]) if fields.get("queue") else None,
        left_out=tuple(options),
        enabled=fields.get("enabled") is not False,
    )


def _schedule(
    fields: Mapping[str, Any], rows: Rows
) -> tuple[CeleryFields | Interval | Unknown, str | None]:
    """The schedule of a row, and its zone."""
    if (crontab := _row(fields, rows, "crontab")) is not None:
        zone = crontab.get("timezone")
        names = CeleryFields._fields
        texts = CeleryFields(*(str(crontab.get(name, "*")).replace(" ", "") for name in names))
        return texts, str(zone) if zone else None
    if (interval := _row(fields, rows, "interval")) is not None:
        unit, every = _PERIODS.get(str(interval.get("period"))), interval.get("every")
        if unit is None or not isinstance(every, int):
            return Unknown("its interval cannot be read"), None
        return Interval(every * unit), None
    for shape, words in _SHAPES.items():
        if fields.get(shape) is not None:
            return Unknown(f"no entry has {words}"), None
    return Unknown("the dump has no schedule for it"), None


def _row(fields: Mapping[str, Any], rows: Rows, name: str) -> Mapping[str, Any] | None:
    """The row that a field refers to."""
    key = fields.get(name)
    return None if key is None else rows.get(f"{name}schedule", {}).get(str(key))


def _json(fields: Mapping[str, Any], name: str, kind: type) -> Any:
    """The value of a field that has JSON as its text; None if it has another form."""
    try:
        value = json.loads(fields.get(name) or ("[]" if kind is list else "{}"))
    except (ValueError, TypeError, RecursionError):
        return None
    return value if isinstance(value, kind) else None
