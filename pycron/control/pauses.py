"""`pauses`, `pause` and `resume`."""

import time
from collections.abc import Callable, Iterable, Mapping

from pycron.control.access import Refusal, has_account, has_full_rights, user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.lookup import visible_job
from pycron.control.rows import pause_row, scope_in_words
from pycron.control.server import Peer
from pycron.engine.events import PauseBegan, PauseEnded
from pycron.model.job import Job
from pycron.model.pause import ALL, Pause, Scope, ScopeKind, scopes_of
from pycron.protocol.control_answers import PauseAnswer, PauseRow, PausesAnswer
from pycron.protocol.control_messages import PauseRequest, PausesRequest, ResumeRequest

_MOST_PAUSES = 1000  # of one user; those of Jobs outlive their entries


@handles(PausesRequest)
def list_pauses(context: Context, peer: Peer, _request: PausesRequest) -> PausesAnswer:
    return {"rows": visible_pauses(context, peer)}


def visible_pauses(context: Context, peer: Peer) -> list[PauseRow]:
    """The pauses that may apply to a Job that the peer may see."""
    pauses = context.engine.pauses
    if not pauses:
        return []
    jobs = _jobs_of(context, (pause.scope for pause in pauses))
    is_visible = _visibility(context, peer, jobs)
    return [pause_row(pause, jobs) for pause in pauses if is_visible(pause)]


def _visibility(context: Context, peer: Peer, jobs: Mapping[str, Job]) -> Callable[[Pause], bool]:
    """Whether a pause may apply to a Job that the peer may see. `jobs`: those of the pauses."""
    sees = context.access.sight(peer)

    def is_visible(pause: Pause) -> bool:
        name = pause.scope.name
        match pause.scope.kind:
            case ScopeKind.USER:
                return sees(name)
            case ScopeKind.JOB:
                return sees(jobs[name].user if name in jobs else pause.by)
            case _:
                return True

    return is_visible


@handles(PauseRequest)
def pause(context: Context, peer: Peer, request: PauseRequest) -> PauseAnswer:
    """Start nothing in a scope, for some seconds or until it is resumed."""
    scope = _scope(context, peer, request)
    now = time.time()
    until = None if request.seconds is None else now + request.seconds
    pause = Pause(scope, now, until, user_of(peer), request.reason)
    _check_may_pause(context, peer, pause)
    context.feed(PauseBegan(pause))
    return {"row": pause_row(pause, _jobs_of(context, [scope]))}


def _check_may_pause(context: Context, peer: Peer, pause: Pause) -> None:
    """Raises Refusal if the peer has too many pauses, or may not end the one that it replaces."""
    others = {each.scope: each for each in context.engine.pauses}
    replaced = others.pop(pause.scope, None)
    if replaced is not None:
        _check_may_resume(peer, replaced)
    if sum(other.by == pause.by for other in others.values()) >= _MOST_PAUSES:
        raise Refusal(f"{pause.by} has {_MOST_PAUSES} pauses: resume some first (pycron pause)")


@handles(ResumeRequest)
def resume(context: Context, peer: Peer, request: ResumeRequest) -> PauseAnswer:
    paused = {pause.scope: pause for pause in context.engine.pauses}
    scope = Scope.of_job(request.job)  # a Job whose entry was removed can be named by its id
    jobs = _jobs_of(context, [scope]) if scope in paused else {}
    if scope not in paused or not _visibility(context, peer, jobs)(paused[scope]):
        scope = _scope(context, peer, request)
        jobs = _jobs_of(context, [scope])
    if scope not in paused:
        raise Refusal(f"{scope_in_words(scope, jobs)} is not paused")
    _check_may_resume(peer, paused[scope])
    context.feed(PauseEnded(scope))
    others = [pause for pause in visible_pauses(context, peer) if _overlaps(scope, pause, jobs)]
    return {"row": pause_row(paused[scope], jobs), "others": others}


def _overlaps(scope: Scope, other: PauseRow, jobs: Mapping[str, Job]) -> bool:
    """Whether another pause surely holds Jobs of this scope, too."""
    if scope.kind is ScopeKind.ALL or other["scope"] == str(ALL):
        return True
    job = jobs.get(scope.name) if scope.kind is ScopeKind.JOB else None
    return job is not None and other["scope"] in map(str, scopes_of(job))


def _check_may_resume(peer: Peer, pause: Pause) -> None:
    if not has_full_rights(peer) and pause.by != user_of(peer):
        raise Refusal(f"{pause.by} has paused it; only that user and root may resume it")


def _jobs_of(context: Context, scopes: Iterable[Scope]) -> dict[str, Job]:
    """The Jobs of the scopes of kind JOB, by id, without those whose entry was removed."""
    return context.engine.jobs().find({s.name for s in scopes if s.kind is ScopeKind.JOB})


def _check_user(context: Context, user: str) -> None:
    """Raises Refusal for a user whom neither a table nor the machine knows: a misspelt name."""
    owned = context.engine.jobs().where(lambda each: each.user == user)
    if next(owned, None) is None and not has_account(user):
        raise Refusal(f'no such user: "{user}"')


def _scope(context: Context, peer: Peer, request: PauseRequest | ResumeRequest) -> Scope:
    """The scope that a request names. Raises Refusal if the peer may not pause it."""
    match request.scope:
        case ScopeKind.JOB:
            job = visible_job(context, peer, request.job)
            context.access.check_may_change(peer, job.user)
            return Scope.of_job(job.id)
        case ScopeKind.USER:
            context.access.check_may_change(peer, request.user)
            if isinstance(request, PauseRequest):
                _check_user(context, request.user)
            return Scope.of_user(request.user)
    if not has_full_rights(peer):
        raise Refusal("only root may do that")
    match request.scope:
        case ScopeKind.POOL if request.pool not in context.config().pools:
            raise Refusal(f'no such pool: "{request.pool}" (the configuration names them)')
        case ScopeKind.POOL:
            return Scope.of_pool(request.pool)
        case ScopeKind.ALL:
            return ALL
    raise Refusal("bad scope (job, user, pool or all)")
