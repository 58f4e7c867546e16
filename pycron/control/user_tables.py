"""`table`, `install`, `delete` and the versions: users' own tables, for pycrontab(1)."""

import time

from pycron.control.access import Refusal, user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.rows import problem_rows, version_row
from pycron.control.server import Peer
from pycron.crontab.changes import compare
from pycron.crontab.entries import Entries
from pycron.crontab.entry_kind import EntryKind
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.engine.table_queue import TableQueue
from pycron.model.instants import rfc3339
from pycron.model.steps import Steps
from pycron.model.table_version import Origin, Provenance
from pycron.ports import UserTables
from pycron.protocol.table_answers import (
    DeleteAnswer,
    InstallAnswer,
    NextDueRow,
    TableAnswer,
    VersionAnswer,
    VersionsAnswer,
)
from pycron.protocol.table_messages import (
    DeleteRequest,
    InstallRequest,
    RestoreRequest,
    TableRequest,
    VersionRequest,
    VersionsRequest,
)

_OF_CLIENTS = {each.value: each for each in (Origin.EDIT, Origin.FILE, Origin.STDIN)}


@handles(TableRequest)
def read(context: Context, peer: Peer, request: TableRequest) -> TableAnswer:
    user, tables = _table_of(context, peer, request.user)
    return {"user": user, "text": tables.read(user)}


@handles(InstallRequest)
def install(context: Context, peer: Peer, request: InstallRequest) -> Steps[InstallAnswer]:
    user, tables = _table_of(context, peer, request.user)
    by = Provenance(user_of(peer), _OF_CLIENTS.get(request.origin, Origin.REQUEST))
    return (yield from _install(context, tables, user, request.text, by))


@handles(RestoreRequest)
def restore(context: Context, peer: Peer, request: RestoreRequest) -> Steps[InstallAnswer]:
    user, tables = _table_of(context, peer, request.user)
    text = tables.version(user, request.number)
    if text is None:
        raise Refusal(f"in version {request.number} the table was deleted: use -r to delete it")
    by = Provenance(user_of(peer), Origin.RESTORE, restored=request.number)
    return (yield from _install(context, tables, user, text, by))


@handles(DeleteRequest)
def delete(context: Context, peer: Peer, request: DeleteRequest) -> Steps[DeleteAnswer]:
    user, tables = _table_of(context, peer, request.user)
    if not tables.remove(user, user_of(peer)):
        return {"user": user, "deleted": False}
    context.log(Log(Event.TABLE_DELETED, {"table": user, "by": user_of(peer)}))
    yield from context.tables.rescanned()
    return {"user": user, "deleted": True}


@handles(VersionsRequest)
def versions(context: Context, peer: Peer, request: VersionsRequest) -> VersionsAnswer:
    user, tables = _table_of(context, peer, request.user)
    zone = context.engine.zone_of(None)
    return {"user": user, "rows": [version_row(each, zone) for each in tables.versions(user)]}


@handles(VersionRequest)
def version(context: Context, peer: Peer, request: VersionRequest) -> VersionAnswer:
    user, tables = _table_of(context, peer, request.user)
    return {"user": user, "text": tables.version(user, request.number)}


def _install(
    context: Context, tables: UserTables, user: str, text: str, by: Provenance
) -> Steps[InstallAnswer]:
    before = context.tables.entries(user)
    table = yield from tables.install(user, text, by)
    fields = {"table": user, "by": by.author, "origin": by.origin.value, "jobs": len(table.jobs)}
    context.log(Log(Event.TABLE_INSTALLED, fields))
    yield from context.tables.rescanned()
    changes = compare(before, table.jobs)
    return {
        "user": user,
        "problems": problem_rows(table.problems),
        "jobs": len(table.jobs),
        "changes": {
            "added": changes.added, "changed": changes.changed, "removed": changes.removed,
        },
        "next": _next_due(context, table.jobs),
    }  # fmt: skip


def _next_due(context: Context, entries: Entries) -> NextDueRow | None:
    """When an entry of a table is due next, on its own clock; None if none ever is."""
    now, zone_of = int(time.time()), context.engine.zone_of
    queues = [TableQueue(entries, zone_of, now, kind) for kind in EntryKind]
    coming = [next(queue.coming(), None) for queue in queues]
    first = min(filter(None, coming), default=None)
    if first is None:
        return None
    fire_time, _, index = first
    name = entries.context(index).settings.zone
    local = zone_of(name).local(fire_time).isoformat()
    return {"fire_time": rfc3339(fire_time), "local": local, "zone": name}


def _table_of(context: Context, peer: Peer, user: str | None) -> tuple[str, UserTables]:
    """The user whose table is meant (None: the peer), and where that table is. Raises Refusal."""
    tables = context.user_tables
    is_listed = tables is not None and tables.of_all_users
    owner = context.access.table_owner(peer, user, check_lists=is_listed)
    if tables is None:
        raise Refusal("this daemon runs the tables that it was given; edit those files")
    return owner, tables
