"""`pycron status`: the state of the daemon."""

import argparse
import sys
import time
from collections.abc import Iterator

from pycron import __version__
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.printing import print_json, print_page
from pycron.cli.verb import verb
from pycron.control.client import ControlClient, ControlError
from pycron.control.shown import shown_status
from pycron.model.in_words import (
    ahead_in_words,
    duration_in_words,
    number_of,
    size_in_words,
)
from pycron.model.instants import parse_rfc3339
from pycron.model.text import printable
from pycron.protocol.control_answers import ClusterRow, ConfigRow, StatusAnswer
from pycron.protocol.control_messages import (
    HealthRequest,
    NextRequest,
    PausesRequest,
    StatusRequest,
)
from pycron.wording.cells import Cell, Tone
from pycron.wording.clock import Clock
from pycron.wording.job_words import scope_cell

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
    client = client_for(options)
    answer = client.request(StatusRequest())
    if options.json:
        print_json([shown_status(answer)])
        return 0
    clock = clock_for(options)
    wrong = list(_wrong(answer))
    cluster = answer.get("cluster")
    print_page([
        ("daemon", _daemon(answer, clock)),
        ("jobs", _jobs(client, answer, clock)),
        ("runs", _runs(answer)),
        *([("cluster", _cluster(cluster))] if cluster else []),
        ("pauses", list(_pauses(client, clock)) or ["none"]),
        ("wrong", wrong or [Cell("nothing", Tone.GOOD)]),
    ])  # fmt: skip
    if answer["version"] != __version__:
        print(f"pycron: {_other_version(answer)}", file=sys.stderr)
    return 0


def _daemon(answer: StatusAnswer, clock: Clock) -> str:
    since = answer["since"]
    memory = " and ".join(
        f"{name} {size_in_words(process['memory_bytes'])}"
        for name, process in answer["processes"].items()
    )
    return (
        f"{answer['version']} ({answer['mode']}), zone {answer['zone']},"
        f" since {clock.at(since)} ({duration_in_words(clock.now - since)}); {memory};"
        f" state in {answer['state']}"
    )


def _jobs(client: ControlClient, answer: StatusAnswer, clock: Clock) -> str:
    """How many there are, and which one is due next."""
    said = f"{number_of(answer['jobs'], 'Job')} in {number_of(answer['tables'], 'table')}"
    fire = answer["next_fire_time"]
    if fire is None:
        return f"{said}; none is due"
    try:
        rows = client.request(NextRequest(1))["rows"]
    except ControlError:  # a daemon of an earlier version
        rows = []
    name = f"{rows[0]['job']} is due" if rows else "the next one is due"
    fire = parse_rfc3339(rows[0]["fire_time"]) if rows else fire
    return f"{said}; {name} at {clock.at(fire)} ({ahead_in_words(fire - clock.now)})"


def _runs(answer: StatusAnswer) -> str:
    recorded = "" if answer["runs"] is None else f"; {answer['runs']:,} on record"
    return f"{answer['running']} running, {answer['waiting']} waiting{recorded}"


def _cluster(cluster: ClusterRow) -> str:
    """`host web1 of prod; in it: db1, web1, web2; 3 fire times are not decided yet`."""
    said = f"host {cluster['host']} of {cluster['name']}"
    if cluster["drained"]:
        said += ", drained: it gets no new Runs"
    if cluster["hosts"]:
        said += f"; in it: {', '.join(sorted(cluster['hosts']))}"
    if cluster["undecided"]:
        said += f"; {number_of(cluster['undecided'], 'fire time')} not decided yet"
    return said


def _pauses(client: ControlClient, clock: Clock) -> Iterator[Cell]:
    for row in client.request(PausesRequest())["rows"]:
        yield scope_cell(row, clock)


def _wrong(answer: StatusAnswer) -> Iterator[Cell]:
    """A sentence for everything that one should look at."""
    if answer["store_failure"] is not None:
        unwritten = f" ({answer['unwritten']:,} records wait in memory)"
        yield Cell(f"the database: {answer['store_failure']}{unwritten}", Tone.BAD)
    if answer["runs"] is None:
        yield Cell("the database cannot be read", Tone.BAD)
    if answer["problems"]:
        yield Cell(f"{number_of(answer['problems'], 'problem')} in tables (pycron check)", Tone.BAD)
    config = answer.get("config")
    if config is not None and (said := _config_in_words(config)):
        yield Cell(said, Tone.WARN)
    if (cluster := answer.get("cluster")) and cluster["problem"] is not None:
        yield Cell(f"no shared jobs run here: {cluster['problem']}", Tone.BAD)
    if cluster and (broker := cluster.get("broker")) is not None:
        yield Cell(f"this host publishes no queue jobs: {broker}", Tone.BAD)
    mail = answer.get("mail", "")
    if mail.startswith("nowhere"):
        yield Cell(f"mail goes {mail}", Tone.WARN)
    for message in answer.get("other_crons", []):
        yield Cell(f"warning: {message}", Tone.WARN)


def _other_version(answer: StatusAnswer) -> str:
    """What to do after an upgrade: until the daemon is restarted, it is the old one."""
    restart = "systemctl restart pycron" if answer["mode"] == "system" else "restart pycrond"
    return (
        f"the daemon runs version {answer['version']};"
        f" version {__version__} is installed: {restart}"
    )


def _config_in_words(config: ConfigRow) -> str:
    """In what the file differs from the options in force; empty if it does not."""
    if config["error"] is not None:
        return f"{config['file']} is bad, and was not read again: {config['error']}"
    parts = []
    if config["at_reload"]:
        changed = ", ".join(config["at_reload"])
        parts.append(f"changed since it was read (pycron reload): {changed}")
    if config["at_start"]:
        parts.append(f"takes effect at the next start: {', '.join(config['at_start'])}")
    return "; ".join([str(config["file"]), *parts]) if parts else ""
