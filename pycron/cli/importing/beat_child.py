"""Loads a project's Celery schedule, in a process and an interpreter of its own.

    PYTHON beat_child.py FD MODULE|FILE

It runs foreign code, so it is the only file of pycron that is written for any Python 3.8 and later,
imports nothing of pycron, and first of all limits itself. It writes JSON to the descriptor FD: the
zone of the schedule, and a list of its entries.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import resource
import sys
from types import ModuleType
from typing import Any

_LIMITS = {
    resource.RLIMIT_CPU: 60,  # seconds
    resource.RLIMIT_AS: 4 * 2**30,
    resource.RLIMIT_FSIZE: 2**24,
    resource.RLIMIT_CORE: 0,
}
_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
_KEYS = ("task", "schedule", "args", "kwargs", "options")
_NAMES = ("beat_schedule", "CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE")
_ZONES = ("timezone", "CELERY_TIMEZONE", "TIME_ZONE")


def main(descriptor: int, name: str) -> None:
    for limit, most in _LIMITS.items():
        _, hard = resource.getrlimit(limit)
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (lower, lower))
    sys.path[0] = os.getcwd()  # in place of the directory of this file, as `celery -A` does
    module_name, _, attribute = name.partition(":")
    module = load(module_name)
    app = getattr(module, attribute) if attribute else app_of(module, module_name)
    zone, schedule = of_app(app) if app is not None else of_names(module)
    rows = [entry(str(key), value) for key, value in schedule.items()]
    with os.fdopen(descriptor, "w") as file:
        json.dump({"zone": zone, "entries": rows}, file, allow_nan=False)


def load(name: str) -> ModuleType:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = os.path.abspath(name)
    sys.path.append(os.path.dirname(path))  # at the end: the file may be called celery.py
    spec = importlib.util.spec_from_file_location("schedule_of_celery", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def app_of(module: ModuleType, name: str) -> Any:
    """The Celery app of a module or of its module `celery`; None if there is none."""
    found = [each for each in vars(module).values() if is_app(each)]
    if not found and hasattr(module, "__path__"):
        try:
            inner = importlib.import_module(name + ".celery")
        except ImportError:
            return None
        found = [each for each in vars(inner).values() if is_app(each)]
    return found[0] if found else None


def is_app(value: Any) -> bool:
    return (
        not isinstance(value, type)
        and hasattr(value, "conf")
        and hasattr(value, "send_task")
        and hasattr(value, "finalize")
    )


def of_app(app: Any) -> tuple[str | None, dict[str, Any]]:
    """The zone and the schedule. The modules of the tasks may add to it, so they are loaded."""
    app.finalize()
    app.loader.import_default_modules()
    return zone_name(app.timezone), dict(app.conf.beat_schedule or {})


def of_names(module: ModuleType) -> tuple[str | None, dict[str, Any]]:
    """The same from a module of settings, without an app."""
    for name in _NAMES:
        if isinstance(getattr(module, name, None), dict):
            break
    else:
        raise SystemExit("no Celery app and no beat_schedule in " + module.__name__)
    zones = (getattr(module, each, None) for each in _ZONES)
    zone = next((str(each) for each in zones if each), "UTC")
    return zone, dict(getattr(module, name))


def zone_name(zone: Any) -> str | None:
    """The name of a zone; None if it has none, as the machine's."""
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or str(zone)
    return name if name == "UTC" or "/" in name else None


def entry(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):  # a ScheduleEntry
        value = {key: getattr(value, key, None) for key in _KEYS}
    row: dict[str, Any] = {"name": name, "task": str(value.get("task"))}
    row["schedule"] = schedule(value.get("schedule"))
    row["options"] = sorted(str(key) for key, one in (value.get("options") or {}).items() if one)
    queue = (value.get("options") or {}).get("queue")
    row["queue"] = str(getattr(queue, "name", queue)) if queue else None
    try:
        row["args"] = json.loads(json.dumps(list(value.get("args") or ()), allow_nan=False))
        row["kwargs"] = json.loads(json.dumps(dict(value.get("kwargs") or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        row["args"], row["kwargs"] = [], {}
        row["schedule"] = {"unknown": "its arguments are no JSON: " + str(error)}
    return row


def schedule(value: Any) -> dict[str, Any]:
    """{"fields": …}, {"seconds": …} or {"unknown": reason}."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"seconds": float(value)}
    if hasattr(value, "total_seconds"):
        return {"seconds": float(value.total_seconds())}
    if hasattr(value, "_orig_minute"):
        return {"fields": {name: field(value, name) for name in _FIELDS}}
    kind = type(value).__name__
    if kind == "schedule" and hasattr(value, "run_every"):
        return {"seconds": float(value.run_every.total_seconds())}
    return {"unknown": "no entry has a schedule of the kind " + kind}


def field(crontab: Any, name: str) -> str:
    """A field as it was written, or its values."""
    text = getattr(crontab, "_orig_" + name, None)
    if isinstance(text, str):
        return text.replace(" ", "")
    return ",".join(str(each) for each in sorted(getattr(crontab, name)))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
