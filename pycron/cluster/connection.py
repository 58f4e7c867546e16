"""A connection to PostgreSQL on which no call waits for ever.

psycopg waits for an answer as long as the connection stands; a server that is stopped, or behind a
network that swallows packets, would hold the agent. So a call is sent and read here, with a
deadline. What is not answered in time is not known, and the connection is closed.
"""

import json
import select
import time
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pycron.cluster.calls import CallFailed

_CONNECT = 5  # seconds for each address
# The function of the server that warns that a commit is not on the standby: the wait for it was
# cancelled. The warning has no SQLSTATE of its own, and its text is translated.
_WAITS_FOR_STANDBY = "SyncRepWaitForLSN"
# What a session is to be like. A pooler may refuse the parameter that says so: each function has
# its own lock_timeout, and no call leaves a transaction open. The server has to notice a cut
# network, too: otherwise it keeps such sessions for hours, and at last has no room for new ones.
_SESSION = (
    "-c idle_in_transaction_session_timeout=10s -c lock_timeout=5s -c statement_timeout=0"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=10s"
)
_DEFAULTS = {
    "application_name": "pycron",
    "connect_timeout": str(_CONNECT),
    "keepalives_idle": "5",  # seconds
    "keepalives_interval": "3",  # seconds
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",  # milliseconds
    "target_session_attrs": "read-write",  # only a primary
}


class SqlError(CallFailed):
    """The server refused the call, so nothing was changed. `state`: its SQLSTATE."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


def session_address(address: str, *, options: bool) -> str:
    """A connection string of libpq with pycron's own parameters. Raises CallFailed.

    What the address says itself stays. `options`: with _SESSION.
    """
    try:
        named = conninfo_to_dict(address)
        more = {key: value for key, value in _DEFAULTS.items() if named.get(key) is None}
        if options:
            more["options"] = f"{_SESSION} {named.get('options') or ''}".strip()
        return make_conninfo(address, **more)
    except psycopg.Error:  # its message has the address, and so the password
        raise CallFailed("the address of the database is no connection string of libpq") from None


class Connection:
    """One session, in which each statement is a transaction. Every failure is a CallFailed."""

    def __init__(self, address: str) -> None:
        self._session = _session(address)
        self._unreplicated = False
        self._session.add_notice_handler(self._notice)

    def close(self) -> None:
        self._session.close()

    def execute(self, sql: str, parameters: tuple[str, ...], patience: float) -> list[list[Any]]:
        """The rows, of JSON values. `patience`: seconds for the answer.

        After any CallFailed but an SqlError, the connection is of no use any more.
        """
        self._unreplicated = False
        try:
            result = self._exchange(sql, parameters, time.monotonic() + patience)
        except (psycopg.Error, OSError) as error:
            raise CallFailed(f"the connection to the database broke: {_line(error)}") from None
        if result.status == pq.ExecStatus.FATAL_ERROR:
            state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
            raise SqlError(state, f"the database says: {text or 'nothing'} ({state})")
        if self._unreplicated:
            raise CallFailed("the database did not wait for its standby")
        return [
            [_value(result.get_value(row, column)) for column in range(result.nfields)]
            for row in range(result.ntuples)
        ]

    def _exchange(self, sql: str, parameters: tuple[str, ...], deadline: float) -> pq.abc.PGresult:
        connection = self._session.pgconn
        connection.send_query_params(sql.encode(), [each.encode() for each in parameters])
        while connection.flush():
            self._wait(deadline, writing=True)
            connection.consume_input()
        found: pq.abc.PGresult | None = None
        while True:
            while connection.is_busy():
                self._wait(deadline)
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            found = result
        if found is None:
            raise psycopg.OperationalError("no answer")
        return found

    def _wait(self, deadline: float, *, writing: bool = False) -> None:
        """Until the socket is ready. Raises OSError when it is too late."""
        poll = select.poll()
        poll.register(self._session.pgconn.socket, select.POLLIN | (select.POLLOUT * writing))
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError("no answer in time")

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        self._unreplicated |= notice.source_function == _WAITS_FOR_STANDBY


def _session(address: str) -> "psycopg.Connection[Any]":
    """Without _SESSION at the second try: PgBouncer refuses it unless it is told not to."""
    try:
        return psycopg.connect(session_address(address, options=True), autocommit=True)
    except psycopg.OperationalError as error:
        if "unsupported startup parameter" not in str(error):
            raise CallFailed(f"no connection to the database: {_line(error)}") from None
    try:
        return psycopg.connect(session_address(address, options=False), autocommit=True)
    except psycopg.OperationalError as error:
        raise CallFailed(f"no connection to the database: {_line(error)}") from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _value(data: bytes | None) -> Any:
    return None if data is None else json.loads(data)
