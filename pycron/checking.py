"""The parser's verdict on a table that was found; without a daemon, for `pycron check` too."""

from pycron import crontab, host
from pycron.accounts import Accounts
from pycron.crontab import Judge
from pycron.entries import Table
from pycron.model import Problem, Source
from pycron.spool import Change, Found, Unreadable, problem_of, read_table
from pycron.zonedata import ZoneData


def parse_found(found: Found, judge: Judge) -> Table:
    """The table; what keeps it from being read is a problem of it."""
    if found.text is None:
        return Table(found.source, problems=(found.problem,) if found.problem else ())
    return crontab.parse(found.text, found.source, judge)


def local_judge(zones: ZoneData) -> Judge:
    """What this machine knows of zones and users, for tables of any origin."""
    return Judge(host.host_id(), zones.exists, Accounts().exists)


def read_and_parse(source: Source, most_bytes: int, zones: ZoneData) -> Table:
    """The table in the file that the source names."""
    return parse_found(_find(source, most_bytes), local_judge(zones))


def _find(source: Source, most_bytes: int) -> Found:
    try:
        text, _ = read_table(source.name, None, most_bytes, trusted=True)
    except FileNotFoundError:
        return Found(source, None, problem_of(source, Unreadable("missing", "no such file")))
    except Unreadable as error:
        return Found(source, None, problem_of(source, error))
    return Found(source, text)


def check_file(source: Source, most_bytes: int) -> tuple[Problem, ...]:
    """What is wrong with the table in the file that the source names."""
    return read_and_parse(source, most_bytes, ZoneData()).problems


def check_found(change: Change) -> tuple[Problem, ...]:
    """What is wrong with a table that a spool found."""
    if not isinstance(change, Found):
        return ()
    return parse_found(change, local_judge(ZoneData())).problems
