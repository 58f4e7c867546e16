"""`pycron test-mail`: send a mail and show what the mail program or server says."""

import argparse
import sys
import time

from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_json
from pycron.cli.run_output import read_output
from pycron.cli.verb import verb
from pycron.control.client import ControlClient
from pycron.model.text import printable
from pycron.protocol.control_answers import RunAnswer
from pycron.protocol.control_messages import OutputRequest, RunRequest, TestMailRequest

_POLL = 0.1  # seconds


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", nargs="?", help="whom to mail; default: you")


@verb("test-mail", "Send a mail, and show what the mail program or server says.", _arguments)
def test_mail(options: argparse.Namespace) -> int:
    client = client_for(options)
    run_id = client.request(TestMailRequest(options.user))["run_id"]
    answer = _wait_for_end(client, run_id)
    row = answer["row"]
    output = b"".join(data for _, data in read_output(client, OutputRequest(run_id)))
    text = output.decode("utf-8", "backslashreplace")
    if options.json:
        print_json([{**row, "output": text}])
    else:
        print("\n".join(map(printable, text.splitlines())))
        reason = f": {row['reason']}" if row["reason"] else ""
        print(f"pycron: {run_id}: {row['outcome']}{reason}", file=sys.stderr)
    return 0 if row["outcome"] == "succeeded" else 1


def _wait_for_end(client: ControlClient, run_id: str) -> RunAnswer:
    while True:
        answer = client.request(RunRequest(run_id))
        if answer["row"]["outcome"] is not None:
            return answer
        time.sleep(_POLL)
