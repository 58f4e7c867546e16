"""`pycron kill`: end a Run with all its processes."""

import argparse

from pycron.cli.arguments import duration
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.protocol.control_messages import KillRequest


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run_id, or a Job's name for all its Runs")
    parser.add_argument("--kill-after", type=duration, metavar="DURATION",
                        help="from TERM to KILL; default: the Job's CRON_KILL_AFTER")  # fmt: skip


@verb("kill", "End a Run with all its processes.", _arguments)
def kill(options: argparse.Namespace) -> None:
    answer = client_for(options).request(KillRequest(options.run, options.kill_after))
    if options.json:
        print_json(answer["rows"])
