"""Those who wait to hear whether a shared Run was told to end, on whatever host it is."""

from typing import Any

from pycron.control.channel import Channel
from pycron.control.server import refusal
from pycron.model.shared import SharedKey
from pycron.protocol.control_answers import KillAnswer
from pycron.protocol.framing import Message


class RemoteKills:
    def __init__(self) -> None:
        self._waiting: dict[SharedKey, list[tuple[Channel[KillAnswer], Message]]] = {}

    def wait(self, shared: SharedKey, answer: Message) -> Channel[KillAnswer]:
        """Somebody waits. `answer`: what they hear if the Run is told to end."""
        channel: Channel[KillAnswer] = Channel(lambda each: self._forget(shared, each))
        self._waiting.setdefault(shared, []).append((channel, answer))
        return channel

    def told(self, shared: SharedKey, *, done: bool) -> None:
        """The database has been asked. `done`: the Run had not ended."""
        for channel, answer in self._waiting.pop(shared, []):
            ended = refusal("the database of the cluster has no such run that has not ended")
            channel.say(answer if done else ended, last=True)

    def fail(self) -> None:
        """There will be no answers."""
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            for channel, _ in each:
                channel.say(refusal("the database of the cluster cannot be asked"), last=True)

    def _forget(self, shared: SharedKey, channel: Channel[Any]) -> None:
        left = [each for each in self._waiting.get(shared, []) if each[0] is not channel]
        if left:
            self._waiting[shared] = left
        else:
            self._waiting.pop(shared, None)
