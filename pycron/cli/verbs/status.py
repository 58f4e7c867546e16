"""`pycron status`: the state of the daemon."""

import argparse
import sys

from pycron import __version__
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_fields, print_json
from pycron.cli.verb import verb
from pycron.model.instants import rfc3339
from pycron.protocol.control_answers import ConfigRow, ProcessRow, StatusAnswer
from pycron.protocol.control_messages import StatusRequest


@verb("status", "Show the state of the daemon.")
def status(options: argparse.Namespace) -> None:
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
        return
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
