"""Waits for the end of a Run whose output is printed meanwhile: `test`, `start --wait`."""

import sys

from pycron.cli.following import PatientClient, follow_run, say
from pycron.cli.printing import print_json
from pycron.cli.run_end import end_of_run
from pycron.cli.terminal import write_bytes
from pycron.control.client import ControlClient
from pycron.model.run import TEST_SUFFIX
from pycron.protocol.control_answers import RunDetails
from pycron.protocol.control_messages import RunRequest


def print_until_end(client: ControlClient, run_id: str, *, as_json: bool) -> RunDetails:
    """Print the output of a Run until it has ended; the Run.

    As JSON: one object, when it has ended. Raises ControlError.
    """
    patient, kept = PatientClient.like(client), bytearray()

    def write(_attempt: int, data: bytes) -> None:
        if as_json:
            kept.extend(data)
        else:
            write_bytes(data)
            sys.stdout.flush()

    follow_run(patient, run_id, write)
    row = patient.request(RunRequest(run_id))["row"]
    if as_json:
        print_json([{**row, "output": kept.decode("utf-8", "backslashreplace")}])
    return row


def wait_silently(client: ControlClient, run_id: str) -> RunDetails:
    """Wait for the end of a Run without its output; the Run."""
    patient = PatientClient.like(client)
    follow_run(patient, run_id, lambda _attempt, _data: None)
    return patient.request(RunRequest(run_id))["row"]


def say_end(row: RunDetails) -> None:
    """How the Run ended, for people."""
    say(f"{row['job'].removesuffix(TEST_SUFFIX)}: {end_of_run(row)}")
