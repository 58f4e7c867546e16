"""What pycrond answers on its control socket: one method for each verb.

Root, the daemon's own user and members of the operators' group see everything; any other user sees
what is theirs.
"""

import base64
import grp
import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pycron import __version__, crontab, places
from pycron.actions import InputEvent, Log, Redriven
from pycron.config import Config
from pycron.control import Peer, refusal
from pycron.crontab import Judge
from pycron.engine import Engine, lateness_ms
from pycron.events import Event
from pycron.inquiry import Inquiry, asked_time
from pycron.model import (
    AttemptKey,
    Job,
    Outcome,
    Problem,
    RunKey,
    Source,
    problem_row,
    rfc3339,
)
from pycron.runner_client import output_path
from pycron.schedule import resolved_text
from pycron.spool import Unreadable, install, read_table
from pycron.store import Filter, Row, Store, StoreError
from pycron.tables import Tables
from pycron.wire import Message

_PAGE = 500
_OUTPUT_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class UserTables:
    """Where users' tables are installed: the spool, or the one table of a user's own daemon."""

    directory: Path
    only: tuple[str, Path] | None = None

    def path_of(self, user: str) -> Path | None:
        if self.only:
            return self.only[1] if user == self.only[0] else None
        return self.directory / user


@dataclass(slots=True)
class Service:
    """Answers requests. `user_tables` is None where no table can be installed (foreground)."""

    engine: Engine
    store: Store
    tables: Tables
    config: Config
    where: places.Places
    user_tables: UserTables | None
    judge: Callable[[], Judge]
    about: Callable[[], Message]
    feed: Callable[[InputEvent], None]
    log: Callable[[Log], None]

    def answer(self, peer: Peer, request: Message) -> Message:
        """The answer to a request; never raises for what the request says."""
        verbs: dict[str, Callable[[Peer, Message], Message]] = {
            "status": self._status,
            "jobs": self._jobs,
            "runs": self._runs,
            "run": self._run,
            "output": self._output,
            "redrive": self._redrive,
            "drop": self._drop,
            "problems": self._problems,
            "why": self._why,
            "table": self._table,
            "install": self._install,
            "delete": self._delete,
        }
        verb = verbs.get(str(request.get("verb")))
        if verb is None:
            return refusal(f'unknown verb: "{request.get("verb")}" (pycron {__version__})')
        try:
            return {"ok": True} | verb(peer, request)
        except _Refused as error:
            return refusal(str(error), **error.more)

    # ---- who may do what

    def _sees_all(self, peer: Peer) -> bool:
        if peer.uid in (0, os.geteuid()):
            return True
        try:
            group = grp.getgrnam(self.config.operators)
        except KeyError:
            return False
        return group.gr_gid in _groups_of(peer)

    def _may_see(self, peer: Peer, user: str) -> bool:
        return self._sees_all(peer) or user == _user_of(peer)

    def _table_owner(self, peer: Peer, request: Message) -> str:
        """Whose table a request is about, when the peer may handle it."""
        own = _user_of(peer)
        user = request.get("user")
        if user is None:
            user = own
        elif user != own and peer.uid != 0:
            raise _Refused("only root may use -u: leave it out for your own table")
        try:
            pwd.getpwnam(str(user))
        except (KeyError, ValueError):
            raise _Refused(f'unknown user: "{user}"') from None
        if peer.uid != 0 and self._is_system and not _is_allowed(own):
            self.log(Log(Event.ACCESS_DENIED, {"user": own, "pid": peer.pid}, bad=True))
            raise _Refused(f"you ({own}) are not allowed to use this program (pycrontab)")
        return str(user)

    @property
    def _is_system(self) -> bool:
        return self.user_tables is not None and self.user_tables.only is None

    # ---- what there is

    def _status(self, peer: Peer, _request: Message) -> Message:
        about = self.about()
        pids = about.pop("pids")
        running = [r for r in self.engine.running if self._may_see(peer, r.job.user)]
        return {
            **about,
            "processes": {name: _process(pid) for name, pid in pids.items()},
            "next_fire_time": self.engine.next_fire_time,
            "runs": self.store.count_runs(),
            "tables": self.tables.count(),
            "problems": len(self._visible_problems(peer)),
            "jobs": sum(1 for job in self.engine.jobs() if self._may_see(peer, job.user)),
            "running": len(running),
            "waiting": self.engine.waiting,
        }

    def _jobs(self, peer: Peer, request: Message) -> Message:
        sees_all, own = self._sees_all(peer), _user_of(peer)
        jobs = [job for job in self.engine.jobs() if sees_all or job.user == own]
        jobs.sort(key=lambda job: (job.source.name, job.line))
        first = _number(request, "first", 0)
        page = jobs[first : first + _PAGE]
        return {"rows": [job_row(job) for job in page], "more": len(jobs) > first + _PAGE}

    def _runs(self, peer: Peer, request: Message) -> Message:
        user = request.get("user")
        if not self._sees_all(peer):
            if user not in (None, _user_of(peer)):
                raise _Refused("you may see your own runs only")
            user = _user_of(peer)
        limit = min(_number(request, "limit", 20), _PAGE)
        outcome = request.get("outcome")
        if outcome is not None and outcome not in list(Outcome):
            raise _Refused(f'unknown outcome: "{outcome}" ({", ".join(Outcome)})')
        job = request.get("job")
        if job is not None and not self._is_known(peer, str(job)):
            raise _Refused(f'no such job: "{job}" (pycron list)')
        rows = self.store.runs(
            Filter(
                limit,
                None if job is None else str(job),
                user,
                outcome,
                _number_or_none(request, "since"),
                _number_or_none(request, "until"),
                _number_or_none(request, "before"),
                True if request.get("dead") else None,
            )
        )
        before = rows[-1]["number"] if rows else None
        return {"rows": [run_row(row, row["all"]) for row in rows], "before": before}

    def _is_known(self, peer: Peer, job: str) -> bool:
        """Whether there is, or was, a Job of this name or id that the peer may see."""
        users = {each.user for each in self.engine.jobs() if job in (each.name, each.id)}
        users |= self.store.owners_of(job)
        return any(self._may_see(peer, user) for user in users)

    def _run(self, peer: Peer, request: Message) -> Message:
        row, attempts = self._visible_run(peer, str(request.get("run_id")))
        return {
            "row": run_row(row, attempts)
            | {"schedule": row["schedule"], "zone": row["zone"], "command": row["command"]},
            "attempts": [attempt_row(attempt) for attempt in attempts],
        }

    def _why(self, peer: Peer, request: Message) -> Message:
        """What became, or will, of each Job of a name or id at a time."""
        name = str(request.get("job"))
        inquiry = Inquiry(
            self.engine, self.store, self.about, lambda user: self._may_see(peer, user)
        )
        try:
            rows = inquiry.rows(
                name, asked_time(request.get("time"), wall=bool(request.get("wall")))
            )
        except ValueError as error:
            raise _Refused(str(error)) from None
        for row in rows:
            row["runs"] = [run_row(run, run["all"]) for run in row["runs"]]
        return {"rows": rows}

    def _dead_run(self, peer: Peer, request: Message) -> tuple[RunKey, Row, int]:
        """A dead letter that the peer may handle: root's and the owner's right."""
        row, attempts = self._visible_run(peer, str(request.get("run_id")))
        if peer.uid not in (0, os.geteuid()) and row["user"] != _user_of(peer):
            raise _Refused("only its owner and root may do that")
        if not row["dead"]:
            raise _Refused(f"{row['run_id']} is no dead letter")
        return RunKey.parse(row["run_id"]), row, len(attempts)

    def _redrive(self, peer: Peer, request: Message) -> Message:
        key, row, attempts = self._dead_run(peer, request)
        job = next((job for job in self.engine.jobs() if job.id == key.job_id), None)
        if job is None:
            raise _Refused(f"{row['job']}: its entry is gone; it can only be dropped")
        self.feed(Redriven(AttemptKey(key, attempts), job))
        return {"run_id": str(key), "attempt": attempts + 1}

    def _drop(self, peer: Peer, request: Message) -> Message:
        key, _, _ = self._dead_run(peer, request)
        try:
            self.store.drop_dead(key)
        except StoreError as error:
            raise _Refused(str(error)) from None
        return {"run_id": str(key)}

    def _output(self, peer: Peer, request: Message) -> Message:
        """A part of an Attempt's output, and whether more can come."""
        row, attempts = self._visible_run(peer, str(request.get("run_id")))
        key = RunKey.parse(row["run_id"])
        number = _number(request, "attempt", len(attempts))
        if not 1 <= number <= len(attempts):
            raise _Refused(f"{row['run_id']} has {len(attempts)} attempts")
        data = _read_output(
            output_path(self.where, AttemptKey(key, number)), _number(request, "offset", 0)
        )
        ended = attempts[number - 1]["outcome"] is not None
        return {
            "data": base64.b64encode(data).decode(),
            "attempt": number,
            "ended": ended and len(data) < _OUTPUT_CHUNK,
            "more": len(data) == _OUTPUT_CHUNK,
            "output_bytes": attempts[number - 1]["output_bytes"],
        }

    def _problems(self, peer: Peer, _request: Message) -> Message:
        return {"rows": [problem_row(problem) for problem in self._visible_problems(peer)]}

    def _visible_problems(self, peer: Peer) -> list[Problem]:
        problems = self.tables.problems()
        return problems if self._sees_all(peer) else [
            problem for problem in problems if problem.file == _user_of(peer)
        ]  # fmt: skip

    def _visible_run(self, peer: Peer, text: str) -> tuple[Row, list[Row]]:
        try:
            found = self.store.run(RunKey.parse(text))
        except ValueError as error:
            raise _Refused(str(error)) from None
        if found is None or not self._may_see(peer, found[0]["user"]):
            raise _Refused(f'no such run: "{text}"')
        return found

    # ---- users' tables

    def _table_path(self, peer: Peer, request: Message) -> tuple[str, Path]:
        user = self._table_owner(peer, request)
        if self.user_tables is None:
            raise _Refused("this daemon runs the tables that it was given; edit those files")
        path = self.user_tables.path_of(user)
        if path is None:
            raise _Refused(f"this is the daemon of another user than {user}")
        return user, path

    def _table(self, peer: Peer, request: Message) -> Message:
        user, path = self._table_path(peer, request)
        try:
            text, _ = read_table(str(path), None, self.config.table_bytes)
        except FileNotFoundError:
            return {"user": user, "text": None}
        except Unreadable as error:
            raise _Refused(f"{path}: {error}") from None
        return {"user": user, "text": text}

    def _install(self, peer: Peer, request: Message) -> Message:
        user, path = self._table_path(peer, request)
        text = request.get("text")
        if not isinstance(text, str):
            raise _Refused("install: no text")
        most = self.config.user_table_bytes
        try:
            size = len(text.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:
            raise _Refused("install: the text is no text") from None
        if size > most:
            raise _Refused(f"the table is larger than {most} bytes (limits.user_table_bytes)")
        judge = replace(self.judge(), most_entries=self.config.user_table_entries)
        table = crontab.parse(text, Source(user, user), judge)
        problems = [problem_row(problem) for problem in table.problems]
        if table.errors:
            raise _Refused("the table has errors; nothing was installed", problems=problems)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            install(path, text, None)
        except OSError as error:
            raise _Refused(f"{path}: cannot be written: {error.strerror}") from None
        fields = {"table": user, "by": _user_of(peer), "jobs": len(table.jobs)}
        self.log(Log(Event.TABLE_INSTALLED, fields))
        self.tables.rescan()
        return {"user": user, "problems": problems, "jobs": len(table.jobs)}

    def _delete(self, peer: Peer, request: Message) -> Message:
        user, path = self._table_path(peer, request)
        try:
            path.unlink()
        except FileNotFoundError:
            return {"user": user, "deleted": False}
        except OSError as error:
            raise _Refused(f"{path}: cannot be deleted: {error.strerror}") from None
        self.log(Log(Event.TABLE_DELETED, {"table": user, "by": _user_of(peer)}))
        self.tables.rescan()
        return {"user": user, "deleted": True}


class _Refused(Exception):
    def __init__(self, message: str, **more: object) -> None:
        super().__init__(message)
        self.more = more


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


def _number(request: Message, key: str, default: int) -> int:
    value = _number_or_none(request, key)
    return default if value is None else value


def _number_or_none(request: Message, key: str) -> int | None:
    value = request.get(key)
    if value is not None and (type(value) is not int or not 0 <= value < 2**62):
        raise _Refused(f"bad {key} (a whole number)")
    return value


def _user_of(peer: Peer) -> str:
    try:
        return pwd.getpwuid(peer.uid).pw_name
    except KeyError:
        return str(peer.uid)


def _groups_of(peer: Peer) -> list[int]:
    try:
        return os.getgrouplist(pwd.getpwuid(peer.uid).pw_name, peer.gid)
    except KeyError:
        return [peer.gid]


def _is_allowed(user: str) -> bool:
    """As crontab(1) of Debian: in the allow file if there is one, else not in the deny file."""
    allowed = _names_in(places.ALLOW)
    return user in allowed if allowed is not None else user not in (_names_in(places.DENY) or ())


def _names_in(path: Path) -> list[str] | None:
    """The users that a file lists; None when there is no file. One that can't be read refuses."""
    try:
        return path.read_text(errors="replace").split()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _Refused(f"{path}: cannot be read: {error.strerror}") from None


def _read_output(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_OUTPUT_CHUNK)
    except FileNotFoundError:
        return b""  # it has printed nothing


# ---- rows: the keys that --json shows


def job_row(job: Job) -> dict[str, Any]:
    return {
        "job": job.name,
        "id": job.id,
        "table": job.source.name,
        "line": job.line,
        "user": job.user,
        "schedule": job.schedule.text,
        "resolved": resolved_text(job.schedule),
        "zone": job.zone,
        "command": job.command,
    }


def run_row(row: Row, attempts: list[Row]) -> dict[str, Any]:
    """A Run: begun with its first Attempt, ended as its last one."""
    last: Row = attempts[-1] if attempts else {}
    started = attempts[0]["started"] if attempts else None
    key = RunKey(row["job_id"], row["fire_time"], row["pass"])
    return {
        "run_id": row["run_id"],
        "job": row["job"],
        "table": row["table"],
        "line": row["line"],
        "user": row["user"],
        "fire_time": rfc3339(row["fire_time"]),
        "started": precise(started),
        "ended": precise(last.get("ended")),
        "attempts": len(attempts),
        "outcome": row["outcome"],
        "exit_status": last.get("exit_status"),
        "signal": last.get("signal"),
        "lateness_ms": None if started is None else lateness_ms(key, started),
        "cpu_seconds": last.get("cpu_seconds"),
        "memory_peak_bytes": last.get("memory_peak"),
        "reason": row["reason"],
    }


def attempt_row(row: Row) -> dict[str, Any]:
    return {
        "attempt": row["number"],
        "pid": row["pid"],
        "started": precise(row["started"]),
        "ended": precise(row["ended"]),
        "outcome": row["outcome"],
        "exit_status": row["exit_status"],
        "signal": row["signal"],
        "cpu_seconds": row["cpu_seconds"],
        "memory_peak_bytes": row["memory_peak"],
        "output_bytes": row["output_bytes"],
        "reason": row["reason"],
    }


def precise(instant: float | None) -> str | None:
    """A UTC second with its milliseconds."""
    if instant is None:
        return None
    return f"{rfc3339(instant)[:-1]}.{int(instant * 1000) % 1000:03d}Z"
