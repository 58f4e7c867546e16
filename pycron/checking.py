"""The parser's verdict on tables, without a daemon: for `pycron check` and its like."""

from pycron import crontab, host
from pycron.accounts import Accounts
from pycron.crontab import Judge
from pycron.entries import Table
from pycron.model import Problem, Severity, Source
from pycron.spool import Change, Found, Unreadable, read_table
from pycron.zonedata import ZoneData


def local_judge(zones: ZoneData) -> Judge:
    """What this machine knows of zones and users, for tables of any origin."""
    return Judge(host.host_id(), zones.exists, Accounts().exists)


def read_and_parse(source: Source, most_bytes: int, zones: ZoneData) -> Table:
    """The table in the file that the source names; what can't be read is a problem of it."""
    try:
        text, _ = read_table(source.name, None, most_bytes, trusted=True)
    except (Unreadable, FileNotFoundError) as error:
        code = error.code if isinstance(error, Unreadable) else "missing"
        reason = str(error) if isinstance(error, Unreadable) else "no such file"
        problem = Problem(source.name, 0, 1, Severity.ERROR, code, reason)
        return Table(source, problems=(problem,))
    return crontab.parse(text, source, local_judge(zones))


def check_file(source: Source, most_bytes: int) -> tuple[Problem, ...]:
    return read_and_parse(source, most_bytes, ZoneData()).problems


def check_found(change: Change) -> tuple[Problem, ...]:
    """What is wrong with a table that a spool found."""
    if not isinstance(change, Found):
        return ()
    if change.text is None:
        return (change.problem,) if change.problem else ()
    return crontab.parse(change.text, change.source, local_judge(ZoneData())).problems
