"""The registry of handlers: one function for each type of request."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pycron.control.context import Context
from pycron.control.server import Peer

R = TypeVar("R")
A = TypeVar("A", bound=Mapping[str, object])

HANDLERS: dict[type, Callable[[Context, Peer, Any], Mapping[str, object]]] = {}


def handles(
    request: type[R],
) -> Callable[[Callable[[Context, Peer, R], A]], Callable[[Context, Peer, R], A]]:
    """Register the decorated function for requests of this type.

    The function returns the answer of the request, or raises Refusal, StoreFailure or TableFailure.
    """

    def register(
        handler: Callable[[Context, Peer, R], A],
    ) -> Callable[[Context, Peer, R], A]:
        HANDLERS[request] = handler
        return handler

    return register
