"""`pycron log`: the output of a Run, of all Runs as it comes, or lines that contain a text."""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace

from pycron.cli.arguments import add_cluster, positive
from pycron.cli.clock import clock_for
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.following import PatientClient, Write, follow_on, print_attempt, say
from pycron.cli.instants import Looks, parse_instant
from pycron.cli.printing import print_json, print_table
from pycron.cli.run_rows import find_run, run_id_in
from pycron.cli.table_layout import Column
from pycron.cli.terminal import write_bytes, write_raw
from pycron.cli.verb import verb
from pycron.control.client import ControlClient
from pycron.model.run import RunKey
from pycron.protocol.control_messages import OutputRequest
from pycron.protocol.output_answers import FollowedRow, FoundLine
from pycron.protocol.output_messages import SearchRequest

_COLUMNS = (
    Column("fire time"), Column("job", least=10), Column("run", rank=1), Column("line", least=20),
)  # fmt: skip


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", nargs="?",
                        help="a run_id, or a Job's name for its last Run; with --search, for all "
                        "its Runs")  # fmt: skip
    parser.add_argument("-f", action="store_true", dest="follow",
                        help="follow the output until the Run has ended; without RUN, that of all "
                        "Runs")  # fmt: skip
    parser.add_argument("--raw", action="store_true",
                        help="also to a terminal, write the output as it is")  # fmt: skip
    parser.add_argument("--attempt", type=positive, metavar="N",
                        help="the output of this Attempt; default: the last")  # fmt: skip
    parser.add_argument("--search", metavar="TEXT", help="lines that contain this text")
    parser.add_argument("--since", metavar="T",
                        help="with --search: of Runs that were due at this time or "
                        "later")  # fmt: skip
    parser.add_argument("--limit", type=positive, metavar="N", default=100,
                        help="with --search: so many lines; default: 100")  # fmt: skip
    add_cluster(parser)


@verb("log", "Print the output of a Run; follow or search that of all Runs.", _arguments)
def log(options: argparse.Namespace) -> None:
    """With -f: print the outputs of all further Attempts, too, until the Run has ended."""
    if options.cluster:
        _log_of_cluster(options)
    elif options.search is not None:
        _search(options)
    elif options.run is not None:
        _log_of_run(options)
    elif options.follow:
        _follow_all(options)
    else:
        raise WrongUse("log: of which Run? (a run_id or a Job's name; -f follows all Runs, "
                       "--search TEXT searches them)")  # fmt: skip


def _log_of_cluster(options: argparse.Namespace) -> None:
    if options.run is None or options.follow or options.search or options.attempt:
        raise WrongUse("log --cluster: of one Run, without -f, --search and --attempt")
    from pycron.cli import shared_run
    from pycron.cli.verbs.cluster import with_database

    with_database(options, shared_run.log)


def _log_of_run(options: argparse.Namespace) -> None:
    client = PatientClient.like(client_for(options))
    run_id = find_run(client, options.run)
    write = writer(options, run_id)
    wanted = OutputRequest(run_id, options.attempt, follow=options.follow)
    answer = print_attempt(client, wanted, write)
    if answer["attempt"] > answer["attempts"]:
        raise Failed(f"{run_id} has {answer['attempts']} attempts")
    if options.follow and options.attempt is None:
        follow_on(client, run_id, answer, write)


def writer(options: argparse.Namespace, run_id: str) -> Write:
    """Writes the output of a Run: JSON, or bytes; on a terminal only with --raw as they are."""

    def write(attempt: int, data: bytes) -> None:
        if options.json:
            text = data.decode("utf-8", "backslashreplace")
            print_json([{"run_id": run_id, "attempt": attempt, "output": text}])
        else:
            (write_raw if options.raw else write_bytes)(data)
        sys.stdout.flush()

    return write


def _follow_all(options: argparse.Namespace) -> None:
    from pycron.cli.following_all import AllRuns

    def write(row: FollowedRow, lines: bytes) -> None:
        head = f"{row['job']} | ".encode()
        if options.json:
            text = lines.decode("utf-8", "backslashreplace")
            about = {"run_id": row["run_id"], "attempt": row["attempt"], "job": row["job"]}
            print_json([{**about, "output": f"{text}\n"}])
        else:
            data = b"".join(b"%b%b\n" % (head, line) for line in lines.split(b"\n"))
            (write_raw if options.raw else write_bytes)(data)
        sys.stdout.flush()

    AllRuns(PatientClient.like(client_for(options)), write).follow()


# ---- lines that contain a text


def _search(options: argparse.Namespace) -> None:
    clock = clock_for(options)
    since = parse_instant(options.since, clock.zone, Looks.BACK) if options.since else None
    is_run = options.run is not None and run_id_in(options.run) is not None
    run_id, job = (options.run, None) if is_run else (None, options.run)
    wanted = SearchRequest(options.search, run_id, job, since, limit=options.limit)
    rows = _found(client_for(options), wanted)
    if options.json:
        print_json(rows)
        return
    shown = ([clock.at(_second(row)), row["job"], row["run_id"], row["line"]] for row in rows)
    print_table(_COLUMNS, shown, "no such line", clock.title)


def _found(client: ControlClient, wanted: SearchRequest) -> Iterator[FoundLine]:
    """The lines, of the newest Run first; the daemon searches a part of the outputs at a time."""
    left, cut = wanted.limit, False
    while left > 0:
        answer = client.request(replace(wanted, limit=left))
        yield from answer["rows"]
        left -= len(answer["rows"])
        cut = answer["cut"] or (left <= 0 and answer["before"] is not None)
        if answer["before"] is None:
            break
        wanted = replace(wanted, before=answer["before"])
    if cut:
        say(f"there may be more: --limit {2 * wanted.limit}")


def _second(row: FoundLine) -> int:
    return RunKey.parse(row["run_id"]).fire_time
