"""Raw requests on the control socket, sent by a process of a user."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from pycron.system.paths import system_paths
from tests.support.isolated_system import IsolatedSystem

_ASK = """
import json, sys
from pathlib import Path
from pycron.control.client import ControlClient, ControlError
for message in json.load(sys.stdin):
    client = ControlClient(Path(sys.argv[1]))
    try:
        print(json.dumps(client.ask(**message)))
    except ControlError as error:
        print(json.dumps({"error": str(error)}))
    client.close()
"""


def ask_as(system: IsolatedSystem, user: str, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers to the requests of one process of this user; a refusal has the key `error`."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [
            *system.inside, "setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups",
            "env", f"PYTHONPATH={root}", sys.executable, "-c", _ASK, str(system_paths().socket),
        ],
        input=json.dumps(messages), capture_output=True, text=True, timeout=60, check=True, cwd="/",
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]
