"""A PgBouncer of a test's own, in transaction mode, with one connection to the server."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.postgres import Postgres, free_port
from tests.support.waiting import until

PROGRAM = "/usr/sbin/pgbouncer"


def is_here() -> bool:
    return os.access(PROGRAM, os.X_OK)


@contextmanager
def running_pgbouncer(server: Postgres) -> Iterator[str]:
    """The address of its database `postgres`."""
    port = free_port()
    users, configuration = (server.directory / name for name in ("users.txt", "pgbouncer.ini"))
    users.write_text('"postgres" ""\n')
    configuration.write_text(
        "[databases]\n"
        f"postgres = host=127.0.0.1 port={server.port} dbname=postgres user=postgres\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {users}\n"
        "pool_mode = transaction\ndefault_pool_size = 1\nserver_lifetime = 1\n"
    )
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    if account:
        for path in (users, configuration):
            shutil.chown(path, account.pw_uid, account.pw_gid)
    with (server.directory / "pgbouncer.log").open("ab") as log:
        process = subprocess.Popen(
            [PROGRAM, str(configuration)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=server.directory,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )  # fmt: skip
    address = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    try:
        until(lambda: _answers(address), 30)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def _answers(address: str) -> bool:
    return subprocess.run(["psql", "-XAtqc", "SELECT 1", address], capture_output=True, check=False,
                          timeout=30).returncode == 0  # fmt: skip
