"""The messages between pycrond and the agent (pycron/cluster), and the checks of each message.

A message is one JSON object on a line (framing.py); each class here describes one. The agent
outlives the daemon, as the runner does, so both begin with a hello that has their protocol version.
Unknown types and unknown keys are passed over. The agent's socket takes one daemon at a time.

* The daemon says hello, the agent answers with its own hello and, at once and after each change,
  with `status`.
* Each `ask` and each `accept` gets exactly one answer while the connection lasts: `held`,
  `settled` or `later`. While the database cannot be reached there is no answer. A lost connection
  ends all questions; the next daemon asks again, and gets the same answer if the row exists.
* `held` also comes without a question: for each row that this host holds, once in each connection.
  An Attempt that the daemon does not know was never started: it starts it, or finishes it as
  missed. One that it knows as running needs nothing; one that has ended is finished (again).
* A queue Job's Run begins with an `ask`, too, which is `settled`: it waits for a worker. A worker
  that has heard of it makes the daemon of its host `take` it; the answer is `held`, with all that
  is needed to run it, or `untaken`.
* `finish` is sent until `finished` has come, in every connection anew.
* `alive` comes at least every ALIVE_EVERY seconds, only if the runner has answered a ping within
  RUNNER_SILENCE seconds. The agent stops renewing DAEMON_SILENCE seconds after the last one. A
  hello is the first one.

Instants are UTC seconds, durations are seconds.
"""

from typing import Any, Literal, NotRequired, TypedDict, cast, get_args

from pycron.protocol.cluster_checks import check_object
from pycron.protocol.cluster_parts import LONGEST_SPEC as LONGEST_SPEC
from pycron.protocol.cluster_parts import EntryPart as EntryPart
from pycron.protocol.cluster_parts import Output as Output
from pycron.protocol.cluster_parts import QueuePart as QueuePart
from pycron.protocol.cluster_parts import RedrivePart as RedrivePart
from pycron.protocol.cluster_parts import ResultPart as ResultPart
from pycron.protocol.cluster_parts import RetryPart as RetryPart
from pycron.protocol.cluster_parts import SharedRun as SharedRun
from pycron.protocol.cluster_parts import Spec as Spec
from pycron.protocol.cluster_parts import Terms as Terms
from pycron.protocol.cluster_parts import WorkerPart as WorkerPart
from pycron.protocol.framing import Message

CLUSTER_PROTOCOL = 2  # 2: queues
ALIVE_EVERY = 10.0  # seconds
RUNNER_SILENCE = 60.0  # seconds
DAEMON_SILENCE = 60.0  # seconds: A of the design
MOST_BYTES = 64 * 2**20  # of a message: a hello can name thousands of pools
CONCURRENCY = ("allow", "forbid", "replace", "queue")
LEVELS = ("info", "warning", "error")


# ---- from the daemon to the agent


class DaemonHello(TypedDict):
    """The first message of a daemon: all of the agent's configuration.

    `database`: a connection string of libpq. `lease`: seconds, L of the design. `lease_file`: its
    path; its directory exists and the agent may write there. `store`: the id of the daemon's store.
    `pools`: the limits of `[cluster.pools]`. `broker`: its URL; without it nothing is published.
    `version`, `tzdata`, `tables`, `workers`: see FactsMessage. An agent that has another cluster,
    database, host, lease, lease_file, store or broker already exits, and the daemon starts a new
    one.
    """

    type: Literal["hello"]
    protocol: int
    cluster: str
    database: str
    host: str
    lease: float
    lease_file: str
    store: str
    pools: dict[str, int]
    version: str
    tzdata: str
    tables: str
    broker: NotRequired[str]
    workers: NotRequired[list[WorkerPart]]


class FactsMessage(TypedDict):
    """What `pycron cluster status` compares between hosts has changed.

    `version`: of pycron. `tzdata`: the release of the zones. `tables`: a hash of all shared
    entries. `pools`: as in the hello. `workers`: those of this host.
    """

    type: Literal["facts"]
    version: str
    tzdata: str
    tables: str
    pools: dict[str, int]
    workers: NotRequired[list[WorkerPart]]


class AskMessage(TypedDict):
    """A fire time of a shared Job has come, and this machine has room for its Run.

    The agent waits a second with the question if another host is to ask first.
    """

    type: Literal["ask"]
    run: SharedRun
    terms: Terms


class AcceptMessage(TypedDict):
    """The answer to an offer: this machine has the entry, and room. No answer: not now.

    `attempt`: as in the offer.
    """

    type: Literal["accept"]
    run: SharedRun
    attempt: int
    terms: Terms


class TakeMessage(TypedDict):
    """A worker has heard of a Run in a queue, and this machine has room for it.

    `attempt`: the Run waits for the one after it. `version`: of the newest QueueJob that this
    daemon can read.
    """

    type: Literal["take"]
    run: SharedRun
    attempt: int
    queue: str
    version: int


class RefuseMessage(TypedDict):
    """A worker has heard of a Run that this host does not take: `reason`, for people."""

    type: Literal["refuse"]
    run: SharedRun
    attempt: int
    reason: str


class KillMessage(TypedDict):
    """Somebody wants a Run to end, wherever it is. `by`: who."""

    type: Literal["kill"]
    run: SharedRun
    by: str


class FinishMessage(TypedDict):
    """An Attempt has ended, and the store has its outcome.

    `incarnation`: the one that the Attempt was held by. `outcome`: a word of model.run.Outcome.
    `retry_in`: seconds to the next Attempt; None if none is due. `output`: the end of what it has
    printed, in base64.
    """

    type: Literal["finish"]
    run: SharedRun
    attempt: int
    incarnation: str
    outcome: str
    reason: str | None
    retry_in: float | None
    result: NotRequired[ResultPart]
    output: NotRequired[Output]


class AliveMessage(TypedDict):
    """The daemon works, and so does the runner."""

    type: Literal["alive"]


class ByeMessage(TypedDict):
    """The daemon ends in good order, and another one will come: the lease goes on for a while."""

    type: Literal["bye"]


class LeaveMessage(TypedDict):
    """No other daemon will come, and nothing shared runs any more.

    The agent hands in what is left to be finished, gives up the name of the host, and exits.
    """

    type: Literal["leave"]


ClusterDaemonMessage = (
    DaemonHello | FactsMessage | AskMessage | AcceptMessage | TakeMessage | RefuseMessage
    | KillMessage | FinishMessage | AliveMessage | ByeMessage | LeaveMessage
)  # fmt: skip

# ---- from the agent to the daemon


class AgentHello(TypedDict):
    """The first message of an agent. `pid`: of its process."""

    type: Literal["hello"]
    protocol: int
    pid: int


class StatusMessage(TypedDict):
    """How things are.

    `incarnation`: the live one of this host; None: it is not registered, and gets no Run. `hosts`:
    the names of all live hosts, as last seen. `drained`: this host gets no new Run. `problem`: a
    sentence about why the database, or this host's name, cannot be used; None if all is well.
    `offset`: how far this host's clock is ahead of the database's, in seconds. `broker`: a sentence
    about why nothing can be published from here; None if all is well, or there is no broker.
    `served`: the queues that workers of live hosts serve.
    """

    type: Literal["status"]
    incarnation: str | None
    hosts: list[str]
    drained: bool
    problem: str | None
    offset: float
    broker: NotRequired[str | None]
    served: NotRequired[list[str]]


class HeldMessage(TypedDict):
    """This host holds the row: Attempt `attempt` is to be started, or is known already.

    It answers an open question about the Run. It may be said more than once; the daemon starts an
    Attempt at most once. `queue`: of a queue Job. `spec`: what it needs to run, in the answer to a
    `take`. A daemon that knows nothing of the Attempt and gets no `spec` takes it again.
    `redrive`: the last one of the Run, if there was one.
    """

    type: Literal["held"]
    run: SharedRun
    attempt: int
    incarnation: str
    queue: NotRequired[str]
    spec: NotRequired[Spec]
    redrive: NotRequired[RedrivePart]


class UntakenMessage(TypedDict):
    """The answer to a take: this host is not to start it, as far as this message goes."""

    type: Literal["untaken"]
    run: SharedRun
    attempt: int
    reason: str


class KilledMessage(TypedDict):
    """The answer to a kill. `done`: the Run had not ended."""

    type: Literal["killed"]
    run: SharedRun
    done: bool


class SettledMessage(TypedDict):
    """The answer to an ask (`attempt` is 0) or an accept: this host is not to start it.

    The fire time has its row, or needs none. `holder`: the host that holds the row, if one does.
    `outcome`: of a row that has ended. `reason`: a sentence for `pycron why`.
    """

    type: Literal["settled"]
    run: SharedRun
    attempt: int
    holder: str | None
    outcome: str | None
    reason: str


class LaterMessage(TypedDict):
    """The answer to an ask (`attempt` is 0): ask again in a second. `reason`: for `pycron why`.

    To an accept: nothing was started; there will be a new offer if there is reason for it.
    """

    type: Literal["later"]
    run: SharedRun
    attempt: int
    reason: str


class OfferMessage(TypedDict):
    """A row is due for its next Attempt, after Attempt `attempt`. Repeated while it is due."""

    type: Literal["offer"]
    run: SharedRun
    attempt: int


class StopMessage(TypedDict):
    """An Attempt that this host holds is to be cancelled. `reason`: why, in words."""

    type: Literal["stop"]
    run: SharedRun
    attempt: int
    reason: str


class FinishedMessage(TypedDict):
    """The answer to a finish. `taken`: False if the row says otherwise; `reason`: what it says."""

    type: Literal["finished"]
    run: SharedRun
    attempt: int
    incarnation: str
    taken: bool
    reason: str


class LogMessage(TypedDict):
    """A line for the daemon's log. `level`: one of LEVELS."""

    type: Literal["log"]
    level: str
    text: str


ClusterAgentMessage = (
    StatusMessage | HeldMessage | SettledMessage | LaterMessage | UntakenMessage | OfferMessage
    | StopMessage | FinishedMessage | KilledMessage | LogMessage
)  # fmt: skip

# ---- checks

_CHOICES = {"concurrency": CONCURRENCY, "level": LEVELS}


def daemon_message(message: Message) -> ClusterDaemonMessage | None:
    """A message of the daemon, checked; None if only a newer version knows its type.

    Raises ValueError.
    """
    return cast(ClusterDaemonMessage, message) if _check(message, _OF_DAEMON) else None


def agent_message(message: Message) -> ClusterAgentMessage | None:
    """A message of the agent, checked; None if only a newer version knows its type.

    Raises ValueError.
    """
    return cast(ClusterAgentMessage, message) if _check(message, _OF_AGENT) else None


def agent_hello(message: Message) -> AgentHello:
    """The first message of an agent, checked. Raises ValueError."""
    if not _check(message, {"hello": AgentHello}):
        raise ValueError(f"the first message is no hello: {message['type']!r}")
    return cast(AgentHello, message)


def _check(message: Message, kinds: dict[str, Any]) -> bool:
    """Whether the message is of one of these types; raises ValueError if it is wrong."""
    kind = message.get("type")
    if not isinstance(kind, str):
        raise ValueError(f"bad type of a message: {kind!r}")
    if kind not in kinds:
        return False
    check_object(kind, kinds[kind], message, _CHOICES)
    return True


def _by_type(messages: Any) -> dict[str, Any]:
    return {get_args(each.__annotations__["type"])[0]: each for each in get_args(messages)}


_OF_DAEMON = _by_type(ClusterDaemonMessage)
_OF_AGENT = _by_type(ClusterAgentMessage)
