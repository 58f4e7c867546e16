"""`table`, `install` and `delete`: users' own tables, for pycrontab(1)."""

from pycron.control.access import Refusal, user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.rows import problem_rows
from pycron.control.server import Peer
from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.ports import UserTables
from pycron.protocol.control_answers import DeleteAnswer, InstallAnswer, TableAnswer
from pycron.protocol.control_messages import DeleteRequest, InstallRequest, TableRequest


@handles(TableRequest)
def read(context: Context, peer: Peer, request: TableRequest) -> TableAnswer:
    user, tables = _table_of(context, peer, request.user)
    return {"user": user, "text": tables.read(user)}


@handles(InstallRequest)
def install(context: Context, peer: Peer, request: InstallRequest) -> InstallAnswer:
    user, tables = _table_of(context, peer, request.user)
    table = tables.install(user, request.text)
    fields = {"table": user, "by": user_of(peer), "jobs": len(table.jobs)}
    context.log(Log(Event.TABLE_INSTALLED, fields))
    context.tables.rescan()
    return {"user": user, "problems": problem_rows(table.problems), "jobs": len(table.jobs)}


@handles(DeleteRequest)
def delete(context: Context, peer: Peer, request: DeleteRequest) -> DeleteAnswer:
    user, tables = _table_of(context, peer, request.user)
    if not tables.remove(user):
        return {"user": user, "deleted": False}
    context.log(Log(Event.TABLE_DELETED, {"table": user, "by": user_of(peer)}))
    context.tables.rescan()
    return {"user": user, "deleted": True}


def _table_of(context: Context, peer: Peer, user: str | None) -> tuple[str, UserTables]:
    """The user whose table is meant (None: the peer), and where that table is. Raises Refusal."""
    tables = context.user_tables
    is_listed = tables is not None and tables.of_all_users
    owner = context.access.table_owner(peer, user, check_lists=is_listed)
    if tables is None:
        raise Refusal("this daemon runs the tables that it was given; edit those files")
    return owner, tables
