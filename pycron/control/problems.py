"""`problems`: what is wrong with the tables, and with the configuration."""

from pycron.control.access import user_of
from pycron.control.configuration import config_problems
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.rows import problem_rows
from pycron.control.server import Peer
from pycron.model.problem import Problem
from pycron.protocol.control_answers import ProblemsAnswer
from pycron.protocol.control_messages import ProblemsRequest


@handles(ProblemsRequest)
def problems(context: Context, peer: Peer, _request: ProblemsRequest) -> ProblemsAnswer:
    return {"rows": problem_rows(visible_problems(context, peer))}


def visible_problems(context: Context, peer: Peer) -> list[Problem]:
    """The problems of all tables and of the machine, or those of the peer's own table."""
    found = context.tables.problems()
    if context.access.sees_all(peer):
        return [*config_problems(context), *context.info().other_crons, *found]
    own = user_of(peer)
    return [problem for problem in found if problem.file == own]
