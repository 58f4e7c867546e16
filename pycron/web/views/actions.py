"""The actions: start, kill, pause, resume, redrive, drop.

A link leads to the page of an action. That page says what the action will do, and its button, which
needs no script, does it. So no link changes anything.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from pycron.model.pause import Scope, ScopeKind
from pycron.protocol.control_answers import RunAnswer
from pycron.protocol.control_messages import (
    DropRequest,
    JobsRequest,
    KillRequest,
    PauseRequest,
    RedriveRequest,
    ResumeRequest,
    RunRequest,
    StartRequest,
)
from pycron.protocol.control_messages import (
    Request as Question,
)
from pycron.web.bodies import form_of
from pycron.web.page import visitor_of
from pycron.web.views.viewing import ask, show, text_in

_DURATIONS = {"": None, "30m": 1800, "1h": 3600, "8h": 28_800, "1d": 86_400, "7d": 604_800}

Form = dict[str, str]


def routes() -> list[Route]:
    """A GET shows the page of an action, a POST does it."""
    return [
        _route("/jobs/{job}/start", _start, _do_start),
        _route("/pause", _pause, _do_pause),
        _route("/resume", _resume, _do_resume),
        _route("/runs/{run}/kill", _kill, _to_run(KillRequest, "killed")),
        _route("/runs/{run}/redrive", _redrive, _to_run(RedriveRequest, "redriven")),
        _route("/runs/{run}/drop", _drop, _to_run(DropRequest, "dropped")),
    ]


@dataclass(frozen=True, slots=True)
class Action:
    """A page that asks before something is done.

    `effects`: what will happen, in sentences. `back`: where the viewer came from. `fields`: which
    questions the form has, such as `reason`.
    """

    title: str
    button: str
    effects: list[str]
    back: str
    command: str = ""
    fields: tuple[str, ...] = ()
    ends: bool = False


def _route(
    path: str,
    page_of: Callable[[Request], Awaitable[Action]],
    do: Callable[[Request, Form], Awaitable[str]],
) -> Route:
    async def answer(request: Request) -> Response:
        if request.method == "POST":
            return RedirectResponse(await do(request, await form_of(request)), 303)
        if not visitor_of(request).may_change:
            raise HTTPException(403, "you may only look at things here")
        action = await page_of(request)
        return show(request, "confirm.html", action=action, durations=list(_DURATIONS))

    return Route(path, answer, methods=["GET", "POST"])


# ---- Jobs


async def _start(request: Request) -> Action:
    job = request.path_params["job"]
    (row,) = (await ask(request, JobsRequest(job=job, details=True)))["rows"][:1]
    effects = [
        f"The command is started now, as {row['user']}. The schedule stays as it is.",
        "The Run obeys the limits and the concurrency setting of its Job: it may have to wait.",
    ]
    if row.get("running_since"):
        effects.append("A Run of this Job is running already.")
    paused = row.get("paused")
    if paused:
        effects.append(f"The Job is paused by {paused['by']}: the Run waits until the pause ends.")
    return Action(f"Start {row['job']} now?", "Start it", effects, f"/jobs/{job}", row["command"],
                  ("force",))  # fmt: skip


async def _do_start(request: Request, form: Form) -> str:
    job = request.path_params["job"]
    answer = await ask(request, StartRequest(job, force="force" in form))
    return f"/runs/{answer['run_id']}?said=started"


# ---- pauses


def _scope(request: Request) -> Scope:
    """The scope that the query names. Raises HTTPException."""
    try:
        return Scope.parse(text_in(request, "scope") or "")
    except ValueError as error:
        raise HTTPException(400, str(error)) from None


async def _subject(request: Request, scope: Scope) -> str:
    match scope.kind:
        case ScopeKind.ALL:
            return "all Jobs"
        case ScopeKind.USER:
            return f"the Jobs of {scope.name}"
        case ScopeKind.POOL:
            return f"the pool {scope.name}"
    rows = (await ask(request, JobsRequest(job=scope.name)))["rows"]
    return rows[0]["job"]


def _back(scope: Scope) -> str:
    return f"/jobs/{scope.name}" if scope.kind is ScopeKind.JOB else "/"


async def _pause(request: Request) -> Action:
    scope = _scope(request)
    subject = await _subject(request, scope)
    effects = [
        f"Nothing of {subject} starts until the pause ends. What runs now goes on.",
        "A Run that is due meanwhile is skipped, and the history says why.",
    ]
    return Action(f"Pause {subject}?", "Pause", effects, _back(scope), "", ("duration", "reason"))


async def _do_pause(request: Request, form: Form) -> str:
    scope = _scope(request)
    seconds = _DURATIONS.get(form.get("duration", ""))
    reason = form.get("reason", "").strip() or None
    wanted = PauseRequest(scope.kind.value, seconds=seconds, reason=reason)
    _name(wanted, scope)
    await ask(request, wanted)
    return f"{_back(scope)}?said=paused"


async def _resume(request: Request) -> Action:
    scope = _scope(request)
    subject = await _subject(request, scope)
    effects = [f"The pause of {subject} ends: what is due starts again."]
    return Action(f"End the pause of {subject}?", "End the pause", effects, _back(scope))


async def _do_resume(request: Request, form: Form) -> str:
    scope = _scope(request)
    wanted = ResumeRequest(scope.kind.value)
    _name(wanted, scope)
    await ask(request, wanted)
    return f"{_back(scope)}?said=resumed"


def _name(wanted: PauseRequest | ResumeRequest, scope: Scope) -> None:
    """Name the Job, the user or the pool of a scope in a request."""
    if scope.kind is not ScopeKind.ALL:
        setattr(wanted, scope.kind.value, scope.name)


# ---- Runs


def _to_run(
    question: Callable[[str], Question[Any]], said: str
) -> Callable[[Request, Form], Awaitable[str]]:
    """What the button of an action does to a Run. `said`: which sentence its page shows then."""

    async def do(request: Request, _form: Form) -> str:
        run = request.path_params["run"]
        await ask(request, question(run))
        return f"/runs/{run}?said={said}"

    return do


async def _found(request: Request) -> RunAnswer:
    return await ask(request, RunRequest(request.path_params["run"]))


async def _kill(request: Request) -> Action:
    answer = await _found(request)
    row, run = answer["row"], request.path_params["run"]
    if row["outcome"] is not None:
        raise HTTPException(409, f"{run} has ended: {row['outcome']}")
    attempts = answer["attempts"]
    if attempts and attempts[-1]["ended"] is None:
        effects = [
            "All processes of the command get SIGTERM. What is left after CRON_KILL_AFTER (10 s,"
            " if the entry does not say otherwise) gets SIGKILL.",
            "The Run is not tried again. Later Runs of the Job are not affected.",
        ]
    else:
        effects = ["The Run waits, and will not start. Later Runs of the Job are not affected."]
    return Action(f"Kill this Run of {row['job']}?", "Kill it", effects, f"/runs/{run}",
                  row["command"], ends=True)  # fmt: skip


async def _redrive(request: Request) -> Action:
    answer = await _found(request)
    row, run = answer["row"], request.path_params["run"]
    effects = [
        f"The command is started again, as {row['user']}, as attempt {row['attempts'] + 1} of the"
        " same Run: it gets the same CRON_RUN_ID.",
        "If it succeeds, Jobs that follow it (@after) and were skipped are taken up.",
    ]
    return Action(f"Try {row['job']} again?", "Try it again", effects, f"/runs/{run}",
                  row["command"])  # fmt: skip


async def _drop(request: Request) -> Action:
    row, run = (await _found(request))["row"], request.path_params["run"]
    effects = ["The Run is no dead letter any more. It stays in the history, with its output."]
    return Action(f"Give up this Run of {row['job']}?", "Give it up", effects, f"/runs/{run}",
                  row["command"], ends=True)  # fmt: skip
