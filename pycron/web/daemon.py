"""Questions to the daemon, from the event loop of the page.

Each question has a connection of its own, in a thread. Few are asked at once, so that the page
takes few of the connections that the daemon allows a user.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, cast

import anyio
import anyio.to_thread

from pycron.control.client import ControlClient
from pycron.protocol.control_messages import Request
from pycron.protocol.web_messages import CHANGES
from pycron.web.access.visitor import Visitor

A = TypeVar("A")

_AT_ONCE = 8  # questions; the daemon allows a user 16 connections
_MOST_WAITING = 200  # questions that wait for their turn


class Busy(Exception):
    """Too many questions wait already."""


class NotAllowed(Exception):
    """The visitor may only look at things."""


@dataclass(slots=True)
class Daemon:
    """`connect`: makes a connection to the daemon; raises ControlError.

    `acts_for_others`: the page speaks on behalf of the visitor, else with the rights of its own
    user, who is the only visitor then. `say`: writes a line to the log of the page.
    """

    connect: Callable[[], ControlClient]
    acts_for_others: bool = False
    say: Callable[[str], None] = lambda _: None
    _room: anyio.CapacityLimiter = field(init=False)
    _asked: int = 0  # questions that run or wait

    def __post_init__(self) -> None:
        self._room = anyio.CapacityLimiter(_AT_ONCE)

    async def ask(self, visitor: Visitor | None, request: Request[A]) -> A:
        """The daemon's answer to a visitor; None: to the page itself.

        Raises ControlError, as ControlClient.request does, Busy and NotAllowed. A change is logged.
        """
        changes = request.verb in CHANGES
        if changes and (visitor is None or not visitor.may_change):
            raise NotAllowed("you may only look at things here")
        user = visitor.user if visitor and self.acts_for_others else None
        answer = await self._in_thread(user, request)
        if changes and visitor is not None:
            self.say(f"{visitor.user} ({visitor.login}): {_in_words(request)}")
        return answer

    async def _in_thread(self, user: str | None, request: Request[A]) -> A:
        """Ask in a thread. A browser that goes away does not free the place of its question."""
        if self._asked >= _AT_ONCE + _MOST_WAITING:
            raise Busy("the page is busy; try again in a moment")
        self._asked += 1
        try:
            return await anyio.to_thread.run_sync(self._ask, user, request, limiter=self._room)
        finally:
            self._asked -= 1

    def _ask(self, user: str | None, request: Request[A]) -> A:
        client = self.connect()
        try:
            client.on_behalf_of = user
            return client.request(request)
        finally:
            client.close()


def _in_words(request: Request[object]) -> str:
    """The verb and the fields that are set: `start job=backup`."""
    values = {each.name: getattr(request, each.name) for each in fields(cast(Any, request))}
    given = (f"{name}={value}" for name, value in values.items() if value)
    return " ".join((request.verb, *given))
