"""Collects the actions of one event, in their order. Pure."""

from pycron.cluster import messages
from pycron.cluster.calls import Call, Publication
from pycron.cluster.events import Action, Exit, Lane, Perform, Send, Tell, Write
from pycron.protocol.cluster_messages import ClusterAgentMessage
from pycron.system.lease_file import Lease


class Out:
    """What is to be done when the event has been dealt with."""

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def take(self) -> list[Action]:
        """All that was collected since the last call."""
        actions, self._actions = self._actions, []
        return actions

    def perform(self, lane: Lane, call: Call) -> None:
        self._actions.append(Perform(lane, call))

    def tell(self, message: ClusterAgentMessage) -> None:
        self._actions.append(Tell(message))

    def log(self, level: str, text: str) -> None:
        self._actions.append(Tell(messages.log(level, text)))

    def write(self, lease: Lease) -> None:
        self._actions.append(Write(lease))

    def send(self, publications: tuple[Publication, ...]) -> None:
        self._actions.append(Send(publications))

    def exit(self, reason: str) -> None:
        self._actions.append(Exit(reason))
