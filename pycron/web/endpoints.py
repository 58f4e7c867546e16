"""The endpoints of /api/v1: which question each asks the daemon.

A parameter has the name, the type and the meaning of a field of the question, as
protocol/control_messages.py describes them. The answer is the daemon's: its rows are what `--json`
prints.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, cast

from pycron.control.shown import ShownRun, ShownStatus, shown_run, shown_status
from pycron.model.pause import ScopeKind
from pycron.protocol.control_messages import (
    DropRequest,
    JobsRequest,
    KillRequest,
    NextRequest,
    PauseRequest,
    PausesRequest,
    ProblemsRequest,
    RedriveRequest,
    RefusedRequest,
    Request,
    ResumeRequest,
    RunRequest,
    RunsRequest,
    StartRequest,
    StatusRequest,
    TopRequest,
    WhyRequest,
)
from pycron.protocol.output_messages import SearchRequest

Values = Mapping[str, object]


class BadParameter(Exception):
    """A parameter that there is not, that is missing, or that has the wrong type."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path`: below /api/v1, with the fields that it contains. `says`: what it is for.

    `fixed`: fields that no parameter sets. `defaults`: of fields whose default differs from that of
    the question. `renamed`: the names of parameters that differ from those of their fields.
    `shown`: makes of the daemon's answer what is answered, which is of the type `shown_as`; without
    it, the answer is the daemon's.
    """

    method: str
    path: str
    request: type[Any]
    says: str
    fixed: Values = field(default_factory=lambda: MappingProxyType({}))
    defaults: Values = field(default_factory=lambda: MappingProxyType({}))
    renamed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    shown: Callable[[Any], object] | None = None
    shown_as: type[Any] | None = None

    @property
    def answer(self) -> type[Any]:
        return cast("type[Any]", self.shown_as or self.request.answer)

    def parameters(self) -> dict[str, Any]:
        """The fields that parameters set, by the names of the parameters."""
        names = {name: each for each, name in self.renamed.items()}
        return {
            names.get(each.name, each.name): each
            for each in fields(self.request)
            if each.name not in self.fixed
        }

    def question(self, given: Values) -> Request[Any]:
        """The question with these parameters. Raises BadParameter."""
        known = self.parameters()
        if unknown := sorted(set(given) - set(known)):
            names = ", ".join(sorted(known)) or "none"
            raise BadParameter(f'unknown parameter: "{unknown[0]}" (known: {names})')
        values = {known[name].name: value for name, value in given.items()}
        missing = [
            name for name, each in known.items()
            if each.default is MISSING and each.name not in values
        ]  # fmt: skip
        if missing:
            raise BadParameter(f"missing parameter: {missing[0]}")
        return cast("Request[Any]", self.request(**{**self.defaults, **self.fixed, **values}))


_OWNER = {"owner": "user"}


def _get(path: str, request: type[Any], says: str, **more: Any) -> Endpoint:
    return Endpoint("GET", path, request, says, **more)


def _post(path: str, request: type[Any], says: str, **more: Any) -> Endpoint:
    return Endpoint("POST", path, request, says, **more)


ENDPOINTS = (
    _get("/status", StatusRequest, "How the daemon is.", shown=shown_status, shown_as=ShownStatus),
    _get("/jobs", JobsRequest, "The Jobs, a page of them; `position` leads to the next page.",
         fixed={"details": True, "first": 0}, defaults={"position": 0, "limit": 100},
         renamed=_OWNER),
    _get("/jobs/{job}/why", WhyRequest, "What happened to a Job at a time."),
    _post("/jobs/{job}/start", StartRequest, "Start a Job now."),
    _post("/jobs/{job}/pause", PauseRequest, "Start nothing of a Job.",
          fixed={"scope": ScopeKind.JOB, "user": "", "pool": ""}),
    _post("/jobs/{job}/resume", ResumeRequest, "End the pause of a Job.",
          fixed={"scope": ScopeKind.JOB, "user": "", "pool": ""}),
    _get("/runs", RunsRequest, "Runs, newest first; `before` leads to the next page.",
         renamed=_OWNER),
    _get("/runs/{run_id}", RunRequest, "One Run and its Attempts.", shown=shown_run,
         shown_as=ShownRun),
    _post("/runs/{run_id}/kill", KillRequest, "End a Run with all its processes.",
          fixed={"everything": False}),
    _post("/runs/{run_id}/redrive", RedriveRequest, "Try a dead letter again."),
    _post("/runs/{run_id}/drop", DropRequest, "Give a dead letter up."),
    _get("/dead", RunsRequest, "The dead letters, newest first.", fixed={"dead": True},
         renamed=_OWNER),
    _get("/refused", RefusedRequest, "Fire times that got no Run.", renamed=_OWNER),
    _get("/search", SearchRequest, "Lines of output that contain a text."),
    _get("/next", NextRequest, "The next fire times."),
    _get("/top", TopRequest, "What runs, what waits and why, and what comes next."),
    _get("/pauses", PausesRequest, "The pauses."),
    _get("/problems", ProblemsRequest, "The problems of the tables."),
)  # fmt: skip
