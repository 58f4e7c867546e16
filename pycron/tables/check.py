"""Reads and checks a table without a daemon, for `pycron check` and `pycrond --check`."""

from dataclasses import replace

from pycron.config import Config, ConfigError, read_config
from pycron.crontab import reader
from pycron.crontab.reader import ReaderContext
from pycron.crontab.table import Table
from pycron.model.hosts import Cluster
from pycron.model.job import Source
from pycron.model.problem import Problem
from pycron.model.steps import Steps, finish
from pycron.system import host, paths
from pycron.system.accounts import Accounts
from pycron.system.files import ROOTS, TRUSTED, Unreadable
from pycron.system.zone_data import ZoneData
from pycron.tables.directories import Change, Found
from pycron.tables.files import problem_of, read_table
from pycron.tables.mail_transport import why_no_mail
from pycron.tables.spool_form import without_header


def parse_found(found: Found, context: ReaderContext) -> Table:
    """The table of a file; if the file cannot be read, an empty table with that problem.

    The lines of a user's table are those that `pycrontab -e` shows.
    """
    return finish(parsing_found(found, context))


def parsing_found(found: Found, context: ReaderContext) -> Steps[Table]:
    """The same in steps of a few milliseconds."""
    source = found.source
    if found.text is None:
        return Table(source, problems=(found.problem,) if found.problem else ())
    text = without_header(found.text) if source.owner == source.name else found.text
    table = yield from reader.parsing(text, source, context)
    return replace(table, problems=(found.problem, *table.problems)) if found.problem else table


def local_context(
    zones: ZoneData, config: Config | None = None, *, of_system: bool = False
) -> ReaderContext:
    """The zones and users of this machine, to check tables of any origin.

    `config`: by default that of the system; `of_system`: it is that of the system. If it cannot be
    read, nothing is said about mail, and calendars and senders are not known. Entries for other
    hosts count as those for this one.
    """
    accounts = Accounts()
    cluster = _cluster(config) if config and config.cluster_name else None
    of_system = of_system or config is None
    config = config or _system_config()
    no_mail = why_no_mail(config, None, accounts) if config else None
    return ReaderContext(
        host.host_id(),
        zones.exists,
        accounts.exists,
        calendars=config.calendars if config else None,
        senders=config.users_of_senders(system=of_system) if config else None,
        no_mail=no_mail,
        cluster=cluster,
    )


def _cluster(config: Config) -> Cluster:
    return replace(config.cluster(host.host_id()), everywhere=True)


def _system_config() -> Config | None:
    """The configuration of the system; None if it is bad, or if its readers are few."""
    try:
        return read_config(paths.SYSTEM_CONFIG, required=False, rules=ROOTS)
    except ConfigError:
        return None


def read_and_parse(
    source: Source, most_bytes: int, zones: ZoneData, config: Config | None = None
) -> Table:
    """The table in the file whose path is the name of the source. `config`: see local_context."""
    return parse_found(find(source, most_bytes), local_context(zones, config))


def find(source: Source, most_bytes: int) -> Found:
    """The text in the file whose path is the name of the source, or the problem why not."""
    try:
        text, _ = read_table(source.name, TRUSTED, most_bytes)
    except FileNotFoundError:
        return Found(source, None, problem_of(source, Unreadable("missing", "no such file")))
    except Unreadable as error:
        return Found(source, None, problem_of(source, error))
    return Found(source, text)


def check_file(source: Source, config: Config) -> tuple[Problem, ...]:
    """The problems of the table in the file whose path is the name of the source."""
    context = replace(local_context(ZoneData(), config), cluster=_cluster(config))
    return parse_found(find(source, config.table_bytes), context).problems


def check_found(change: Change, config: Config) -> tuple[Problem, ...]:
    """The problems of a table that a scan found."""
    if not isinstance(change, Found):
        return ()
    context = replace(local_context(ZoneData(), config), cluster=_cluster(config))
    return parse_found(change, context).problems
