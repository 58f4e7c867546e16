"""The answers of pycrond on its control socket.

The modules that are imported here have one handler for each request, by subject. Importing them
registers the handlers.
"""

from collections.abc import Generator
from dataclasses import dataclass

from pycron import __version__
from pycron.control import (  # noqa: F401
    configuration,
    dead_letters,
    diagnosis,
    entry_tests,
    following,
    health,
    jobs,
    mail,
    metrics,
    operations,
    pauses,
    problems,
    questions,
    runs,
    search,
    status,
    user_tables,
    web,
    work,
)
from pycron.control.access import Refusal
from pycron.control.channel import Channel
from pycron.control.context import Context
from pycron.control.handlers import HANDLERS
from pycron.control.rows import problem_rows
from pycron.control.server import Peer, Reply, refusal
from pycron.model.steps import Steps
from pycron.ports import StoreFailure, TableFailure
from pycron.protocol.control_messages import ON_BEHALF_OF, BadRequest, parse_request
from pycron.protocol.framing import Message
from pycron.protocol.web_messages import CHANGES

# The account of the page may ask this on behalf of users, and nothing else: whoever takes over the
# page can neither edit tables nor reload the daemon.
FOR_OTHERS = CHANGES | {
    "status", "health", "jobs", "next", "runs", "run", "output", "refused", "problems", "why",
    "top", "pauses", "metrics", "samples", "starts", "search",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Service:
    """Answers requests with the handler of their type."""

    context: Context

    def answer(self, peer: Peer, message: Message) -> Steps[Reply]:
        """The answer to a message; a refusal if the message or its sender may not get one."""
        try:
            request = parse_request(message, __version__)
            if ON_BEHALF_OF in message:
                if request.verb not in FOR_OTHERS:
                    raise Refusal(
                        f"the page may not ask for that on behalf of a user: {request.verb}"
                    )
                peer = self.context.access.on_behalf(peer, message[ON_BEHALF_OF])
            answer = HANDLERS[type(request)](self.context, peer, request)
            if isinstance(answer, Channel):
                return answer
            return {
                "ok": True,
                **((yield from answer) if isinstance(answer, Generator) else answer),
            }
        except BadRequest as error:
            return refusal(str(error))
        except Refusal as error:
            return refusal(str(error))
        except StoreFailure as error:
            return refusal(f"the history cannot be used: {error}")
        except TableFailure as error:
            more = {"problems": problem_rows(error.problems)} if error.problems else {}
            return refusal(str(error), **more)
