"""What to do after `pycron why`: what an exit status means, and which command helps."""

import shlex
from collections.abc import Iterator

from pycron.model.in_words import signal_name
from pycron.model.run import Outcome
from pycron.protocol.control_answers import RunRow, WhyRow

_OF_SHELL = 128  # and the number of a signal: the status of sh(1) if a command was ended by it

# What statuses mean that sh(1), sysexits.h or timeout(1) give; any other is the command's own.
_STATUSES = {
    2: "2 often means a wrong option or argument, or a syntax error of the shell",
    75: "75: a temporary failure (EX_TEMPFAIL), which is always retried if CRON_RETRIES is set",
    124: "124: timeout(1) has ended the command",
    126: "126: found, but it cannot be executed (chmod +x FILE, and its first line: #!)",
}
# Of sysexits.h, which many programs follow.
_SYSEXITS = {
    64: "a wrong command line (EX_USAGE)",
    65: "bad input (EX_DATAERR)",
    66: "an input file is missing (EX_NOINPUT)",
    67: "an unknown user (EX_NOUSER)",
    68: "an unknown host (EX_NOHOST)",
    69: "a service is not available (EX_UNAVAILABLE)",
    70: "a fault of the program (EX_SOFTWARE)",
    71: "a fault of the system, such as no more processes (EX_OSERR)",
    72: "a file of the system is missing (EX_OSFILE)",
    73: "an output file cannot be made (EX_CANTCREAT)",
    74: "an error in reading or writing (EX_IOERR)",
    76: "a bad answer of another machine (EX_PROTOCOL)",
    77: "a right is missing (EX_NOPERM)",
    78: "a bad configuration (EX_CONFIG)",
}
_OUTCOMES = {
    Outcome.TIMED_OUT: "it ran longer than CRON_TIMEOUT allows: make that longer, or find out"
                       " what the command waits for",
    Outcome.OUT_OF_MEMORY: "it needed more memory than CRON_MEMORY_MAX allows",
    Outcome.KILLED: "something ended it from outside: a person, the service manager, or the"
                    " kernel when the machine had no memory left (journalctl -k)",
    Outcome.LOST: "its end was not seen, because the machine or the runner stopped;"
                  " CRON_RETRIES and CRON_RETRY_ON=lost start it again after that",
    Outcome.MISSED: "CRON_CATCHUP=latest runs a Job later whose time was missed",
    Outcome.SKIPPED: "a rule of its entry or of the operator wanted that; the reason is above",
    Outcome.CANCELLED: "somebody wanted that; the reason is above",
}  # fmt: skip


def meaning(row: WhyRow) -> str | None:
    """What the end of the last Run means; None if it succeeded, or has not ended."""
    run = row["runs"][-1] if row["runs"] else None
    if run is None or run["outcome"] in (None, Outcome.SUCCEEDED):
        return None
    outcome, status = Outcome(str(run["outcome"])), run["exit_status"]
    if outcome is not Outcome.FAILED or status is None:
        return _OUTCOMES.get(outcome)
    if status == 127:
        path = row.get("path")
        return "127: command not found" + (f"; PATH was {path}" if path else "")
    if status > _OF_SHELL:
        ended_by = signal_name(status - _OF_SHELL)
        return f"{status}: a command of the shell was ended by {ended_by}"
    if status in _SYSEXITS:
        return f"{status}: {_SYSEXITS[status]}, if the command follows sysexits.h"
    return _STATUSES.get(status, f"{status} is the command's own: its manual or its output says")


def to_do(row: WhyRow) -> Iterator[str]:
    """The commands that help, each with what it does."""
    job = shlex.quote(row["job"])
    if row["runs"]:
        yield from _about_run(row["runs"][-1], job, gone=row["gone"])
        return
    if row["gone"]:
        yield "pycron list    the Jobs that there are"
        return
    if row["verdict"] == "not_due":
        yield f"pycron next --job {job}    when it is due"
    elif row["verdict"] == "will_be_due":
        if row.get("paused"):
            yield f"pycron resume {job}    end its pause; pycron pause lists all pauses"
        yield f"pycron start {job}    run it now"
    elif row["verdict"] in ("passed_over", "missed", "unknown"):
        yield f"pycron start {job}    run it now"
        yield f"pycron runs --job {job}    what ran before and after"


def _about_run(run: RunRow, job: str, *, gone: bool) -> Iterator[str]:
    if run["outcome"] is None and not run["attempts"]:
        yield f"pycron start --force {job}    start it in spite of limits and pauses"
        yield "pycron top    what runs, and what waits for what"
        return
    if run["attempts"]:
        follows = " -f" if run["outcome"] is None else ""
        yield f"pycron log{follows} {run['run_id']}    its output"
    if run["outcome"] == Outcome.SUCCEEDED or gone:
        return
    if run["exit_status"] in (126, 127):
        yield f"pycron test {job} --env    the environment that it gets"
    if run.get("dead"):
        yield f"pycron dead redrive {run['run_id']}    try again, as the same Run"
    elif run["outcome"] is not None:
        yield f"pycron start {job}    run it again"
