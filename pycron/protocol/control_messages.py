"""Requests on the control socket: one dataclass for each verb.

A request is one JSON object on a line: its `verb`, and the fields of its dataclass as keys. The
answer is one JSON object too: `ok`, and either the keys of the TypedDict that `answer` names or, if
`ok` is false, `error`.

Old clients speak to new daemons and the reverse. So a field keeps its name and its meaning, a new
field has a default, and the daemon passes over unknown keys. Instants are UTC seconds, durations
are seconds.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, Protocol, TypeVar, cast, dataclass_transform

from pycron.protocol.control_answers import (
    CalendarAnswer,
    DropAnswer,
    HealthAnswer,
    JobsAnswer,
    KillAnswer,
    OutputAnswer,
    PauseAnswer,
    PausesAnswer,
    ProblemsAnswer,
    RedriveAnswer,
    RefusedAnswer,
    ReloadAnswer,
    RunAnswer,
    RunsAnswer,
    StartAnswer,
    StatusAnswer,
    TestMailAnswer,
    TopAnswer,
    WhyAnswer,
)
from pycron.protocol.control_checks import DURATION, RULE_OF_TYPE, TABLE_TEXT, TIME, Rule
from pycron.protocol.table_answers import (
    DeleteAnswer,
    InstallAnswer,
    TableAnswer,
    VersionAnswer,
    VersionsAnswer,
)

R = TypeVar("R", bound="type[Any]")
A_co = TypeVar("A_co", covariant=True)


class BadRequest(Exception):
    """A request with an unknown verb, or with a field that is missing or of the wrong type."""


class Request(Protocol[A_co]):
    """A dataclass whose fields are the keys of the JSON object."""

    verb: ClassVar[str]

    @property
    def answer(self) -> type[A_co]:
        """The TypedDict of its answer."""


REQUESTS: dict[str, type[Request[Mapping[str, object]]]] = {}


def _checked_by(rule: Rule, **default: Any) -> Any:
    """A field with a rule of its own; the type of the others says which rule they have."""
    return field(metadata={"rule": rule}, **default)


@dataclass_transform(field_specifiers=(_checked_by,))
def _request(request: R) -> R:
    """Make a dataclass of the class of a request, and register its verb."""
    dataclass(repr=False, eq=False)(request)
    REQUESTS[request.verb] = request
    return request


def parse_request(message: Mapping[str, object], version: str) -> Request[Mapping[str, object]]:
    """The request in a JSON object; null stands for the default. Raises BadRequest.

    `version`: the daemon's, for a client that knows more verbs.
    """
    verb = message.get("verb")
    request = REQUESTS.get(verb) if isinstance(verb, str) else None
    if request is None:
        raise BadRequest(f'unknown verb: "{verb}" (pycron {version})')
    values = {}
    for each in fields(cast(Any, request)):
        value = message.get(each.name)
        rule = each.metadata.get("rule") or RULE_OF_TYPE[each.type]
        if value is None and each.default is not MISSING:
            continue
        if not rule.accepts(value):
            raise BadRequest(f"bad {each.name} ({rule.words})")
        values[each.name] = value
    return request(**values)


def request_message(request: Request[object]) -> dict[str, object]:
    """The JSON object of a request."""
    names = [each.name for each in fields(cast(Any, request))]
    return {"verb": request.verb, **{name: getattr(request, name) for name in names}}


# ---- requests: what dataclass() adds by default would take 17 of the 100 ms that pycrontab needs


@_request
class StatusRequest:
    """How the daemon is."""

    verb: ClassVar = "status"
    answer: ClassVar = StatusAnswer


@_request
class HealthRequest:
    """Whether something is wrong with the daemon; with `ask`, the runner gets something to read."""

    verb: ClassVar = "health"
    answer: ClassVar = HealthAnswer
    ask: bool = False


@_request
class JobsRequest:
    """The Jobs that the user may see, from number `first` on."""

    verb: ClassVar = "jobs"
    answer: ClassVar = JobsAnswer
    first: int = 0


@_request
class CalendarRequest:
    """The days of a calendar of the configuration in a year."""

    verb: ClassVar = "calendar"
    answer: ClassVar = CalendarAnswer
    name: str = ""
    year: int = 1970


@_request
class RunsRequest:
    """Runs, newest first. `since` (inclusive) and `until` (exclusive) limit the fire time.

    `outcome`: one, or several with commas; an older daemon knows only one, and refuses several.
    `deliveries`: only deliveries. Without it, and without `job` and `dead`, all other Runs. `one`:
    of the Jobs that are called `job` only one is meant; the request is refused if it is not clear
    which one.
    """

    verb: ClassVar = "runs"
    answer: ClassVar = RunsAnswer
    limit: int = 20
    before: int | None = None
    job: str | None = None
    user: str | None = None
    outcome: str | None = None
    since: int | None = None
    until: int | None = None
    dead: bool = False
    deliveries: bool = False
    one: bool = False


@_request
class RefusedRequest:
    """Ranges of fire times that got no Run, newest first; of a user, of a time."""

    verb: ClassVar = "refused"
    answer: ClassVar = RefusedAnswer
    limit: int = 20
    user: str | None = None
    since: int | None = None
    until: int | None = None


@_request
class RunRequest:
    """One Run and its Attempts."""

    verb: ClassVar = "run"
    answer: ClassVar = RunAnswer
    run_id: str = ""


@_request
class OutputRequest:
    """Output of an Attempt (None: the last one) from byte `offset` on.

    `follow`: an Attempt that does not exist yet has printed nothing; it is no error.
    """

    verb: ClassVar = "output"
    answer: ClassVar = OutputAnswer
    run_id: str = ""
    attempt: int | None = None
    offset: int = 0
    follow: bool = False


@_request
class ProblemsRequest:
    """Ask for the problems of the tables."""

    verb: ClassVar = "problems"
    answer: ClassVar = ProblemsAnswer


@_request
class WhyRequest:
    """Ask what happened to a Job at a time. `wall`: a time of the clock in the Job's zone."""

    verb: ClassVar = "why"
    answer: ClassVar = WhyAnswer
    time: int = _checked_by(TIME)
    job: str = ""
    wall: bool = False


@_request
class TopRequest:
    """Ask what runs, waits and comes next; at most `limit` of each."""

    verb: ClassVar = "top"
    answer: ClassVar = TopAnswer
    limit: int = 50


@_request
class PausesRequest:
    """The pauses that the user may see."""

    verb: ClassVar = "pauses"
    answer: ClassVar = PausesAnswer


@_request
class StartRequest:
    """Start a Job now. `force`: regardless of limits, policies and pauses."""

    verb: ClassVar = "start"
    answer: ClassVar = StartAnswer
    job: str = ""
    force: bool = False


@_request
class ReloadRequest:
    """Read the configuration and all tables again."""

    verb: ClassVar = "reload"
    answer: ClassVar = ReloadAnswer


@_request
class TestMailRequest:
    """Send a mail to a user (None: the one who asks) to try out whether it arrives."""

    verb: ClassVar = "test-mail"
    answer: ClassVar = TestMailAnswer
    user: str | None = None


@_request
class KillRequest:
    """End a Run, or all Runs of a Job. `kill_after`: seconds from TERM to KILL.

    `everything`: end all running commands that the peer may end; `run_id` is empty.
    """

    verb: ClassVar = "kill"
    answer: ClassVar = KillAnswer
    run_id: str = ""
    everything: bool = False
    kill_after: int | None = _checked_by(DURATION, default=None)


@_request
class PauseRequest:
    """Start nothing in a scope: `all`, or the `job`, `user` or `pool` of the field of that name.

    `seconds`: for how long; None means until it is resumed.
    """

    verb: ClassVar = "pause"
    answer: ClassVar = PauseAnswer
    scope: str = ""
    job: str = ""
    user: str = ""
    pool: str = ""
    seconds: int | None = _checked_by(DURATION, default=None)
    reason: str | None = None


@_request
class ResumeRequest:
    """End the pause of a scope, which is named as in PauseRequest."""

    verb: ClassVar = "resume"
    answer: ClassVar = PauseAnswer
    scope: str = ""
    job: str = ""
    user: str = ""
    pool: str = ""


@_request
class RedriveRequest:
    """Try a dead letter again."""

    verb: ClassVar = "redrive"
    answer: ClassVar = RedriveAnswer
    run_id: str = ""


@_request
class DropRequest:
    """Give a dead letter up."""

    verb: ClassVar = "drop"
    answer: ClassVar = DropAnswer
    run_id: str = ""


@_request
class TableRequest:
    """The text of a user's table; `user` None: the one who asks."""

    verb: ClassVar = "table"
    answer: ClassVar = TableAnswer
    user: str | None = None


@_request
class InstallRequest:
    """Replace a user's table. `origin`: where the text comes from (edit, file or stdin)."""

    verb: ClassVar = "install"
    answer: ClassVar = InstallAnswer
    text: str = _checked_by(TABLE_TEXT)
    user: str | None = None
    origin: str = ""


@_request
class DeleteRequest:
    """Delete a user's table."""

    verb: ClassVar = "delete"
    answer: ClassVar = DeleteAnswer
    user: str | None = None


@_request
class VersionsRequest:
    """The last versions of a user's table."""

    verb: ClassVar = "versions"
    answer: ClassVar = VersionsAnswer
    user: str | None = None


@_request
class VersionRequest:
    """The text of one version of a user's table."""

    verb: ClassVar = "version"
    answer: ClassVar = VersionAnswer
    number: int = 0
    user: str | None = None


@_request
class RestoreRequest:
    """Install a version of a user's table again."""

    verb: ClassVar = "restore"
    answer: ClassVar = InstallAnswer
    number: int = 0
    user: str | None = None
