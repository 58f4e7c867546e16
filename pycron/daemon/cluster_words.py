"""Shared Runs as messages to the agent of the cluster."""

import json
from collections.abc import Collection, Mapping

from pycron import __version__
from pycron.crontab.entries import Entries
from pycron.crontab.jobs import Jobs
from pycron.crontab.queue_specs import VERSION
from pycron.engine.shared_actions import Accept, Ask, Finish, SharedAction, Take
from pycron.model.job import digest
from pycron.model.shared import SharedKey, Terms
from pycron.protocol import cluster_messages as messages
from pycron.protocol.framing import is_utf8

_MOST_COMPARED = 20_000  # shared entries; to read more of them would take the daemon too long
_MOST_CHARACTERS = 4000
_FARTHEST = 86_400  # seconds that a fire time may be ahead: clocks may differ
_MOST_ATTEMPTS = 1_000_000


def message_of(
    action: SharedAction,
    now: float,
    pools: Collection[str],
    groups: Mapping[str, Collection[str]],
) -> messages.ClusterDaemonMessage:
    """`pools` and `groups`: those of the cluster. `now`: UTC seconds."""
    match action:
        case Ask():
            return {
                "type": "ask",
                "run": run_part(action.shared),
                "terms": _terms(action.terms, pools, groups),
            }
        case Accept():
            return {
                "type": "accept",
                "run": run_part(action.shared),
                "attempt": action.number,
                "terms": _terms(action.terms, pools, groups),
            }
        case Take():
            return {
                "type": "take",
                "run": run_part(action.shared),
                "attempt": action.number,
                "queue": action.queue,
                "version": VERSION,
            }
        case Finish(end=end):
            return {
                "type": "finish",
                "run": run_part(end.hold.shared),
                "attempt": end.hold.attempt.number,
                "incarnation": end.hold.incarnation,
                "outcome": end.outcome.value,
                "reason": end.reason,
                "retry_in": None if end.retry_at is None else max(0.0, end.retry_at - now),
            }


def is_sound(message: messages.ClusterAgentMessage, now: float) -> bool:
    """Whether a message is about a Run that there can be, if it is about one.

    Whoever can write to the database can put anything into a row. The daemon must not stumble over
    it: local Jobs do not depend on the database.
    """
    if message["type"] == "status" or message["type"] == "log":
        return True
    run = message["run"]
    number = 0 if message["type"] == "killed" else message["attempt"]
    if not is_utf8(f"{run['owner']}{run['name']}"):
        return False
    return 0 <= run["fire_time"] <= now + _FARTHEST and 0 <= number <= _MOST_ATTEMPTS


def shared_key(run: messages.SharedRun) -> SharedKey:
    return SharedKey(run["owner"], run["name"], run["fire_time"])


def run_part(shared: SharedKey) -> messages.SharedRun:
    return {"owner": shared.owner, "name": shared.name, "fire_time": shared.fire_time}


def _terms(
    terms: Terms, pools: Collection[str], groups: Mapping[str, Collection[str]]
) -> messages.Terms:
    retry = terms.retry
    said: messages.Terms = {
        "concurrency": terms.concurrency,
        "max_running": terms.max_running,
        "pool": terms.pool if terms.pool in pools else None,
        "window": terms.window,
        "catch_up": terms.catch_up,
        "after": list(terms.after),
        "hosts": None if terms.group is None else sorted(groups.get(terms.group, ())),
        "retry": {
            "most": retry.most,
            "lost": retry.lost,
            "delay": retry.delay,
            "backoff": retry.backoff,
            "delay_max": retry.delay_max,
            "jitter": retry.jitter,
            "until": retry.until,
        },
        "entry": {"table": terms.table, "line": terms.line},
    }
    if terms.queue is not None and terms.spec is not None:
        said["queued"] = {
            "queue": terms.queue,
            "version": VERSION,
            "pycron": __version__,
            "spec": terms.spec,
        }
    return said


class ComparedTables:
    """What hosts compare of their tables: by table a digest of its shared entries.

    The digest of a table is computed when it was read anew: of 20,000 entries, that takes the
    daemon a tenth of a second.
    """

    def __init__(self) -> None:
        # By name: the entries, how many of them are shared, and their digest.
        self._known: dict[str, tuple[Entries, int, str]] = {}

    def in_short(self, jobs: Jobs) -> str:
        """The digests as JSON, of at most _MOST_CHARACTERS."""
        before = self._known
        self._known = {
            entries.source.name: _known_of(entries, before.get(entries.source.name))
            for entries in jobs.tables
        }
        if sum(count for _, count, _ in self._known.values()) > _MOST_COMPARED:
            return json.dumps({"": "too many entries to compare"})
        short = {name: text for name, (_, count, text) in sorted(self._known.items()) if count}
        text = json.dumps(short)
        return text if len(text) <= _MOST_CHARACTERS else json.dumps({"": digest(text)})


def _known_of(
    entries: Entries, before: tuple[Entries, int, str] | None
) -> tuple[Entries, int, str]:
    if before is not None and before[0] is entries:
        return before
    texts: list[str] = []
    settings: dict[int, str] = {}
    for index in entries.where(lambda each: each.settings.runs_on.shared):
        context = entries.context(index)
        said = settings.setdefault(id(context), repr(context.settings))
        texts.append(f"{entries.id(index)} {said} {entries.text(index)}")
        if len(texts) > _MOST_COMPARED:
            return entries, len(texts), ""
    return entries, len(texts), digest(*sorted(texts))
