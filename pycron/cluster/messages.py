"""The values of messages as values of calls, and the reverse. Pure."""

from pycron.cluster.calls import (
    Claim,
    Concurrency,
    Decided,
    Decision,
    Finish,
    Finished,
    Gate,
    HeldRow,
    Limits,
    QueueJob,
    Refusal,
    RetryTerms,
    SharedKey,
    WorkerFacts,
)
from pycron.protocol.cluster_messages import (
    ClusterAgentMessage,
    FinishedMessage,
    FinishMessage,
    HeldMessage,
    KilledMessage,
    LogMessage,
    RefuseMessage,
    SharedRun,
    Terms,
    WorkerPart,
)


def key_of(run: SharedRun) -> SharedKey:
    return SharedKey(run["owner"], run["name"], run["fire_time"])


def run_of(key: SharedKey) -> SharedRun:
    return {"owner": key.owner, "name": key.name, "fire_time": key.fire_time}


def limits_of(terms: Terms, pool_limit: int | None) -> Limits:
    concurrency = Concurrency(terms["concurrency"])
    return Limits(concurrency, terms["max_running"], terms["pool"], pool_limit)


def claim_of(key: SharedKey, terms: Terms, pool_limit: int | None, *, newer: bool) -> Claim:
    queued, entry = terms.get("queued"), terms.get("entry")
    return Claim(
        key,
        limits_of(terms, pool_limit),
        window=terms["window"],
        catch_up=terms["catch_up"],
        after=tuple(terms["after"]),
        newer=newer,
        retry=RetryTerms(**terms["retry"]),
        queued=QueueJob(**queued) if queued else None,
        entry=(entry["table"], entry["line"]) if entry else None,
    )


def worker_of(part: WorkerPart) -> WorkerFacts:
    return WorkerFacts(tuple(part["queues"]), part["version"], part["slots"])


def refusal_of(message: RefuseMessage) -> Refusal:
    return Refusal(key_of(message["run"]), message["attempt"], message["reason"])


def finish_of(message: FinishMessage) -> Finish:
    return Finish(
        key_of(message["run"]),
        message["attempt"],
        message["incarnation"],
        message["outcome"],
        message["reason"],
        message["retry_in"],
        message.get("result"),
        message.get("output"),
    )


def held(row: HeldRow, incarnation: str, spec: str | None) -> HeldMessage:
    told: HeldMessage = {
        "type": "held",
        "run": run_of(row.key),
        "attempt": row.attempt,
        "incarnation": incarnation,
    }
    if row.queue is not None:
        told["queue"] = row.queue
    if spec is not None:
        told["spec"] = spec
    if row.redrive is not None:
        told["redrive"] = {"number": row.redrive.number, "at": row.redrive.at}
    return told


def reply(question: Claim | Gate, decided: Decided) -> ClusterAgentMessage:
    """What the daemon is told about a question, unless the row is held."""
    if isinstance(question, Claim):
        return answer(0, decided)
    if question.queue is None:
        return answer(question.attempt, decided)
    run = run_of(question.key)
    return {"type": "untaken", "run": run, "attempt": question.attempt, "reason": decided.reason}


def killed(key: SharedKey, *, done: bool) -> KilledMessage:
    return {"type": "killed", "run": run_of(key), "done": done}


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
