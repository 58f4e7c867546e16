"""Durations, instants and ends of Runs, as people read them.

Durations are seconds, instants are UTC seconds.
"""

import datetime

from pycron.model.run import OUTCOME_IN_WORDS, Outcome
from pycron.schedule.zone import Zone

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_RECENT = 180  # days; a date that is further away is shown with its year

# The same numbers on x86, ARM, RISC-V, POWER and s390.
_SIGNALS = {
    1: "HUP", 2: "INT", 3: "QUIT", 4: "ILL", 5: "TRAP", 6: "ABRT", 7: "BUS", 8: "FPE", 9: "KILL",
    10: "USR1", 11: "SEGV", 12: "USR2", 13: "PIPE", 14: "ALRM", 15: "TERM", 24: "XCPU", 25: "XFSZ",
    31: "SYS",
}  # fmt: skip


def duration_in_words(seconds: float) -> str:
    """`7 ms`, `1.2 s`, `45 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`: rounded, at most two units."""
    if seconds < 0:
        return f"-{duration_in_words(-seconds)}"
    if round(seconds, 3) < 1:
        milliseconds = round(seconds * 1000)
        return f"{milliseconds} ms" if milliseconds else "0 s"
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return _two_units(whole, _MINUTE, "min", 1, "s")
    minutes = round(seconds / _MINUTE) * _MINUTE
    if minutes < _DAY:
        return _two_units(minutes, _HOUR, "h", _MINUTE, "min")
    return _two_units(round(seconds / _HOUR) * _HOUR, _DAY, "d", _HOUR, "h")


def _two_units(seconds: int, large: int, its_name: str, small: int, small_name: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large} {its_name}" + (f" {rest} {small_name}" if rest else "")


def ahead_in_words(seconds: float) -> str:
    """How far away something is that comes: `in 2 h 5 min`; `now` if it has come."""
    return f"in {duration_in_words(round(seconds))}" if seconds >= 0.5 else "now"


def ago_in_words(seconds: float) -> str:
    """How long ago something was: `3 min 20 s ago`; `now` for less than a second."""
    return f"{duration_in_words(round(seconds))} ago" if seconds >= 0.5 else "now"


def instant_in_words(instant: float, zone: Zone, now: float) -> str:
    """The local time: `14:45` on the day of `now`, `Nov 28 14:45`, or `2025-11-28 14:45`.

    Seconds are shown if they are not 0. In a repeated hour the abbreviation of the offset follows:
    `01:30 EDT`.
    """
    local, today = zone.local(int(instant)), zone.local(int(now)).date()
    clock = local.strftime("%H:%M:%S" if local.second else "%H:%M")
    if _is_ambiguous(local):
        clock += f" {local.tzname()}"
    if local.date() == today:
        return clock
    is_near = abs((local.date() - today).days) < _RECENT
    return f"{local:%b} {local.day:2} {clock}" if is_near else f"{local:%Y-%m-%d} {clock}"


def _is_ambiguous(local: datetime.datetime) -> bool:
    """Whether the clock shows this time twice."""
    return local.replace(fold=0).utcoffset() != local.replace(fold=1).utcoffset()


def end_in_words(outcome: Outcome, exit_status: int | None, signal: int | None) -> str:
    """How a Run or an Attempt ended: `failed, exit status 7`, `timed out, SIGTERM`, `missed`."""
    words = OUTCOME_IN_WORDS[outcome].removeprefix("was ")
    if signal:
        return f"{words}, {signal_name(signal)}"
    return f"{words}, exit status {exit_status}" if exit_status else words


def signal_name(number: int) -> str:
    """`SIGTERM` for 15; `signal 40` for one that has no name."""
    return f"SIG{_SIGNALS[number]}" if number in _SIGNALS else f"signal {number}"


def size_in_words(size: float) -> str:
    """Bytes: `512 B`, `1.4 MiB`, `30 GiB`."""
    if size < 1024:
        return f"{round(size)} B"
    for unit in ("KiB", "MiB", "GiB"):
        size /= 1024
        if size < 1000 or unit == "GiB":
            break
    return f"{size:.1f} {unit}" if size < 10 else f"{size:.0f} {unit}"


def number_of(number: int, what: str) -> str:
    """`1 Job`, `3 Jobs`, `1,200 Jobs`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
