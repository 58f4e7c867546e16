"""The values that the handlers of requests share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pycron.config import Config, FileState
from pycron.control.access import Access
from pycron.control.channel import Channel
from pycron.control.ended_attempts import EndedAttempts
from pycron.control.password_checks import PasswordChecks
from pycron.control.workers import Workers
from pycron.crontab.reader import ReaderContext
from pycron.engine.actions import Decisions, Log
from pycron.engine.engine import Engine
from pycron.engine.events import InputEvent
from pycron.engine.upcoming import NextFires
from pycron.model.problem import Problem
from pycron.model.run import RunKey
from pycron.model.shared import SharedKey
from pycron.ports import History, Recorder, Tables, UserTables
from pycron.protocol.control_answers import ClusterRow, KillAnswer
from pycron.protocol.framing import Message


@dataclass(frozen=True, slots=True)
class DaemonInfo:
    """Facts that only the daemon knows of itself.

    `since`: the UTC second at which it was started. `last_boot`: when @reboot Jobs were due last;
    in the foreground that is the start of the daemon. `no_mail`: why no mail can be sent.
    `config_state`: reads the configuration, and compares it with the options in force.
    `other_crons`: other crons of this machine that would run the same jobs. `cluster`: None if
    this host is in none.
    """

    mode: str
    since: float
    last_boot: float
    state: Path
    zone: str
    zone_data: str
    daemon_pid: int
    runner_pid: int | None
    no_mail: str | None
    config_file: Path | None
    config_state: Callable[[], FileState]
    other_crons: tuple[Problem, ...]
    cluster: ClusterRow | None = None


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload has changed. `changed`: the keys of options.

    `at_start`: of those that take effect at the next start. `tables`: how many were read.
    """

    changed: tuple[str, ...]
    at_start: tuple[str, ...]
    tables: int


class ClusterAccess(Protocol):
    """What handlers may ask of the cluster."""

    workers: Workers

    def refuse(self, shared: SharedKey, number: int, reason: str) -> None:
        """Note in the row of a Run that waits in a queue why this host does not take it."""

    def kill(self, shared: SharedKey, by: str, answer: Message) -> Channel[KillAnswer]:
        """End a shared Run, wherever it is. `answer`: what is said if it has not ended."""


@dataclass(slots=True)
class Context:
    """The parts of the daemon that handlers read and change.

    `user_tables` is None in the foreground, where no table can be installed. `output`: the
    directory of output files. `feed` hands an event to the engine and returns its actions, which
    the daemon performs before the answer is sent. `last_start`: the last Run that a user started
    by hand. `reload` reads configuration and tables again for the user that it is given; it raises
    ConfigError. `runner_reads`: whether the runner has read all that was sent to it; with True, it
    is sent something to read. `reader_context`: what the daemon reads tables with.
    `ended`: the Attempts that have ended lately. `next_fires`: the next fire
    times of entries, some of which are remembered. `passwords`: checks of passwords for the page.
    `cluster`: None if this host is in none.
    """

    engine: Engine
    history: History
    recorder: Recorder
    tables: Tables
    user_tables: UserTables | None
    config: Callable[[], Config]
    output: Path
    access: Access
    feed: Callable[[InputEvent], Decisions]
    log: Callable[[Log], None]
    info: Callable[[], DaemonInfo]
    reload: Callable[[str], Reloaded]
    runner_reads: Callable[[bool], bool]
    reader_context: Callable[[], ReaderContext] = ReaderContext
    ended: EndedAttempts = field(default_factory=EndedAttempts)
    last_start: RunKey | None = None
    cluster: ClusterAccess | None = None
    passwords: PasswordChecks = field(default_factory=PasswordChecks)
    next_fires: NextFires = field(init=False)

    def __post_init__(self) -> None:
        self.next_fires = NextFires(self.engine.zone_of)
