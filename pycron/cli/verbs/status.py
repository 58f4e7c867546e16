"""`pycron status`: the state of the daemon."""

import argparse

from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_fields, print_json
from pycron.cli.verb import verb
from pycron.model.instants import rfc3339
from pycron.protocol.control_answers import ProcessRow
from pycron.protocol.control_messages import StatusRequest


@verb("status", "Show the state of the daemon.")
def status(options: argparse.Namespace) -> None:
    answer = client_for(options).request(StatusRequest())
    wakeup = answer["next_fire_time"]
    row: dict[str, object] = {
        **answer,
        "since": rfc3339(answer["since"]),
        "next_fire_time": None if wakeup is None else rfc3339(wakeup),
    }
    if options.json:
        print_json([row])
        return
    del row["processes"]
    row.pop("other_crons", None)
    processes = {name: _in_words(process) for name, process in answer["processes"].items()}
    print_fields(row | processes)
    for message in answer.get("other_crons", []):
        print(f"warning: {message}")


def _in_words(process: ProcessRow) -> str:
    megabytes = process["memory_bytes"] / 1e6
    return f"pid {process['pid']}, {megabytes:.1f} MB, {process['cpu_seconds']:.2f} CPU seconds"
