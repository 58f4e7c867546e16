"""`test`: the command of an entry runs now, whether the entry is installed or not."""

from dataclasses import replace

from pycron.control.access import Refusal, has_full_rights
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.lookup import called, only_one, visible_job
from pycron.control.operations import start_by_hand
from pycron.control.server import Peer
from pycron.crontab import reader
from pycron.crontab.table import Table
from pycron.engine.tested_job import job_of_test
from pycron.model.job import Job, Source
from pycron.model.run import TEST_SUFFIX
from pycron.model.steps import Steps
from pycron.ports import TableFailure
from pycron.protocol.control_answers import StartAnswer
from pycron.protocol.output_messages import TestRequest


@handles(TestRequest)
def test(context: Context, peer: Peer, request: TestRequest) -> Steps[StartAnswer]:
    if request.text is None:
        job = visible_job(context, peer, request.job)
    else:
        source = _source(context, peer, request)
        table = yield from _read(context, source, request.text)
        job = _entry(table, peer, request.job)
    context.access.check_may_change(peer, job.user)
    live = start_by_hand(
        context, peer, job_of_test(job, environment=request.environment), force=False
    )
    return {"run_id": str(live.run), "state": live.state.value, "why": live.why}


def _source(context: Context, peer: Peer, request: TestRequest) -> Source:
    """The table that the text stands for: who may install such a table may test it.

    Raises Refusal.
    """
    tables = context.user_tables
    if not has_full_rights(peer) and (tables is None or request.system):
        raise Refusal("only root may test such a table, as only root may run it")
    if request.system:
        return Source(f"system{TEST_SUFFIX}", None)
    is_listed = tables is not None and tables.of_all_users
    owner = context.access.table_owner(peer, request.user, check_lists=is_listed)
    return Source(f"{owner}{TEST_SUFFIX}", owner)


def _read(context: Context, source: Source, text: str) -> Steps[Table]:
    """Read the text as the daemon reads tables. Raises Refusal."""
    config = context.config()
    if len(text.encode("utf-8", "surrogateescape")) > config.user_table_bytes:
        most = config.user_table_bytes
        raise Refusal(f"the table is larger than {most} bytes (limits.user_table_bytes)")
    rules = replace(context.reader_context(), most_entries=config.user_table_entries)
    return (yield from reader.parsing(text, source, rules))


def _entry(table: Table, peer: Peer, name: str) -> Job:
    """The entry of this name or id; without a name, the only one. Raises Refusal or TableFailure.

    Errors in other lines do not matter.
    """
    found = table.jobs.called(name) if name else list(table.jobs[:2])
    if not found and table.errors:
        raise TableFailure("the table has errors; nothing was run", table.errors)
    if not name and len(found) != 1:
        several = "there are several entries: which one? (pycron test --table FILE JOB)"
        raise Refusal(several if found else "there is no entry")
    if not found:
        raise Refusal(f'the table has no entry called "{name}"')
    job_id = only_one(name, peer, map(called, found))
    return next(job for job in found if job.id == job_id)
