"""The values of messages as values of calls, and the reverse. Pure."""

from pycron.cluster.calls import (
    Claim,
    Concurrency,
    Decided,
    Decision,
    Finish,
    Finished,
    Limits,
    RetryTerms,
    SharedKey,
)
from pycron.protocol.cluster_messages import (
    ClusterAgentMessage,
    FinishedMessage,
    FinishMessage,
    HeldMessage,
    LogMessage,
    SharedRun,
    Terms,
)


def key_of(run: SharedRun) -> SharedKey:
    return SharedKey(run["owner"], run["name"], run["fire_time"])


def run_of(key: SharedKey) -> SharedRun:
    return {"owner": key.owner, "name": key.name, "fire_time": key.fire_time}


def limits_of(terms: Terms, pool_limit: int | None) -> Limits:
    concurrency = Concurrency(terms["concurrency"])
    return Limits(concurrency, terms["max_running"], terms["pool"], pool_limit)


def claim_of(key: SharedKey, terms: Terms, pool_limit: int | None, *, newer: bool) -> Claim:
    return Claim(
        key,
        limits_of(terms, pool_limit),
        window=terms["window"],
        catch_up=terms["catch_up"],
        after=tuple(terms["after"]),
        newer=newer,
        retry=RetryTerms(**terms["retry"]),
    )


def finish_of(message: FinishMessage) -> Finish:
    return Finish(
        key_of(message["run"]),
        message["attempt"],
        message["incarnation"],
        message["outcome"],
        message["reason"],
        message["retry_in"],
    )


def held(key: SharedKey, attempt: int, incarnation: str) -> HeldMessage:
    run = run_of(key)
    return {"type": "held", "run": run, "attempt": attempt, "incarnation": incarnation}


def answer(asked: int, decided: Decided) -> ClusterAgentMessage:
    """What a question about Attempt `asked` (0: an ask) is answered, unless the row is held."""
    run = run_of(decided.key)
    if decided.decision is not Decision.SETTLED:
        return {"type": "later", "run": run, "attempt": asked, "reason": decided.reason}
    return {
        "type": "settled",
        "run": run,
        "attempt": asked,
        "holder": decided.holder,
        "outcome": decided.outcome,
        "reason": decided.reason,
    }


def finished(finish: Finish, result: Finished) -> FinishedMessage:
    return {
        "type": "finished",
        "run": run_of(finish.key),
        "attempt": finish.attempt,
        "incarnation": finish.incarnation,
        "taken": result.taken,
        "reason": result.reason,
    }


def log(level: str, text: str) -> LogMessage:
    return {"type": "log", "level": level, "text": text}
