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
)
from pycron.control.access import Refusal
from pycron.control.context import Context
from pycron.control.handlers import HANDLERS
from pycron.control.rows import problem_rows
from pycron.control.server import Peer, refusal
from pycron.model.steps import Steps
from pycron.ports import StoreFailure, TableFailure
from pycron.protocol.control_messages import BadRequest, parse_request
from pycron.protocol.framing import Message


@dataclass(frozen=True, slots=True)
class Service:
    """Answers requests with the handler of their type."""

    context: Context

    def answer(self, peer: Peer, message: Message) -> Steps[Message]:
        """The answer to a message; a refusal if the message or its sender may not get one."""
        try:
            request = parse_request(message, __version__)
            answer = HANDLERS[type(request)](self.context, peer, request)
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
