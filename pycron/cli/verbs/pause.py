"""`pycron pause`: start nothing in a scope for a while; without a scope, list the pauses."""

import argparse

from pycron.cli.arguments import add_quiet, add_scope, duration, no_scope, say, scope_kind
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.done import paused
from pycron.cli.printing import print_columns, print_json
from pycron.cli.verb import verb
from pycron.protocol.control_messages import PauseRequest, PausesRequest

_COLUMNS = (
    ("what", "what"), ("since", "since"), ("until", "until"), ("by", "by"), ("reason", "reason"),
)  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_scope(parser)
    parser.add_argument("--for", dest="seconds", type=duration, metavar="DURATION",
                        help="for this time; default: until it is resumed")  # fmt: skip
    parser.add_argument("--reason", metavar="TEXT",
                        help="shown with the pause and with each Run that it skips")  # fmt: skip
    add_quiet(parser)


@verb("pause", "Start nothing for a while, or list the pauses.", _arguments)
def pause(options: argparse.Namespace) -> None:
    kind = scope_kind(options)
    if kind is None:
        _list(options)
        return
    request = PauseRequest(
        scope=kind,
        job=options.job or "",
        user=options.owner or "",
        pool=options.pool or "",
        seconds=options.seconds,
        reason=options.reason,
    )
    answer = client_for(options).request(request)
    if options.json:
        print_json([answer["row"]])
    say(options, paused(answer["row"], clock_for(options)))


def _list(options: argparse.Namespace) -> None:
    if options.seconds is not None or options.reason:
        raise no_scope("pause")
    rows = client_for(options).request(PausesRequest())["rows"]
    if options.json:
        print_json(rows)
    else:
        print_columns(_COLUMNS, rows, "nothing is paused")
