"""`status` and `top`: the state of the daemon, and what it is doing now."""

import contextlib
from collections.abc import Mapping, Sequence

from pycron import __version__
from pycron.control.access import user_of
from pycron.control.configuration import config_row
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.pauses import visible_pauses
from pycron.control.problems import visible_problems
from pycron.control.rows import USUAL, due_row, live_row, usual_seconds
from pycron.control.server import Peer
from pycron.engine.live_runs import LiveRun
from pycron.model.history import LastRun
from pycron.ports import StoreFailure
from pycron.protocol.control_answers import LiveRow, ProcessRow, StatusAnswer, TopAnswer
from pycron.protocol.control_messages import StatusRequest, TopRequest

_MOST_ROWS = 500


@handles(StatusRequest)
def status(context: Context, peer: Peer, _request: StatusRequest) -> StatusAnswer:
    info, engine = context.info(), context.engine
    sees, sees_all = context.access.sight(peer), context.access.sees_all(peer)
    running, waiting = engine.count(sees)
    answer: StatusAnswer = {
        "version": __version__,
        "mode": info.mode,
        "since": info.since,
        "state": str(info.state),
        "zone": info.zone,
        "zone_data": info.zone_data,
        "store_failure": context.recorder.failure,
        "unwritten": context.recorder.unwritten,
        "processes": {"daemon": _process(info.daemon_pid), "runner": _process(info.runner_pid)},
        "next_fire_time": _next_fire_time(context, peer),
        "runs": _count_runs(context, peer),
        "tables": context.tables.count(None if sees_all else user_of(peer)),
        "problems": len(visible_problems(context, peer)),
        "jobs": count_jobs(context, peer),
        "running": running,
        "waiting": waiting,
        "paused": len(visible_pauses(context, peer)),
        "mail": _mail(context, info.no_mail),
        "other_crons": [problem.message for problem in info.other_crons if sees_all],
        "cluster": info.cluster,
    }
    if sees_all:
        answer["config"] = config_row(context)
    return answer


def count_jobs(context: Context, peer: Peer) -> int:
    """How many Jobs the peer may see; those who see a million of them need no look at each."""
    jobs = context.engine.jobs()
    if context.access.sees_all(peer):
        return len(jobs)
    sees = context.access.sight(peer)
    return sum(1 for _ in jobs.where(lambda each: sees(each.user)))


def _mail(context: Context, no_mail: str | None) -> str:
    """How mail is sent, or why none is."""
    config = context.config()
    if config.mail_transport == "none":
        return "off (mail.transport is none)"
    if no_mail is not None:
        return f"nowhere: {no_mail}"
    if config.mail_transport == "smtp":
        return f"smtp {config.mail_smtp_host}:{config.mail_smtp_port} ({config.mail_smtp_security})"
    return config.mail_sendmail


def _next_fire_time(context: Context, peer: Peer) -> float | None:
    """Of the Jobs that the peer may see."""
    if context.access.sees_all(peer):
        return context.engine.next_fire_time
    coming = context.engine.coming(1, context.access.sight(peer))
    return coming[0][0] if coming else None


def _count_runs(context: Context, peer: Peer) -> int | None:
    """Of those that the peer may see.

    None if the store cannot be read, which the status has to be able to report.
    """
    try:
        return context.history.count_runs(None if context.access.sees_all(peer) else user_of(peer))
    except StoreFailure:
        return None


def _process(pid: int | None) -> ProcessRow:
    """The memory and the processor time of a process, as psutil sees them."""
    import psutil  # 15 ms and 3 MB, and only this needs it

    process = psutil.Process(pid)
    times = process.cpu_times()
    return {
        "pid": process.pid,
        "memory_bytes": process.memory_info().rss,
        "cpu_seconds": round(times.user + times.system, 2),
    }


@handles(TopRequest)
def top(context: Context, peer: Peer, request: TopRequest) -> TopAnswer:
    """Answer what runs, what waits and why, what comes next, and the use of the limits."""
    engine = context.engine
    sees = context.access.sight(peer)
    most = min(request.limit, _MOST_ROWS)
    running = [run for run in engine.running if sees(run.job.user)]
    waiting = engine.first_waiting(most, sees)
    return {
        "running": _running(context, running[:most], usual=request.usual),
        "waiting": [live_row(run) for run in waiting],
        "next": [due_row(job, fire) for fire, job in engine.coming(most, sees)],
        "counts": {"running": len(running), "waiting": engine.count(sees)[1]},
        "limits": _limits(context, totals=context.access.sees_all(peer)),
        "pauses": visible_pauses(context, peer),
    }


def _running(context: Context, runs: Sequence[LiveRun], *, usual: bool) -> list[LiveRow]:
    """The rows of running Runs. `usual`: with the time that their Jobs usually take."""
    rows = [live_row(run) for run in runs]
    if usual:
        known: Mapping[str, list[LastRun]] = {}
        with contextlib.suppress(StoreFailure):  # what runs is known without the history
            known = context.history.last_runs([run.job.id for run in runs], USUAL)
        for row, run in zip(rows, runs, strict=True):
            row["usual_seconds"] = usual_seconds(known.get(run.job.id, []))
    return rows


def _limits(context: Context, *, totals: bool) -> dict[str, list[int] | str | None]:
    """The use and the value of each limit that is set; under `closed`, why nothing may start.

    `totals`: the use by all users together is shown to those who see everything.
    """
    admission = context.engine.admission
    limits = admission.limits
    uses = {
        "limits.running": (admission.running, limits.running),
        "limits.waiting": (admission.waiting, limits.waiting),
        **{f"pools.{pool}": use for pool, use in admission.pools().items() if pool[0] != ":"},
    }
    rows: dict[str, list[int] | str | None] = {
        name: [used, most] for name, (used, most) in uses.items() if most is not None and totals
    }
    return rows | {"closed": admission.closed}
