"""Signals of the process, as readable events of the loop."""

import os
import selectors
import signal
from collections.abc import Callable

# Not SIGABRT: the watchdog of systemd ends a daemon that hangs with it. Python ignores SIGPIPE.
_CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1,
           signal.SIGUSR2, signal.SIGALRM, signal.SIGCHLD)  # fmt: skip


def is_init() -> bool:
    """Whether this process is PID 1, the init of a container."""
    return os.getpid() == 1


def catch_signals(
    selector: selectors.BaseSelector, handler: Callable[[signal.Signals], None]
) -> None:
    """From now on the selector reports signals, and its callback calls the handler for each."""
    receiver, sender = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    for number in _CAUGHT:
        signal.signal(number, lambda *_: None)

    def read(_events: int) -> None:
        for number in os.read(receiver, 4096):
            handler(signal.Signals(number))

    selector.register(receiver, selectors.EVENT_READ, read)


def reap_orphans() -> None:
    """As PID 1: every process that has lost its parent is a child of this process."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
