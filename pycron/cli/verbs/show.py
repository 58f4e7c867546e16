"""`pycron show`: one Run, its Attempts, and the end of its output."""

import argparse

from pycron.cli.arguments import add_run
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_columns, print_fields, print_json
from pycron.cli.run_output import read_output
from pycron.cli.run_rows import find_run
from pycron.cli.verb import verb
from pycron.control.client import ControlClient
from pycron.model.text import printable
from pycron.protocol.control_messages import OutputRequest, RunRequest

_SHOWN_LINES = 20
_COLUMNS = [(key, key.replace("_", " ")) for key in (
    "attempt", "pid", "started", "ended", "outcome", "exit_status", "signal", "cpu_seconds",
    "memory_peak_bytes", "output_bytes", "reason")]  # fmt: skip
_DELIVERY_COLUMNS = (
    ("delivery", "delivery"), ("job", "job"), ("run_id", "run"), ("outcome", "outcome"),
    ("reason", "reason"),
)  # fmt: skip


@verb("show", "Show one Run and its Attempts.", add_run)
def show(options: argparse.Namespace) -> None:
    client = client_for(options)
    run_id = find_run(client, options.run)
    answer = client.request(RunRequest(run_id))
    if options.json:
        deliveries = {"delivery_list": answer.get("deliveries", [])}
        print_json([{**answer["row"], "attempt_list": answer["attempts"], **deliveries}])
        return
    print_fields(answer["row"])
    print()
    print_columns(_COLUMNS, answer["attempts"], "no attempts")
    if answer.get("deliveries"):
        print()
        print_columns(_DELIVERY_COLUMNS, answer["deliveries"], "no deliveries")
    if answer["attempts"]:
        _print_end_of_output(client, run_id)


def _print_end_of_output(client: ControlClient, run_id: str) -> None:
    """The last lines that the last Attempt has printed."""
    answers, parts = zip(*read_output(client, OutputRequest(run_id)), strict=True)
    lines = b"".join(parts).decode("utf-8", "surrogateescape").splitlines()
    if not lines:
        return
    many = len(lines) > _SHOWN_LINES
    left_out = f", the last {_SHOWN_LINES} of {len(lines)} lines" if many else ""
    print(f"\noutput of attempt {answers[-1]['attempt']}{left_out}:")
    for line in lines[-_SHOWN_LINES:]:
        print(f"  {printable(line)}")
