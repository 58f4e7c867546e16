"""Runs in words, for the log and the service manager."""

from collections.abc import Sequence

from pycron.engine.actions import Log
from pycron.engine.live_runs import LiveRun
from pycron.engine.log_events import Event
from pycron.model.text import printable

_LONGEST_NAME = 60  # characters of a Job's name in a list


def commands_in_words(running: Sequence[LiveRun], most: int) -> str | None:
    """The Job, user and pid of these commands, at most so many of them; None if there is none."""
    return _list([f"{_name(each)} ({_process(each)})" for each in running[:most]], running)


def queue_in_words(waiting: Sequence[LiveRun], most: int) -> str | None:
    """The Job and user of these Runs, and what each waits for; None if there is none."""
    named = [f"{_name(each)} ({each.why or 'its next attempt'})" for each in waiting[:most]]
    return _list(named, waiting)


def summary(running: Sequence[LiveRun], waiting: Sequence[LiveRun], most: int) -> Log:
    """What runs and what waits; at most so many of each are named."""
    fields = {
        "running": len(running),
        "waiting": len(waiting),
        "commands": commands_in_words(running, most),
        "queue": queue_in_words(waiting, most),
    }
    return Log(Event.SUMMARY, fields)


def _list(named: list[str], runs: Sequence[LiveRun]) -> str | None:
    left = len(runs) - len(named)
    return ", ".join([*named, *([f"{left} more"] if left else [])]) or None


def _name(each: LiveRun) -> str:
    name = printable(each.job.name)
    short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return f"{short} of {printable(each.job.user)}"


def _process(each: LiveRun) -> str:
    return "no pid yet" if each.pid is None else f"pid {each.pid}"
