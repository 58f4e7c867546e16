"""The schedule of a Celery project, which a child process loads: that runs the project's code.

The child runs as the calling user, with limits, in a session that is ended with all its processes.
Root loads nothing in this way, because the code is not root's.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from pycron.cli.errors import Failed
from pycron.crontab.celery_beat import BeatEntry, Interval, Unknown, left_out
from pycron.crontab.celery_fields import CeleryFields
from pycron.model.text import printable

_CHILD = Path(__file__).with_name("beat_child.py")
_AT_MOST = 120  # seconds
_MOST_BYTES = 2**25  # of an answer
_SAID = 2000  # characters of what the child says last


def entries_of_module(name: str, python: str) -> list[BeatEntry]:
    """The entries of the schedule in a module or a file of Python. Raises Failed.

    `python`: the interpreter that has Celery and what the project needs.
    """
    if os.geteuid() == 0:
        raise Failed(
            f"{name} is code, which root does not run: run this as the user of the project, or give"
            " a dump (manage.py dumpdata django_celery_beat), which is data"
        )
    return _checked(_loaded(name, python))


def _loaded(name: str, python: str) -> object:
    """What the child answers."""
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as said:
        try:
            child = subprocess.Popen(
                [python, "-B", str(_CHILD), str(writing), name],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
                pass_fds=[writing], start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            os.close(reading)
            raise Failed(f"{python}: {error.strerror}") from error
        finally:
            os.close(writing)
        late = threading.Timer(_AT_MOST, _end, [child])
        late.start()
        try:
            with open(reading, "rb") as answer:
                text = answer.read(_MOST_BYTES)
            status = child.wait()
        finally:
            late.cancel()
            _end(child)
            child.wait()
        said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
        words = said.read().decode(errors="replace").strip()
    if status == 0:
        with contextlib.suppress(ValueError, RecursionError):
            return json.loads(text)
    reason = printable(words.splitlines()[-1]) if words else f"exit status {status}"
    raise Failed(f"{name} cannot be loaded with {python}: {reason}")


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End the child, and what it may have started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _checked(answer: object) -> list[BeatEntry]:
    """The answer as entries: foreign code has written it. Raises Failed."""
    try:
        assert isinstance(answer, dict)
        zone = answer["zone"]
        return [_entry(row, None if zone is None else str(zone)) for row in answer["entries"]]
    except (AssertionError, KeyError, TypeError, ValueError, AttributeError):
        raise Failed("the project's code has changed what was to be read") from None


def _entry(row: dict[str, Any], zone: str | None) -> BeatEntry:
    return BeatEntry(
        name=str(row["name"]),
        task=str(row["task"]),
        schedule=_schedule(row["schedule"]),
        arguments=list(row["args"]),
        named=dict(row["kwargs"]),
        zone=zone,
        queue=str(row["queue"]) if row["queue"] else None,
        left_out=left_out(dict.fromkeys(map(str, row["options"]), True)),
    )


def _schedule(value: dict[str, Any]) -> CeleryFields | Interval | Unknown:
    match value:
        case {"fields": dict() as fields}:
            return CeleryFields(*(str(fields[name]) for name in CeleryFields._fields))
        case {"seconds": float() | int() as seconds}:
            return Interval(float(seconds))
        case _:
            return Unknown(str(value["unknown"]))
