"""What a verb has done and what holds now, in one sentence: `--quiet` leaves it out."""

from collections.abc import Sequence

from pycron.model.in_words import (
    ahead_in_words,
    duration_in_words,
    instant_in_words,
    number_of,
)
from pycron.model.instants import parse_rfc3339
from pycron.protocol.control_answers import PauseRow, ReloadAnswer, StateRow
from pycron.wording.clock import Clock

_MOST_JOBS = 3  # that a sentence names
_ELSEWHERE = "elsewhere"  # of a shared Run: on another host, or in the database
_WAITS = ("waiting", "queued")  # states in which nothing has been started


def started(job: str, run_id: str, why: str | None) -> str:
    """`why`: what the Run waits for."""
    if why:
        return f"{job} waits: {why}. It starts by itself; pycron kill {run_id} gives it up"
    return f"{job} was started; its output: pycron log -f {run_id}"


def killed(rows: Sequence[StateRow], kill_after: int | None) -> str:
    """`rows`: Runs and the state in which each was. `kill_after`: seconds from TERM to KILL."""
    if not rows:
        return "no command is running"
    if rows[0]["state"] == _ELSEWHERE:
        return f"the Run of {rows[0].get('job')} is told to end, on whatever host it is"
    given_up = sum(row["state"] in _WAITS for row in rows)
    ended = len(rows) - given_up
    jobs = sorted({row["job"] for row in rows if "job" in row})
    of = f" of {', '.join(jobs)}" if 0 < len(jobs) <= _MOST_JOBS else ""
    parts = []
    if ended:
        after = "CRON_KILL_AFTER" if kill_after is None else duration_in_words(kill_after)
        parts.append(
            f"{number_of(ended, 'command')}{of} got TERM; what is left after {after} gets KILL"
        )
    if given_up:
        parts.append(f"{number_of(given_up, 'waiting Run')}{'' if ended else of} will not start")
    return f"{', and '.join(parts)}. Nothing is tried again"


def paused(row: PauseRow, clock: Clock) -> str:
    """A pause that has begun."""
    reason = f" ({row['reason']})" if row["reason"] else ""
    effect = f"what is due is skipped, what runs goes on. {resume_command(row)} ends the pause"
    return f"{_subject(row)} paused {_until(row, clock)}{reason}: {effect}"


def resumed(row: PauseRow, others: Sequence[PauseRow], clock: Clock) -> str:
    """A pause that has ended. `others`: the pauses that still hold some of the same Jobs."""
    if not others:
        return f"{_subject(row)} not paused any more: what is due starts again"
    if row["scope"] == "all":
        stay = "1 other pause stays" if len(others) == 1 else f"{len(others)} other pauses stay"
        return f"the pause of all Jobs is over; {stay} (pycron pause)"
    first = others[0]
    return (f"this pause is over, but {_subject(first)} still paused by {first['by']} "
            f"{_until(first, clock)}")  # fmt: skip


def _subject(row: PauseRow) -> str:
    """The scope of a pause with its verb."""
    kind, _, name = row["what"].partition(" ")
    match kind:
        case "all":
            return "all Jobs are"
        case "user":
            return f"the Jobs of {name} are"
        case "pool":
            return f"the pool {name} is"
    return f"{name} is"


def resume_command(row: PauseRow) -> str:
    """The command that ends a pause."""
    kind, _, name = row["what"].partition(" ")
    argument = {"all": "--all", "user": f"--owner {name}", "pool": f"--pool {name}"}.get(kind, name)
    return f"pycron resume {argument}"


def _until(row: PauseRow, clock: Clock) -> str:
    if row["until"] is None:
        return "without an end"
    until = parse_rfc3339(row["until"])
    zone = clock.zone.local(int(until)).tzname()
    at = instant_in_words(until, clock.zone, clock.now)
    ahead = until - clock.now
    return f"until {at} {zone} ({ahead_in_words(ahead if ahead < 600 else round(ahead / 60) * 60)})"


def redriven(job: str, run_id: str, attempt: int, why: str | None) -> str:
    """A dead letter that is tried again. `why`: what its next Attempt waits for."""
    if why:
        return f"{job} is tried again, but waits: {why} (attempt {attempt})"
    return f"{job} is tried again now, with attempt {attempt}; its output: pycron log -f {run_id}"


def dropped(job: str, run_id: str) -> str:
    return f"{job} is no dead letter any more; the Run stays in the history (pycron show {run_id})"


def reloaded(answer: ReloadAnswer) -> str:
    """What was read again, and which options have changed."""
    changed = ", ".join(answer["changed"])
    options = f"changed: {changed}" if changed else "no option has changed"
    later = ", ".join(answer["at_start"])
    at_start = f"; takes effect at the next start: {later}" if later else ""
    read = f"the configuration and {number_of(answer['tables'], 'table')} were read again"
    return f"{read}; {options}{at_start}"


def nothing_wrong(files: Sequence[str]) -> str:
    """A check without findings. `files`: those that were named; none for those of the daemon."""
    if not files:
        return "nothing is wrong in the daemon's tables and its configuration"
    names = ", ".join(files) if len(files) <= 3 else number_of(len(files), "file")
    return f"nothing is wrong in {names}"
