"""`pycron resume`: end a pause."""

import argparse

from pycron.cli.arguments import add_quiet, add_scope, no_scope, say, scope_kind
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.done import resumed
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.protocol.control_messages import ResumeRequest


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_scope(parser)
    add_quiet(parser)


@verb("resume", "End a pause.", _arguments)
def resume(options: argparse.Namespace) -> None:
    kind = scope_kind(options)
    if kind is None:
        raise no_scope("resume")
    request = ResumeRequest(kind, options.job or "", options.owner or "", options.pool or "")
    answer = client_for(options).request(request)
    if options.json:
        print_json([answer["row"]])
    say(options, resumed(answer["row"], answer.get("others", []), clock_for(options)))
