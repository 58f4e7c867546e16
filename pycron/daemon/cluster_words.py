"""Shared Runs as messages to the agent of the cluster."""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping

from pycron.crontab.jobs import Jobs
from pycron.engine.shared_actions import Accept, Ask, Finish, SharedAction
from pycron.model.job import digest
from pycron.model.shared import SharedKey, Terms
from pycron.protocol import cluster_messages as messages

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
                "run": _run(action.shared),
                "terms": _terms(action.terms, pools, groups),
            }
        case Accept():
            return {
                "type": "accept",
                "run": _run(action.shared),
                "attempt": action.number,
                "terms": _terms(action.terms, pools, groups),
            }
        case Finish(end=end):
            return {
                "type": "finish",
                "run": _run(end.hold.shared),
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
    run, number = message["run"], message["attempt"]
    try:
        f"{run['owner']}{run['name']}".encode()
    except UnicodeEncodeError:
        return False
    return 0 <= run["fire_time"] <= now + _FARTHEST and 0 <= number <= _MOST_ATTEMPTS


def shared_key(run: messages.SharedRun) -> SharedKey:
    return SharedKey(run["owner"], run["name"], run["fire_time"])


def _run(shared: SharedKey) -> messages.SharedRun:
    return {"owner": shared.owner, "name": shared.name, "fire_time": shared.fire_time}


def _terms(
    terms: Terms, pools: Collection[str], groups: Mapping[str, Collection[str]]
) -> messages.Terms:
    retry = terms.retry
    return {
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
    }


def tables_in_short(jobs: Jobs) -> str:
    """By table a digest of its shared entries, as JSON: hosts compare these texts."""
    found: dict[str, list[str]] = defaultdict(list)
    settings: dict[int, str] = {}
    for count, (entries, index) in enumerate(jobs.where(lambda each: each.settings.runs_on.shared)):
        if count >= _MOST_COMPARED:
            return json.dumps({"": "too many entries to compare"})
        context = entries.context(index)
        said = settings.setdefault(id(context), repr(context.settings))
        found[entries.source.name].append(f"{entries.id(index)} {said} {entries.text(index)}")
    short = {name: digest(*sorted(texts)) for name, texts in sorted(found.items())}
    text = json.dumps(short)
    return text if len(text) <= _MOST_CHARACTERS else json.dumps({"": digest(text)})
