"""The facts of a Run, as a delivery tells them, and the part of its output that goes with them."""

from pycron.delivery.request import RunFacts
from pycron.model.history import AttemptRecord, RunRecord
from pycron.model.job import Job
from pycron.model.run import RunKey
from pycron.system import host


def facts_of(told: RunRecord, last: AttemptRecord, printed: int, kept: int) -> RunFacts:
    """The facts of a Run. `last`: its last Attempt. `printed`, `kept`: bytes of the output."""
    return {
        "run_id": told.run_id,
        "job": told.job,
        "command": told.command,
        "user": told.user,
        "host": host.name(),
        "fire_time": told.key.fire_time,
        "outcome": told.outcome,
        "exit_status": last.exit_status,
        "signal": last.signal,
        "attempts": len(told.attempts),
        "duration": _duration(told, last),
        "reason": told.reason,
        "printed": printed,
        "kept": kept,
    }


def test_facts(run: RunKey, job: Job) -> RunFacts:
    """The facts of a mail that tells about no Run."""
    return {
        "run_id": str(run), "job": job.name, "command": job.command, "user": job.user,
        "host": host.name(), "fire_time": run.fire_time, "outcome": None, "exit_status": None,
        "signal": None, "attempts": 0, "duration": None, "reason": None, "printed": 0, "kept": 0,
    }  # fmt: skip


def _duration(told: RunRecord, last: AttemptRecord) -> float | None:
    """Seconds from the start of the first Attempt to the end of the last one."""
    started = told.attempts[0].started if told.attempts else None
    return None if started is None or last.ended is None else last.ended - started


def without_middle(output: bytes, most: int, printed: int) -> bytes:
    """The beginning and the end of an output, `most` bytes of them, with a line in between.

    The line is that of the runner, which cuts longer outputs in the same way.
    """
    tail = most // 2
    gap = b"\n[pycron: %d bytes are not kept here]\n" % (printed - most)
    return output[: most - tail] + gap + output[len(output) - tail :]
