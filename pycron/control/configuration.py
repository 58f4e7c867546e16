"""`reload`, and what `status` and `problems` say about the configuration."""

from collections.abc import Iterator

from pycron.config import ConfigError
from pycron.control.access import Refusal, has_full_rights, user_of
from pycron.control.context import Context
from pycron.control.handlers import handles
from pycron.control.server import Peer
from pycron.model.problem import Problem
from pycron.protocol.control_answers import ConfigRow, ReloadAnswer
from pycron.protocol.control_messages import ReloadRequest


@handles(ReloadRequest)
def reload(context: Context, peer: Peer, _request: ReloadRequest) -> ReloadAnswer:
    if not has_full_rights(peer):
        raise Refusal("only root and the user of the daemon may do that")
    try:
        reloaded = context.reload(user_of(peer))
    except ConfigError as error:
        raise Refusal(f"{error} (nothing was reloaded)") from None
    return {
        "changed": list(reloaded.changed),
        "at_start": list(reloaded.at_start),
        "tables": reloaded.tables,
    }


def config_row(context: Context) -> ConfigRow:
    """The file as it is now. Its error may quote the file: only for those who see everything."""
    info = context.info()
    state = info.config_state()
    return {
        "file": str(info.config_file) if info.config_file else None,
        "error": state.error.reason if state.error else None,
        "at_reload": list(state.at_reload),
        "at_start": list(state.at_start),
    }


def config_problems(context: Context) -> Iterator[Problem]:
    """Why the configuration file cannot be used, for those who see everything."""
    error = context.info().config_state().error
    if error is not None:
        yield error.problem
