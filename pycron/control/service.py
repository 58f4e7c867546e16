"""What pycrond answers on its control socket: one method for each verb that looks at something.

Verbs that change something are in operations.py and user_tables.py.
"""

from binascii import b2a_base64
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pycron import __version__
from pycron.config import Config
from pycron.control.access import Access, Refusal, user_of
from pycron.control.diagnosis import Diagnosis, asked_time
from pycron.control.operations import Operations
from pycron.control.requests import number, number_or_none, text_or_none, visible_run
from pycron.control.rows import (
    Row,
    attempt_row,
    job_row,
    live_row,
    pause_row,
    run_row,
    what_it_waits_for,
)
from pycron.control.server import Peer, refusal
from pycron.control.user_tables import UserTableRequests
from pycron.engine.engine import Engine
from pycron.model.history import RunFilter
from pycron.model.instants import rfc3339
from pycron.model.pause import Pause
from pycron.model.problem import Problem, problem_row
from pycron.model.run import AttemptKey, Outcome
from pycron.ports import History, StoreFailure
from pycron.protocol.framing import Message
from pycron.system.paths import Paths, output_name
from pycron.tables.loaded import Tables

_PAGE = 500
_OUTPUT_CHUNK = 256 * 1024


@dataclass(slots=True)
class Service:
    """Answers requests. `about`: what only the daemon knows of itself."""

    engine: Engine
    store: History
    tables: Tables
    config: Config
    where: Paths
    access: Access
    user_tables: UserTableRequests
    operations: Operations
    about: Callable[[], Message]

    def answer(self, peer: Peer, request: Message) -> Message:
        """The answer to a request; never raises for what the request says."""
        verbs: dict[str, Callable[[Peer, Message], Message]] = {
            "status": self._status,
            "jobs": self._jobs,
            "runs": self._runs,
            "run": self._run,
            "output": self._output,
            "problems": self._problems,
            "why": self._why,
            "top": self._top,
            "pauses": self._pauses,
            "start": self.operations.start,
            "kill": self.operations.kill,
            "pause": self.operations.pause,
            "resume": self.operations.resume,
            "redrive": self.operations.redrive,
            "drop": self.operations.drop,
            "table": self.user_tables.read,
            "install": self.user_tables.install,
            "delete": self.user_tables.delete,
        }
        verb = verbs.get(str(request.get("verb")))
        if verb is None:
            return refusal(f'unknown verb: "{request.get("verb")}" (pycron {__version__})')
        try:
            return {"ok": True} | verb(peer, request)
        except Refusal as error:
            return refusal(str(error), **error.more)
        except StoreFailure as error:
            return refusal(f"the history cannot be used: {error}")

    # ---- what there is

    def _status(self, peer: Peer, _request: Message) -> Message:
        about = self.about()
        pids = about.pop("pids")
        sees = self.access.sight(peer)
        return {
            **about,
            "processes": {name: _process(pid) for name, pid in pids.items()},
            "next_fire_time": self.engine.next_fire_time,
            "runs": self._count_runs(),
            "tables": self.tables.count(),
            "problems": len(self._visible_problems(peer)),
            "jobs": sum(1 for _ in self.engine.jobs().where(lambda each: sees(each.user))),
            "running": sum(1 for run in self.engine.running if sees(run.job.user)),
            "waiting": sum(1 for run in self.engine.waiting if sees(run.job.user)),
            "paused": len(self._visible_pauses(peer)),
        }

    def _count_runs(self) -> int | None:
        """None where the store can't say: how the daemon is can be asked all the same."""
        try:
            return self.store.count_runs()
        except StoreFailure:
            return None

    def _jobs(self, peer: Peer, request: Message) -> Message:
        sees = self.access.sight(peer)
        first = number(request, "first", 0)
        seen = self.engine.jobs().where(lambda each: sees(each.user))
        page = list(islice(seen, first, first + _PAGE + 1))
        rows = [job_row(entries[index]) for entries, index in page[:_PAGE]]
        return {"rows": rows, "more": len(page) > _PAGE}

    def _runs(self, peer: Peer, request: Message) -> Message:
        user = text_or_none(request, "user")
        if not self.access.sees_all(peer):
            if user not in (None, user_of(peer)):
                raise Refusal("you may see your own runs only")
            user = user_of(peer)
        limit = min(number(request, "limit", 20), _PAGE)
        outcome = request.get("outcome")
        if outcome is not None and outcome not in list(Outcome):
            raise Refusal(f'unknown outcome: "{outcome}" ({", ".join(Outcome)})')
        job = text_or_none(request, "job")
        if job is not None and not self._is_known(peer, job):
            raise Refusal(f'no such job: "{job}" (pycron list)')
        runs = self.store.runs(
            RunFilter(
                limit,
                job,
                user,
                None if outcome is None else Outcome(outcome),
                number_or_none(request, "since"),
                number_or_none(request, "until"),
                number_or_none(request, "before"),
                True if request.get("dead") else None,
            )
        )
        before = runs[-1].number if runs else None
        return {"rows": [run_row(run) for run in runs], "before": before}

    def _is_known(self, peer: Peer, job: str) -> bool:
        """Whether there is, or was, a Job of this name or id that the peer may see."""
        users = {each.user for each in self.engine.jobs().called(job)}
        users |= self.store.owners_of(job)
        return any(map(self.access.sight(peer), users))

    def _run(self, peer: Peer, request: Message) -> Message:
        run = visible_run(self.store, self.access, peer, request)
        return {
            "row": run_row(run)
            | {"schedule": run.schedule, "zone": run.zone, "command": run.command},
            "attempts": [attempt_row(attempt) for attempt in run.attempts],
        }

    def _why(self, peer: Peer, request: Message) -> Message:
        """What became, or will, of each Job of a name or id at a time."""
        name = str(request.get("job"))
        inquiry = Diagnosis(self.engine, self.store, self.about, self.access.sight(peer))
        try:
            rows = inquiry.rows(
                name, asked_time(request.get("time"), wall=bool(request.get("wall")))
            )
        except ValueError as error:
            raise Refusal(str(error)) from None
        for row in rows:
            row["runs"] = [run_row(run) for run in row["runs"]]
        return {"rows": rows}

    def _output(self, peer: Peer, request: Message) -> Message:
        """A part of an Attempt's output, and whether more can come, of it and of its Run.

        With `follow`, one that is not there has printed nothing, and is over when its Run is.
        """
        run = visible_run(self.store, self.access, peer, request)
        attempts = run.attempts
        live = self.engine.find(run.key)
        over = run.outcome is not None
        wanted = number(request, "attempt", max(1, len(attempts)))
        is_there = 1 <= wanted <= len(attempts)
        if not is_there and request.get("follow") is not True:
            raise Refusal(f"{run.run_id} has {len(attempts)} attempts")
        data, outcome, printed = b"", None, None
        if is_there:
            data = self._part_of_output(AttemptKey(run.key, wanted), number(request, "offset", 0))
            outcome = attempts[wanted - 1].outcome
            printed = attempts[wanted - 1].output_bytes
        return {
            "data": b2a_base64(data, newline=False).decode(),
            "attempt": wanted,
            "attempts": len(attempts),
            "ended": (outcome is not None or over) and len(data) < _OUTPUT_CHUNK,
            "more": len(data) == _OUTPUT_CHUNK,
            "outcome": outcome,
            "output_bytes": printed,
            "over": over,
            "why": live and what_it_waits_for(live),
        }

    def _part_of_output(self, attempt: AttemptKey, offset: int) -> bytes:
        short = self.store.short_output(attempt)
        if short is not None:
            return short[offset:]
        return _read_output(self.where.output / output_name(attempt), offset)

    def _problems(self, peer: Peer, _request: Message) -> Message:
        return {"rows": [problem_row(problem) for problem in self._visible_problems(peer)]}

    def _visible_problems(self, peer: Peer) -> list[Problem]:
        problems = self.tables.problems()
        return problems if self.access.sees_all(peer) else [
            problem for problem in problems if problem.file == user_of(peer)
        ]  # fmt: skip

    def _top(self, peer: Peer, request: Message) -> Message:
        """What runs, what waits and why, what comes next, and how far the limits are used."""
        sees = self.access.sight(peer)
        most = min(number(request, "limit", 50), _PAGE)
        running = [run for run in self.engine.running if sees(run.job.user)]
        waiting = [run for run in self.engine.waiting if sees(run.job.user)]
        waiting.sort(key=lambda run: run.planned)
        coming = self.engine.coming(most, sees)
        return {
            "running": [live_row(run) for run in running[:most]],
            "waiting": [live_row(run) for run in waiting[:most]],
            "next": [job_row(job) | {"fire_time": rfc3339(fire)} for fire, job in coming],
            "counts": {"running": len(running), "waiting": len(waiting)},
            "limits": self._limits(),
            "pauses": self._visible_pauses(peer),
        }

    def _limits(self) -> Message:
        """Each limit that is set, and its use."""
        admission = self.engine.admission
        limits = admission.limits
        rows = {
            "limits.running": (admission.running, limits.running),
            "limits.waiting": (admission.waiting, limits.waiting),
            **{f"pools.{pool}": use for pool, use in admission.pools().items()},
        }
        shown = {name: list(use) for name, use in rows.items() if use[1] is not None}
        return {**shown, "closed": admission.closed}

    def _pauses(self, peer: Peer, _request: Message) -> Message:
        return {"rows": self._visible_pauses(peer)}

    def _visible_pauses(self, peer: Peer) -> list[Row]:
        """Whoever wonders why a Job doesn't run may know that it is paused, and by whom."""
        if not self.engine.pauses:
            return []
        sees = self.access.sight(peer)
        scopes = [pause.scope.partition(":") for pause in self.engine.pauses]
        jobs = self.engine.jobs().find({name for kind, _, name in scopes if kind == "job"})
        names = {job.id: job.name for job in jobs.values()}

        def is_visible(pause: Pause) -> bool:
            kind, _, name = pause.scope.partition(":")
            owners = {"user": name, "job": jobs[name].user if name in jobs else pause.by}
            return kind not in owners or sees(owners[kind])

        return [pause_row(pause, names) for pause in self.engine.pauses if is_visible(pause)]


def _process(pid: int) -> Message:
    """What a process costs, as psutil sees it."""
    import psutil  # 15 ms and 3 MB, and only this asks for it

    process = psutil.Process(pid)
    times = process.cpu_times()
    return {
        "pid": pid,
        "memory_bytes": process.memory_info().rss,
        "cpu_seconds": round(times.user + times.system, 2),
    }


def _read_output(path: Path, offset: int) -> bytes:
    try:
        if offset > path.stat().st_size:  # it may be more than any file can have
            return b""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_OUTPUT_CHUNK)
    except FileNotFoundError:
        return b""  # it has printed nothing
