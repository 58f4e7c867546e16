"""What `pycron worker` asks of the daemon of its host; see control_messages.py for the rules.

Both requests get more than one answer: the connection stays theirs until the daemon has said the
last one, or the worker closes it. Each worker has one connection for `serve`, and one for each Run
that it works on. If the daemon ends meanwhile, the command goes on: the worker connects again, and
asks with `resume`.
"""

from typing import ClassVar, NotRequired, TypedDict

from pycron.protocol.control_messages import request

# Values of WorkAnswer.type and ServeAnswer.type.
TAKEN = "taken"
DONE = "done"
REFUSED = "refused"
SERVING = "serving"


class WorkAnswer(TypedDict):
    """What became of the Run.

    `taken`: this host has the Attempt (`run_id`, `attempt`); the next answer comes when it has
    ended. `done`: it has (`outcome`, `reason`); the last answer. `refused`: it is not started here
    (`reason`); the last answer. `again`: only for now: ask again in a second, for a minute; after
    that the message can be dropped, because the Run will be published again.
    """

    type: str
    run_id: NotRequired[str]
    attempt: NotRequired[int]
    outcome: NotRequired[str]
    reason: NotRequired[str | None]
    again: NotRequired[bool]


@request
class WorkRequest:
    """A message of the broker: a Run of a queue Job waits for the Attempt after `attempt`.

    The fields are those of the message. `queue`: the one that the message was taken from. `resume`:
    the Attempt was taken before, and the connection to the daemon was lost: without it, an Attempt
    that runs here already is refused.
    """

    verb: ClassVar = "work"
    answer: ClassVar = WorkAnswer
    cluster: str = ""
    owner: str = ""
    name: str = ""
    fire_time: int = 0
    attempt: int = 0
    queue: str = ""
    resume: bool = False


class ServeAnswer(TypedDict):
    """`serving`: these are the queues that the worker may take messages from, as [worker] says.

    It is the first answer, and another one follows when the configuration has changed. `refused`:
    those that were asked for and that it may not serve. `reason`: why there is none at present.
    `cluster`, `broker`: cluster.name and cluster.broker, so that a worker need not be able to read
    the configuration.
    """

    type: str
    queues: list[str]
    refused: list[str]
    reason: NotRequired[str | None]
    cluster: NotRequired[str | None]
    broker: NotRequired[str | None]


@request
class ServeRequest:
    """A worker is there, as long as the connection lasts: it serves these queues.

    `queues`: names with commas. `version`: of the worker. `slots`: how many Runs it takes at once.
    """

    verb: ClassVar = "serve"
    answer: ClassVar = ServeAnswer
    queues: str = ""
    version: str = ""
    slots: int = 1
