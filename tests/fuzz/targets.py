"""The readers that are fuzzed. Each reads a text, and fails only by the errors it documents."""

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, cast, get_args, get_type_hints

from pycron.config import ConfigError, read_config
from pycron.config.options import OPTIONS
from pycron.crontab import comparison
from pycron.crontab.other_cron import CRONIE, DEBIAN
from pycron.crontab.reader import ReaderContext, parse
from pycron.model.history import RunFilter
from pycron.model.job import Source
from pycron.protocol import (
    cluster_messages,
    runner_checks,
    runner_messages,
    table_messages,  # noqa: F401, registers further requests
)
from pycron.protocol.control_checks import check_answer
from pycron.protocol.control_messages import REQUESTS, BadRequest, parse_request
from pycron.protocol.framing import Decoder, Message
from pycron.schedule.expressions import ScheduleError, parse_cron, parse_nickname, resolved_text
from pycron.schedule.fields import FieldError
from pycron.schedule.fire_times import next_fire
from pycron.schedule.words import explain
from pycron.schedule.zone import UTC
from pycron.storage.errors import StoreError
from pycron.storage.store import Store
from pycron.system import zone_file
from pycron.system.user_lists import users_in
from tests.fuzz.files import bytes_of, spoilt_database, spoilt_zone
from tests.fuzz.messages import made, text_of
from tests.fuzz.tables import Maker

_NOW = 1_781_092_800
_MESSAGE_BYTES = 2**20


def tables(text: str) -> None:
    machine = comparison.Machine(lambda _: UTC, _NOW)
    for owner in ("joe", None):
        source = Source("joe", owner)
        table = parse(
            text, source, ReaderContext(host="h", no_mail="none", ceilings={"retries": 3})
        )
        assert table.jobs.table_text == text
        for index, job in enumerate(table.jobs):
            assert job.id == table.jobs.id(index)
            next_fire(job.schedule, UTC, _NOW)
            dict(job.environment)
        for problem in table.problems:
            str(problem).encode()  # no byte of the table reaches a terminal as it is
        for rules in (DEBIAN, CRONIE):
            comparison.compare(text, source, ReaderContext(), rules, machine)


def schedules(text: str) -> None:
    words = tuple(text.split())
    try:
        if text.startswith("@"):
            schedule = parse_nickname(*words[:2])
        elif len(words) == 5:
            schedule = parse_cron(words, lambda _: 7)
        else:
            return
    except (FieldError, ScheduleError):
        return
    explain(schedule)
    resolved_text(schedule)
    next_fire(schedule, UTC, _NOW)


def configuration(text: str) -> None:
    with tempfile.NamedTemporaryFile("w", errors="surrogateescape") as file:
        file.write(text)
        file.flush()
        try:
            read_config(Path(file.name), required=True)
        except ConfigError as error:
            str(error)


def allow(text: str) -> None:
    assert not any("#" in user for user in users_in(text))


def control_messages(text: str) -> None:
    """The daemon reads a request of a client, and a client an answer of the daemon."""
    for message in _decoded(text):
        with suppress(BadRequest):
            parse_request(message, "0.1.0")
        request = REQUESTS.get(str(message.get("verb")))
        if request is not None:
            with suppress(ValueError):
                check_answer(cast(Any, request.answer), message)


def runner_protocol(text: str) -> None:
    """The runner reads a message of the daemon, and the daemon one of the runner."""
    checks = runner_checks
    _read_by(text, checks.daemon_message, checks.runner_message, checks.runner_hello)


def agent_protocol(text: str) -> None:
    """The agent reads a message of the daemon, and the daemon one of the agent."""
    checks = cluster_messages
    _read_by(text, checks.daemon_message, checks.agent_message, checks.agent_hello)


def _read_by(text: str, *readers: Callable[[Message], object]) -> None:
    for read in readers:
        for message in _decoded(text):  # a reader may change the message
            with suppress(ValueError):
                read(message)


def _decoded(text: str) -> Iterator[Message]:
    with suppress(ValueError):
        yield from Decoder(_MESSAGE_BYTES).feed(bytes_of(text) + b"\n")


def zones(text: str) -> None:
    """Whether a zone file is sound; zoneinfo itself may end the process if one is not."""
    with suppress(ValueError):
        zone_file.check(bytes_of(text))


def database(text: str) -> None:
    """A database file as the daemon opens it, and what it asks when it starts."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pycron.db"
        path.write_bytes(bytes_of(text))
        with suppress(StoreError):
            store = Store(path)
            try:
                store.unfinished()
                store.done_after(0)
                store.runs(RunFilter(limit=100))
            finally:
                store.close()


def _configuration_text(maker: Maker, numbers: random.Random) -> str:
    lines = []
    for _ in range(numbers.randrange(1, 6)):
        section, _, key = numbers.choice([*OPTIONS, "defaults.CRON_RETRIES", "notify.x"]).partition(
            "."
        )
        value = numbers.choice(['"1h"', "5", "-1", "1e400", "[]", "{}", '"é"', "true", "[[1]]",
                                "2026-01-01", f'"{maker.field()}"'])  # fmt: skip
        lines.append(f"[{section}]\n{key} = {value}\n")
    return maker.spoilt("".join(lines))


def _control_text(maker: Maker, numbers: random.Random) -> str:
    verb, request = numbers.choice(sorted(REQUESTS.items()))
    hints = {each.name: each.type for each in fields(cast(Any, request))}
    kind = hints if numbers.random() < 0.5 else get_type_hints(request.answer)
    return maker.spoilt(text_of({"verb": verb, **made(kind, numbers)}))


def _message_text(maker: Maker, numbers: random.Random, kinds: tuple[Any, ...]) -> str:
    return maker.spoilt(text_of(made(get_type_hints(numbers.choice(kinds)), numbers)))


_RUNNER = (
    *get_args(runner_messages.DaemonMessage),
    *get_args(runner_messages.RunnerMessage),
    runner_messages.RunnerHello,
)
_AGENT = (
    *get_args(cluster_messages.ClusterDaemonMessage),
    *get_args(cluster_messages.ClusterAgentMessage),
    cluster_messages.AgentHello,
)

Make = Callable[[Maker, random.Random], str]

TARGETS: dict[str, tuple[Callable[[str], None], Make]] = {
    "tables": (tables, lambda maker, _: maker.table()),
    "schedules": (schedules, lambda maker, _: maker.spoilt(maker.schedule())),
    "configuration": (configuration, _configuration_text),
    "allow": (allow, lambda maker, _: maker.table()),
    "control": (control_messages, _control_text),
    "runner": (runner_protocol, lambda maker, numbers: _message_text(maker, numbers, _RUNNER)),
    "agent": (agent_protocol, lambda maker, numbers: _message_text(maker, numbers, _AGENT)),
    "zones": (zones, lambda _, numbers: spoilt_zone(numbers)),
    "database": (database, lambda _, numbers: spoilt_database(numbers)),
}
