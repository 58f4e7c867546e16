"""`pycron reload`: read the configuration and all tables again."""

import argparse

from pycron.cli.arguments import add_quiet, say
from pycron.cli.daemon_choice import client_for
from pycron.cli.done import reloaded
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.protocol.control_messages import ReloadRequest

_PATIENCE = 600.0  # seconds: large tables take their time


@verb("reload", "Read the configuration and all tables again.", add_quiet)
def reload(options: argparse.Namespace) -> None:
    answer = client_for(options, _PATIENCE).request(ReloadRequest())
    if options.json:
        print_json([answer])
    say(options, reloaded(answer))
