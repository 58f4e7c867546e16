"""No program speaks to the socket of a user who is neither root nor oneself."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from pycron.control.client import ControlClient, NoDaemon
from pycron.protocol.control_messages import StatusRequest
from tests.support.running_daemon import program
from tests.support.user_accounts import USERS, let_others_enter, real_user
from tests.support.waiting import until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

MALLORY, VICTIM, _ = USERS
ROOT = Path(__file__).parents[2]
# Writes everything that it is sent to a file.
SERVER = """
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
import os; os.chmod(sys.argv[1], 0o777)
server.listen()
while True:
    connection, _ = server.accept()
    with open(sys.argv[2], "ab") as file:
        while data := connection.recv(65536):
            file.write(data)
            file.flush()
            connection.sendall(b'{"ok":true,"text":null,"user":"x"}\\n')
"""


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A runtime directory of Mallory that others may enter, with a server in it."""
    let_others_enter(tmp_path)
    account = real_user(MALLORY)
    for directory in (tmp_path / "run", tmp_path / "run" / "pycron"):
        directory.mkdir(mode=0o755)
        os.chown(directory, account.pw_uid, account.pw_gid)
    return tmp_path / "run"


def as_user(name: str, *command: str) -> list[str]:
    return ["setpriv", f"--reuid={name}", f"--regid={name}", "--init-groups", *command]


@pytest.mark.parametrize("user", ["root", VICTIM])
def test_a_table_is_not_sent_to_anybody(tmp_path: Path, runtime: Path, user: str) -> None:
    real_user(VICTIM)
    caught, sock = runtime / "caught", runtime / "pycron" / "pycron.sock"
    server = subprocess.Popen(
        as_user(MALLORY, sys.executable, "-c", SERVER, str(sock), str(caught))
    )
    try:
        until(lambda: sock.exists() and sock.stat().st_mode & 0o777 == 0o777, patience=60)
        table, home = tmp_path / "table", pwd.getpwnam(user).pw_dir
        table.write_text("@yearly the-secret\n")
        table.chmod(0o644)
        commands = [program("pycrontab", *which, table)
                    for which in ([], ["--user"], ["--state-dir", sock.parent])]  # fmt: skip
        for command in [*commands, program("pycron", "--user", "status")]:
            done = subprocess.run(
                as_user(user, *command), capture_output=True, text=True, timeout=60, check=False,
                cwd="/", env={"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(ROOT),
                              "HOME": home, "PATH": os.environ["PATH"]},
            )  # fmt: skip
            assert done.returncode == 1, done
        assert not caught.exists() or caught.read_bytes() == b""
    finally:
        server.kill()
        server.wait()


def test_the_client_says_who_listens_there(runtime: Path) -> None:
    sock = runtime / "pycron" / "pycron.sock"
    server = subprocess.Popen(
        as_user(MALLORY, sys.executable, "-c", SERVER, str(sock), str(runtime / "caught"))
    )
    try:
        until(lambda: sock.exists() and sock.stat().st_mode & 0o777 == 0o777, patience=60)
        uid = pwd.getpwnam(MALLORY).pw_uid
        with pytest.raises(NoDaemon, match=f"a process of uid {uid} listens there"):
            ControlClient(sock).request(StatusRequest())
    finally:
        server.kill()
        server.wait()
