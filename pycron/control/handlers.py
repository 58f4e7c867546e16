"""The registry of handlers: one function for each type of request."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pycron.control.channel import Channel
from pycron.control.context import Context
from pycron.control.server import Peer
from pycron.model.steps import Steps

R = TypeVar("R")
Answer = Mapping[str, object]
A = TypeVar("A", bound=Answer | Channel[Any] | Steps[Any])

HANDLERS: dict[type, Callable[[Context, Peer, Any], Answer | Channel[Any] | Steps[Answer]]] = {}


def handles(
    request: type[R],
) -> Callable[[Callable[[Context, Peer, R], A]], Callable[[Context, Peer, R], A]]:
    """Register the decorated function for requests of this type.

    The function returns the answer of the request, or raises Refusal, StoreFailure or TableFailure.
    A long answer is given in steps, so that other requests are answered meanwhile. An answer of
    several parts is a Channel.
    """

    def register(
        handler: Callable[[Context, Peer, R], A],
    ) -> Callable[[Context, Peer, R], A]:
        HANDLERS[request] = handler
        return handler

    return register
