"""The share of the processors that a process has beside many commands.

Imported by the runner: it stays small.
"""

import os

_FILE = "/proc/self/autogroup"
_USUAL = 0
_RAISED = -10  # a nice value: 9.3 times the usual share


class ProcessorShare:
    """The share of this process and its session: autogroup, sched(7).

    Linux divides the processors among sessions, and each command is one: beside a thousand of them
    the daemon would get a thousandth, and other users' commands would start late. Nothing happens
    if this process does not lead its session, because others belong to it; without the right to do
    so (root has it); and where the kernel has no autogroups.
    """

    def __init__(self) -> None:
        self._is_raised = False
        self._may_change = os.getsid(0) == os.getpid()

    def keep(self, *, raised: bool) -> None:
        """Raise the share, or make it the usual one again."""
        if raised is self._is_raised or not self._may_change:
            return
        try:
            with open(_FILE, "w") as file:
                file.write(str(_RAISED if raised else _USUAL))
            self._is_raised = raised
        except OSError:
            self._may_change = False
