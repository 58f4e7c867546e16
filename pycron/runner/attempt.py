"""What the runner knows of a command. Imported by the runner: it stays small."""

from pycron.protocol.framing import Message
from pycron.runner.event_loop import NEVER
from pycron.runner.output_capture import OutputCapture
from pycron.runner.process_tree import Tree
from pycron.runner.spawn import Order


class Attempt:
    """A command that was ordered and is not forgotten yet. `ended` is its message, once it is.

    `signals`: what is to be sent as soon as it has a pid. `deadline`: the instant (monotonic) at
    which its time is out. `cause` and `reason`: why it was ended, where it did not end by itself.
    `order`: what is to be started, until it is; `starter`: the pid of the process that is about to
    do that, 0 when none is; `end_order`: the order to end it that has come meanwhile.
    """

    __slots__ = (
        "cause", "deadline", "end_order", "ended", "id", "kill_after", "memory_max", "order",
        "output", "pid", "reason", "report_output", "signals", "started", "starter", "timeout",
        "tree",
    )  # fmt: skip

    def __init__(self, order: Order) -> None:
        self.id: str = order["id"]
        self.report_output: bool = order["report_output"]
        self.timeout: int | None = order["timeout"]
        self.kill_after: int = order["kill_after"]
        self.memory_max: int | None = order["memory_max"]
        self.pid = 0
        self.started = 0.0
        self.deadline = NEVER
        self.signals: tuple[int, ...] = ()
        self.output: OutputCapture | None = None
        self.tree = Tree()
        self.cause: str | None = None
        self.reason: str | None = None
        self.ended: Message | None = None
        self.order: Order | None = order
        self.starter = 0
        self.end_order: Message | None = None

    @property
    def wanted(self) -> Order:
        """What is to be started: of one that isn't yet."""
        assert self.order is not None
        return self.order

    def message(self) -> Message:
        if self.ended is not None:
            return self.ended
        if not self.pid:
            return {"type": "starting", "id": self.id}
        return {"type": "started", "id": self.id, "pid": self.pid, "started": self.started}
