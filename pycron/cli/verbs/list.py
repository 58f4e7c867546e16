"""`pycron list`: the Jobs of all tables."""

import argparse

from pycron.cli.daemon_choice import client_for
from pycron.cli.pages import read_jobs
from pycron.cli.printing import print_columns, print_json
from pycron.cli.verb import verb

_COLUMNS = (
    ("job", "job"), ("user", "user"), ("schedule", "schedule"), ("zone", "zone"),
    ("table", "table"), ("line", "line"), ("command", "command"),
)  # fmt: skip


@verb("list", "List the Jobs of all tables that you may see.")
def list_jobs(options: argparse.Namespace) -> None:
    rows = list(read_jobs(client_for(options)))
    if options.json:
        print_json(rows)
    else:
        print_columns(_COLUMNS, rows, "no jobs")
