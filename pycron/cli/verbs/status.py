"""`pycron status`: the state of the daemon."""

import argparse
import sys
import time

from pycron import __version__
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_fields, print_json
from pycron.cli.verb import verb
from pycron.control.client import ControlClient, ControlError
from pycron.model.instants import rfc3339
from pycron.model.text import printable
from pycron.protocol.control_answers import ConfigRow, ProcessRow, StatusAnswer
from pycron.protocol.control_messages import HealthRequest, StatusRequest

_PATIENCE = 5.0  # seconds for the daemon and for its runner
_PAUSE = 0.02  # seconds between two questions


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--health", action="store_true",
                        help="say in one line whether something is wrong; then exit 1")  # fmt: skip


@verb("status", "Show the state of the daemon.", _arguments)
def status(options: argparse.Namespace) -> int:
    return _health(options) if options.health else _state(options)


def _health(options: argparse.Namespace) -> int:
    """Print one line: the exit status is 1 if it says that something is wrong."""
    try:
        reasons, counts = _asked(client_for(options, _PATIENCE))
    except ControlError as error:
        reasons, counts = [str(error)], None
    if options.json:
        print_json([{"healthy": not reasons, "reasons": reasons}])
    else:
        print(printable(f"unhealthy: {'; '.join(reasons)}" if reasons else f"healthy: {counts}"))
    return 1 if reasons else 0


def _asked(client: ControlClient) -> tuple[list[str], str]:
    """Ask whether the daemon is healthy. The runner gets a while to read what it is sent."""
    answer = client.request(HealthRequest(ask=True))
    until = time.monotonic() + _PATIENCE
    while not answer["runner_reads"] and time.monotonic() < until:
        time.sleep(_PAUSE)
        answer = client.request(HealthRequest())
    silent = [] if answer["runner_reads"] else [f"the runner has not answered in {_PATIENCE:.0f} s"]
    counts = f"tables {answer['tables']}, Jobs {answer['jobs']}, running {answer['running']}"
    return [*answer["reasons"], *silent], counts


def _state(options: argparse.Namespace) -> int:
    answer = client_for(options).request(StatusRequest())
    config = answer.get("config")
    wakeup = answer["next_fire_time"]
    row: dict[str, object] = {
        **answer,
        "config": config,
        "since": rfc3339(answer["since"]),
        "next_fire_time": None if wakeup is None else rfc3339(wakeup),
    }
    if options.json:
        print_json([{**row, "installed_version": __version__}])
        return 0
    del row["processes"], row["config"]
    row.pop("other_crons", None)
    if config is not None:
        row["config"] = _config_in_words(config)
    processes = {name: _in_words(process) for name, process in answer["processes"].items()}
    print_fields(row | processes)
    for message in answer.get("other_crons", []):
        print(f"warning: {message}")
    if answer["version"] != __version__:
        print(f"pycron: {_other_version(answer)}", file=sys.stderr)
    return 0


def _other_version(answer: StatusAnswer) -> str:
    """What to do after an upgrade: until the daemon is restarted, it is the old one."""
    restart = "systemctl restart pycron" if answer["mode"] == "system" else "restart pycrond"
    return (
        f"the daemon runs version {answer['version']};"
        f" version {__version__} is installed: {restart}"
    )


def _config_in_words(config: ConfigRow) -> str:
    if config["error"] is not None:
        return f"{config['file']} is bad, and was not read again: {config['error']}"
    parts = [config["file"] or "none"]
    if config["at_reload"]:
        changed = ", ".join(config["at_reload"])
        parts.append(f"changed since it was read (pycron reload): {changed}")
    if config["at_start"]:
        parts.append(f"takes effect at the next start: {', '.join(config['at_start'])}")
    return "; ".join(parts)


def _in_words(process: ProcessRow) -> str:
    megabytes = process["memory_bytes"] / 1e6
    return f"pid {process['pid']}, {megabytes:.1f} MB, {process['cpu_seconds']:.2f} CPU seconds"
