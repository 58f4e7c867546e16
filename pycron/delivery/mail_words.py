"""The words of a mail about a Run: the end of its subject, and a body if there is no output.

Pure: no clock, file, process or socket.
"""

import shlex

from pycron.delivery.request import MailRequest, RunFacts, SummedRun
from pycron.model.instants import rfc3339
from pycron.model.run import OUTCOME_IN_WORDS, Outcome
from pycron.model.text import printable


def note(request: MailRequest) -> str:
    """The end of the subject, such as `failed: exit status 7`; empty after a success."""
    occasion = request["occasion"]
    if occasion == "summary":
        return _more_runs(request["summed_count"])
    if occasion in ("late", "recovered", "test"):
        return occasion
    if request["run"]["outcome"] in (None, Outcome.SUCCEEDED):
        return ""
    return _ending(request["run"]).removeprefix("was ")


def own_body(request: MailRequest, output: bytes) -> str | None:
    """The body if it is not the output: None if it is."""
    if request["occasion"] == "test":
        return f"This is a test of the mail settings of pycron on {_host(request)}.\n"
    if request["occasion"] == "summary":
        return _summary(request)
    return None if output else _sentence(request)


def _host(request: MailRequest) -> str:
    return printable(request["run"]["host"])


def _ending(run: RunFacts) -> str:
    outcome = run["outcome"]
    if outcome is None:
        return "has not ended"
    ended_badly = outcome in (Outcome.FAILED, Outcome.KILLED)
    if ended_badly and run["signal"] is not None:
        return f"was killed by signal {run['signal']}"
    if outcome == Outcome.FAILED and run["exit_status"] is not None:
        return f"failed: exit status {run['exit_status']}"
    return OUTCOME_IN_WORDS[Outcome(outcome)]


def _sentence(request: MailRequest) -> str:
    """What happened, where the command printed nothing."""
    run = request["run"]
    subject = f'The Run of "{printable(run["job"])}" with the fire time {rfc3339(run["fire_time"])}'
    reason = f" ({printable(run['reason'])})" if run["reason"] else ""
    if request["occasion"] == "late" and run["outcome"] != Outcome.SUCCEEDED:
        return f"{subject} is late: it {_ending(run)}{reason}.\n"
    again = " again" if request["occasion"] == "recovered" else ""
    return f"{subject} {_ending(run)}{again}{reason}{_printed(run)}.\n"


def _printed(run: RunFacts) -> str:
    if run["printed"]:
        return f"; the {run['printed']} bytes that it printed are not kept"
    return " and printed nothing" if run["attempts"] else ""


def _summary(request: MailRequest) -> str:
    job, summed = request["run"]["job"], request["summed"]
    ended = "has" if request["summed_count"] == 1 else "have"
    return "\n".join([
        f'{_more_runs(request["summed_count"])} of "{printable(job)}" {ended} something to report.',
        "They are in one mail, because a mail for each would be too many.",
        *(["", "The newest:", *map(_row, summed)] if summed else []),
        "",
        f"All Runs: pycron runs --job {shlex.quote(printable(job))}",
        "",
    ])  # fmt: skip


def _more_runs(count: int) -> str:
    return f"{count} more Run{'' if count == 1 else 's'}"


def _row(run: SummedRun) -> str:
    outcome = run["outcome"] or "not ended"
    return f"  {rfc3339(run['fire_time'])}  {outcome:13}  {printable(run['run_id'])}"
