"""What tini does as process 1: start a program, pass signals on, reap orphans, end as it ends."""

import os
import signal
import sys


def main() -> None:
    child = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _: os.kill(child, received))
    while True:
        pid, status = os.wait()
        if pid == child:
            sys.exit(os.waitstatus_to_exitcode(status) % 256)


main()
