"""Requests on the control socket: one dataclass for each verb; table_messages.py has more.

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
    DropAnswer,
    HealthAnswer,
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
from pycron.protocol.control_checks import DURATION, RULE_OF_TYPE, TIME, Rule
from pycron.protocol.job_answers import CalendarAnswer, JobsAnswer, NextAnswer
from pycron.protocol.metrics_answer import MetricsAnswer

# The key, in any request, of the user for whom the account of the page asks. An older daemon passes
# over it, and answers what that account may see: nothing of others.
ON_BEHALF_OF = "on_behalf_of"

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


def checked_by(rule: Rule, **default: Any) -> Any:
    """A field with a rule of its own; the type of the others says which rule they have."""
    return field(metadata={"rule": rule}, **default)


@dataclass_transform(field_specifiers=(checked_by,))
def request(of_verb: R) -> R:
    """Make a dataclass of the class of a request, and register its verb."""
    dataclass(repr=False, eq=False)(of_verb)
    REQUESTS[of_verb.verb] = of_verb
    return of_verb


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


@request
class StatusRequest:
    """How the daemon is."""

    verb: ClassVar = "status"
    answer: ClassVar = StatusAnswer


@request
class HealthRequest:
    """Whether something is wrong with the daemon; with `ask`, the runner gets something to read."""

    verb: ClassVar = "health"
    answer: ClassVar = HealthAnswer
    ask: bool = False


@request
class MetricsRequest:
    """What has been counted since the database was made, and what runs and waits now."""

    verb: ClassVar = "metrics"
    answer: ClassVar = MetricsAnswer


@request
class JobsRequest:
    """The Jobs that the user may see, in the order of table and line, a page of them.

    Those from number `first` on; or those from `position` in the list of all users' Jobs on, which
    costs the same however many come before. `details`: what is known of their Runs. `user`: whose
    Jobs. `match`: a text that their name or command contains, in capital or small letters.
    `failed`: those whose last Run did not succeed. `outcome`: those whose last Run that has ended
    has this outcome, or one of several with commas. `job`: those of this name or id. `limit`: of
    rows from a `position` on; an older daemon answers pages of its own size. A hundred times as
    many Jobs are looked at, at most; twenty times as many with `failed` or `outcome`. `recent`:
    with the details of each Job, so many of its last Runs.
    """

    verb: ClassVar = "jobs"
    answer: ClassVar = JobsAnswer
    first: int = 0
    position: int | None = None
    details: bool = False
    user: str | None = None
    match: str | None = None
    failed: bool = False
    job: str | None = None
    outcome: str | None = None
    limit: int = 500
    recent: int = 0


@request
class NextRequest:
    """The next `count` fire times from `start` on (None: now), of all Jobs or of a `job`.

    There are fewer if they are more than twenty years ahead.
    """

    verb: ClassVar = "next"
    answer: ClassVar = NextAnswer
    count: int = 10
    start: int | None = None
    job: str | None = None


@request
class CalendarRequest:
    """The days of a calendar of the configuration in a year."""

    verb: ClassVar = "calendar"
    answer: ClassVar = CalendarAnswer
    name: str = ""
    year: int = 1970


@request
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


@request
class RefusedRequest:
    """Ranges of fire times that got no Run, newest first; of a user, of a time."""

    verb: ClassVar = "refused"
    answer: ClassVar = RefusedAnswer
    limit: int = 20
    user: str | None = None
    since: int | None = None
    until: int | None = None


@request
class RunRequest:
    """One Run and its Attempts."""

    verb: ClassVar = "run"
    answer: ClassVar = RunAnswer
    run_id: str = ""


@request
class OutputRequest:
    """Output of an Attempt (None: the last one) from byte `offset` on.

    `follow`: an Attempt that does not exist yet has printed nothing; it is no error. `tail`: only
    the last bytes, so many of them.
    """

    verb: ClassVar = "output"
    answer: ClassVar = OutputAnswer
    run_id: str = ""
    attempt: int | None = None
    offset: int = 0
    follow: bool = False
    tail: int | None = None


@request
class ProblemsRequest:
    """Ask for the problems of the tables."""

    verb: ClassVar = "problems"
    answer: ClassVar = ProblemsAnswer


@request
class WhyRequest:
    """Ask what happened to a Job at a time. `wall`: a time of the clock in the Job's zone."""

    verb: ClassVar = "why"
    answer: ClassVar = WhyAnswer
    time: int = checked_by(TIME)
    job: str = ""
    wall: bool = False


@request
class TopRequest:
    """Ask what runs, waits and comes next; at most `limit` of each.

    `usual`: how long the Job of each Run usually takes.
    """

    verb: ClassVar = "top"
    answer: ClassVar = TopAnswer
    limit: int = 50
    usual: bool = False


@request
class PausesRequest:
    """The pauses that the user may see."""

    verb: ClassVar = "pauses"
    answer: ClassVar = PausesAnswer


@request
class StartRequest:
    """Start a Job now. `force`: regardless of limits, policies and pauses."""

    verb: ClassVar = "start"
    answer: ClassVar = StartAnswer
    job: str = ""
    force: bool = False


@request
class ReloadRequest:
    """Read the configuration and all tables again."""

    verb: ClassVar = "reload"
    answer: ClassVar = ReloadAnswer


@request
class TestMailRequest:
    """Send a mail to a user (None: the one who asks) to try out whether it arrives."""

    verb: ClassVar = "test-mail"
    answer: ClassVar = TestMailAnswer
    user: str | None = None


@request
class KillRequest:
    """End a Run, or all Runs of a Job. `kill_after`: seconds from TERM to KILL.

    `everything`: end all running commands that the peer may end; `run_id` is empty.
    """

    verb: ClassVar = "kill"
    answer: ClassVar = KillAnswer
    run_id: str = ""
    everything: bool = False
    kill_after: int | None = checked_by(DURATION, default=None)


@request
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
    seconds: int | None = checked_by(DURATION, default=None)
    reason: str | None = None


@request
class ResumeRequest:
    """End the pause of a scope, which is named as in PauseRequest."""

    verb: ClassVar = "resume"
    answer: ClassVar = PauseAnswer
    scope: str = ""
    job: str = ""
    user: str = ""
    pool: str = ""


@request
class RedriveRequest:
    """Try a dead letter again."""

    verb: ClassVar = "redrive"
    answer: ClassVar = RedriveAnswer
    run_id: str = ""


@request
class DropRequest:
    """Give a dead letter up."""

    verb: ClassVar = "drop"
    answer: ClassVar = DropAnswer
    run_id: str = ""
