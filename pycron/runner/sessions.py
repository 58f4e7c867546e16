"""From a start message to an open PAM session: Attempts that wait for one, and whose turn it is.

Imported by the runner: it stays small.
"""

import time
from collections.abc import Callable

from pycron.protocol.framing import Message
from pycron.protocol.runner_messages import StartMessage
from pycron.protocol.session_messages import ProcessValues
from pycron.runner.attempt import Attempt, User
from pycron.runner.attempts import Attempts
from pycron.runner.event_loop import NEVER
from pycron.runner.session_helper import SessionHelper
from pycron.runner.start_queue import StartQueue
from pycron.runner.starter import STARTERS

_SLOW = 1.0  # seconds after which PAM should have answered
_INTERVAL = 0.25  # seconds between two looks at which users are slow


class Sessions:
    """Opens a session for each Attempt that needs one, and hands it to `start`.

    An Attempt that is held for its fire time gets its session before that. So many sessions are
    opened at once as there are starters, by the same rules: users take turns, and a user whose
    sessions take long (a module waits for a server) delays no other user.
    """

    def __init__(
        self, helper: SessionHelper, attempts: Attempts, start: Callable[[Attempt], None]
    ) -> None:
        self._helper = helper
        self._attempts = attempts
        self._start = start
        self._queue = StartQueue()
        # Whose session is being opened, and since when (monotonic), by the mark of the Attempt.
        self._opening: dict[int, tuple[Attempt, User, float]] = {}
        self._held: dict[str, Attempt] = {}  # those of both that are held
        helper.take, helper.gone = self._take, self._helper_gone

    @property
    def idle(self) -> bool:
        return not self._queue and not self._opening

    def patience(self) -> float:
        """How long the event loop may wait, in seconds."""
        if not self._queue:
            return NEVER
        return 0.0 if self._may_open() else _INTERVAL

    def step(self) -> None:
        """Called in every turn of the event loop."""
        while self._queue and self._may_open():
            self._open_next()

    # ---- messages of the daemon

    def start(self, message: StartMessage) -> None:
        attempt = Attempt(message)
        self._attempts.add(attempt)
        self._queue.add(attempt)
        if message["hold"] is not None:
            self._held[attempt.id] = attempt

    def go(self, until: int) -> None:
        """Attempts that are held until this second (UTC) start as soon as they have a session."""
        for attempt in list(self._held.values()):
            if attempt.hold <= until:
                attempt.start_message["hold"] = None
                del self._held[attempt.id]

    def drop(self, id: str) -> None:
        """Forget an Attempt, if it is held and waits for its session."""
        attempt = self._held.pop(id, None)
        if attempt is not None and self._is_wanted(attempt):
            self._attempts.drop(id)

    def drop_held(self) -> None:
        for held in list(self._held):
            self.drop(held)

    # ---- sessions

    def _may_open(self) -> bool:
        return self._queue.count_except(self._barred_users()) > 0

    def _barred_users(self) -> set[User]:
        """The users for whom no session may be opened now, by the rules of StarterProcesses."""
        before = time.monotonic() - _SLOW
        slow = {user for _, user, since in self._opening.values() if since <= before}
        working = [user for _, user, since in self._opening.values() if since > before]
        if len(working) >= 2 * STARTERS:
            return self._queue.users
        return slow | set(working if len(working) >= STARTERS else ())

    def _open_next(self) -> None:
        queue = self._queue.next_turn(self._barred_users())
        if not queue:  # the last user has become slow at this moment
            return
        attempt = self._queue.take(queue)
        if not self._is_wanted(attempt):
            return
        try:
            self._helper.open(attempt)
        except OSError as error:
            self._attempts.refused(attempt, None, f"cannot start pycron.pam: {error.strerror}")
            return
        self._opening[attempt.tree.mark] = attempt, attempt.user, time.monotonic()

    def _is_wanted(self, attempt: Attempt) -> bool:
        """Whether it was neither dropped nor ended in the meantime."""
        return self._attempts.get(attempt.id) is attempt and attempt.ended is None

    def _take(self, message: Message) -> None:
        """An answer of the process that opens sessions."""
        if message["type"] not in ("opened", "no_session"):
            return
        attempt, _, _ = self._opening.pop(message["mark"])
        if not self._is_wanted(attempt):
            return
        self._held.pop(attempt.id, None)
        if message["type"] == "opened":
            attempt.session = message["process"]
            _apply(attempt.start_message, message["environment"], message["process"])
            self._start(attempt)
        else:
            self._attempts.refused(attempt, None, message["reason"], final=message["final"])

    def _helper_gone(self) -> None:
        """Refuse all that wait: if the process cannot work at all, the next one cannot either."""
        waiting = [attempt for attempt, _, _ in self._opening.values()]
        self._opening.clear()
        waiting += self._queue.take_all()
        self._held.clear()
        for attempt in waiting:
            if self._is_wanted(attempt):
                reason = "the process that opens PAM sessions has ended (see the log of the runner)"
                self._attempts.refused(attempt, None, reason)


def _apply(start: StartMessage, environment: dict[str, str], process: ProcessValues) -> None:
    """Give the command what PAM has set, where neither cron nor the table says something else.

    The rest of the values is set by the starter (spawn.py).
    """
    start["env"] = {**environment, **start["env"]}
    if start["umask"] is None:
        start["umask"] = process["umask"]
    if start["user"] is not None and process["groups"] is not None:
        start["user"]["groups"] = process["groups"]
