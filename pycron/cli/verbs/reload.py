"""`pycron reload`: read the configuration and all tables again."""

import argparse
from collections.abc import Sequence

from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.protocol.control_messages import ReloadRequest

_PATIENCE = 600.0  # seconds: large tables take their time


@verb("reload", "Read the configuration and all tables again.")
def reload(options: argparse.Namespace) -> None:
    answer = client_for(options, _PATIENCE).request(ReloadRequest())
    if options.json:
        print_json([answer])
        return
    print(f"options changed: {_listed(answer['changed'])}")
    if answer["at_start"]:
        print(f"takes effect at the next start: {_listed(answer['at_start'])}")
    print(f"tables read: {answer['tables']}")


def _listed(options: Sequence[str]) -> str:
    return ", ".join(options) or "none"
