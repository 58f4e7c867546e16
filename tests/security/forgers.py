"""Processes that pretend to belong to the Attempt of another user: they take its mark."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

FORGER = """
import ctypes, os, resource, signal, sys, time
mark, kind = int(sys.argv[1]), sys.argv[2]
resource.setrlimit(resource.RLIMIT_RTTIME, (mark, mark))
if kind == "hog":
    hog = b"x" * (200 << 20)
    print("ready", flush=True)
    time.sleep(1000)
os.nice(19)  # other tests run, too
PR_SET_CHILD_SUBREAPER = 36  # whose SIGCHLD is ignored: no zombie stays, whatever pid 1 does
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(int(kind)):
    if os.fork() == 0:
        break
else:
    print("ready", flush=True)
    time.sleep(1000)
while True:  # a chain: each process has a child and exits
    if os.fork():
        os._exit(0)
"""


# The arguments of a forger. A mark follows, and what the forger does: a `hog` takes 200 MB; a
# number is that of its chains of forks.
FORGING = [
    shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable,
    "-S",
    "-c",
    FORGER,
]


@contextlib.contextmanager
def forger(mark: int, kind: str, user: dict[str, Any]) -> Iterator[None]:
    """A forger that is no descendant of the runner; what it has started is killed at the end."""
    ids = {"user": user["uid"], "group": user["gid"], "extra_groups": []}
    with subprocess.Popen([*FORGING, str(mark), kind], stdout=subprocess.PIPE, **ids) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        try:
            yield
        finally:
            process.kill()
            if user["uid"]:
                end_all_of(user["uid"])


def end_all_of(uid: int) -> None:
    """SIGKILL to all processes of a user at once: chains of forks are ended, too."""
    assert uid
    pid = os.fork()
    if pid == 0:
        os.setresuid(uid, uid, uid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)
