"""`pycron resume`: end a pause."""

import argparse

from pycron.cli.arguments import add_scope, no_scope, scope_kind
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.protocol.control_messages import ResumeRequest


@verb("resume", "End a pause.", add_scope)
def resume(options: argparse.Namespace) -> None:
    kind = scope_kind(options)
    if kind is None:
        raise no_scope("resume")
    request = ResumeRequest(kind, options.job or "", options.owner or "", options.pool or "")
    answer = client_for(options).request(request)
    if options.json:
        print_json([answer["row"]])
