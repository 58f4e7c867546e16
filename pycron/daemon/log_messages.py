"""The message of each event in the journal and on the console: a sentence, and a priority.

In a sentence, `{job}` is a key of the event. A part in square brackets appears only if each of its
keys has a value. Beside the keys of the event there are `entry`, the table and line of the Job's
entry, and `again`, the number of the Attempt if that is not 1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from pycron.engine.actions import Log
from pycron.engine.log_events import Event
from pycron.model.in_words import duration_in_words
from pycron.model.run import Outcome
from pycron.model.text import printable


class Priority(IntEnum):
    """How important an entry is: the levels of syslog(3) that pycron uses."""

    ERR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


@dataclass(frozen=True, slots=True)
class EventMessage:
    """`priority`: that of the event; a bad event has at least WARNING."""

    priority: Priority
    sentence: str


ERR, WARNING, NOTICE, INFO = Priority

MESSAGES = {
    Event.DAEMON_STARTED: EventMessage(
        NOTICE, "pycron {version} has started, mode {mode}, zone {zone}"
    ),
    Event.DAEMON_STOPPING: EventMessage(
        NOTICE,
        "{signal}: the daemon ends (running commands: {running}[: {commands}; {next_signal}])",
    ),
    Event.DAEMON_STOPPED: EventMessage(
        NOTICE,
        "the daemon has ended (commands that go on: {running}"
        "[: {commands}; pycron kill --all ends them])",
    ),
    Event.METRICS_ENDED: EventMessage(
        WARNING, "the process that serves metrics at {address} has ended: {reason}"
    ),
    Event.AGENT_STARTED: EventMessage(
        INFO, "the agent of the cluster {cluster} has started (pid {pid})"
    ),
    Event.AGENT_LOST: EventMessage(
        WARNING, "the agent of the cluster has gone: {reason}; shared jobs wait for another one"
    ),
    Event.AGENT_LOG: EventMessage(INFO, "the agent of the cluster: {reason}"),
    Event.CLUSTER_JOINED: EventMessage(
        NOTICE, "this host is {host} of the cluster {cluster} (incarnation {incarnation})"
    ),
    Event.CLUSTER_PROBLEM: EventMessage(WARNING, "the cluster {cluster}: {reason}"),
    Event.WORKER_CAME: EventMessage(INFO, "a worker serves {queues} (pid {pid}, pycron {version})"),
    Event.WORKER_LEFT: EventMessage(INFO, "the worker that served {queues} has gone (pid {pid})"),
    Event.WORK_REFUSED: EventMessage(
        WARNING, "the Job {job} of {user} in the queue {queue} is left to other hosts: {reason}"
    ),
    Event.RUNNER_STARTED: EventMessage(
        INFO, "the runner has started (pid {pid})[, without a cgroup: {reason}]"
    ),
    Event.RUNNER_FOUND: EventMessage(
        INFO, "the runner of the last daemon was found (Attempts: {attempts})"
    ),
    Event.RUNNER_LOST: EventMessage(ERR, "the runner has ended, another one is started: {reason}"),
    Event.TABLE_LOADED: EventMessage(INFO, "table {table} was read (Jobs: {jobs})"),
    Event.TABLE_REMOVED: EventMessage(NOTICE, "table {table} no longer exists"),
    Event.TABLE_BAD: EventMessage(
        ERR, "table {table} is bad (errors: {errors}); what runs: {running} (Jobs: {jobs})"
    ),
    Event.TABLE_PROBLEM: EventMessage(WARNING, "{problem}"),
    Event.TABLE_IGNORED: EventMessage(WARNING, "{path} is ignored: {reason}"),
    Event.TABLES_NOT_WATCHED: EventMessage(WARNING, "{reason}"),
    Event.TABLE_INSTALLED: EventMessage(
        NOTICE, "{by} has installed the table of {table} (Jobs: {jobs})"
    ),
    Event.TABLE_DELETED: EventMessage(NOTICE, "{by} has deleted the table of {table}"),
    Event.ATTEMPT_STARTED: EventMessage(
        INFO, "{job} of {user} has started[, attempt {again}][: {command}][ ({entry})]"
    ),
    Event.ATTEMPT_ENDED: EventMessage(INFO, ""),  # ENDINGS has the sentences
    Event.ATTEMPT_LOST: EventMessage(
        WARNING, "{job} of {user} is lost[ in attempt {again}][: {reason}][ ({entry})]"
    ),
    Event.ATTEMPT_STOPPED: EventMessage(NOTICE, "{job} of {user} is being ended: {reason}"),
    Event.RETRY_PLANNED: EventMessage(NOTICE, "{job} of {user} is tried again in {seconds}"),
    Event.RUN_GIVEN_UP: EventMessage(
        NOTICE, "{job} of {user}, due at {fire_time}: {outcome}, {reason}[ ({entry})]"
    ),
    Event.FIRE_TIMES_REFUSED: EventMessage(
        WARNING,
        "{user}: fire times after {after} and up to {until} were missed: {count} so far, {reason}",
    ),
    Event.RUN_BY_HAND: EventMessage(NOTICE, "{by} has started {job} of {user}"),
    Event.DELIVERY_FAILED: EventMessage(
        ERR, "{job} of {user} was not sent and is kept as a dead letter[ ({entry})]"
    ),
    Event.MAIL_NOWHERE: EventMessage(WARNING, "mail cannot be sent: {reason}"),
    Event.CONFIG_BAD: EventMessage(
        ERR, "the configuration was not read again, asked for by {by}: {reason}"
    ),
    Event.OTHER_CRON: EventMessage(WARNING, "{reason}"),
    Event.PAM_SERVICE_MISSING: EventMessage(WARNING, "{reason}"),
    Event.VERSION_NOT_KEPT: EventMessage(
        WARNING, "a version of the table of {table} was not kept: {reason}"
    ),
    Event.MAIL_IS_NEW: EventMessage(WARNING, "{reason}"),
    Event.PAUSED: EventMessage(NOTICE, "{by} has paused {scope}[ until {until}][: {reason}]"),
    Event.RESUMED: EventMessage(NOTICE, "the pause of {scope} is over"),
    Event.OUTPUT: EventMessage(INFO, "{job} | {line}"),
    Event.CLOCK_STEPPED: EventMessage(WARNING, "the clock was set by {seconds}"),
    Event.REQUEST_BROKEN: EventMessage(
        ERR, "a request was refused because of an error of pycron: {reason}"
    ),
    Event.ACCESS_DENIED: EventMessage(
        WARNING, "{user} has tried to use pycrontab and may not (pid {pid})"
    ),
    Event.ACCOUNT_REPLACED: EventMessage(
        WARNING, "{user} is another account now (uid {uid}): what the former one had is not its own"
    ),
    Event.SUMMARY: EventMessage(
        INFO, "running: {running}[: {commands}]; waiting: {waiting}[: {queue}]"
    ),
    Event.ONCE: EventMessage(INFO, "what is due at {minute} runs once (Jobs: {due})"),
    Event.RELOADED: EventMessage(
        NOTICE,
        "the configuration and all tables were read again, asked for by {by} (tables: {tables})"
        "[; options changed: {changed}][; takes effect at the next start: {at_start}]",
    ),
    Event.STORE_FAILED: EventMessage(ERR, "the database: {reason}[; left out: Run {run_id}]"),
    Event.STORE_RECOVERED: EventMessage(
        NOTICE, "the database can be written to again (Runs not on record: {dropped})"
    ),
    Event.STORE_REPAIRED: EventMessage(
        ERR, "the database was replaced: {reason} (Runs saved: {runs}[; old file: {aside}])"
    ),
    Event.COMMANDS_SIGNALLED: EventMessage(
        NOTICE, "{signal} was sent to all commands (running: {running})"
    ),
    Event.ZONE_UNKNOWN: EventMessage(WARNING, "{reason}"),
    Event.ZONES_RELOADED: EventMessage(
        NOTICE, "the zone is {zone}, the zone data {zone_data}[ {release}]"
    ),
    Event.LOG_DROPPED: EventMessage(
        WARNING,
        "the log stood still, and a part of it is missing (lines of commands: {lines}, "
        "events of the daemon: {events})",
    ),
}

_FAILED = "[: exit status {exit_status}][ after {again} attempts][: {reason}][ ({entry})]"
_ENDED = "[ after {duration}][, attempt {again}][: {reason}][ ({entry})]"
ENDINGS = {  # an Attempt cannot be missed or skipped
    Outcome.SUCCEEDED: "{job} of {user} has succeeded" + _ENDED,
    Outcome.FAILED: "{job} of {user} failed" + _FAILED,
    Outcome.TIMED_OUT: "{job} of {user} timed out" + _ENDED,
    Outcome.KILLED: "{job} of {user} was killed[ by signal {signal}]" + _ENDED,
    Outcome.OUT_OF_MEMORY: "{job} of {user} ran out of memory" + _ENDED,
    Outcome.CANCELLED: "{job} of {user} was cancelled" + _ENDED,
}

_OF_JOB = "{job} of {user}"  # how a sentence about a Job begins

_OPTIONAL = re.compile(r"\[([^\]]*)\]")
_KEY = re.compile(r"\{(\w+)\}")


def priority(log: Log) -> Priority:
    usual = MESSAGES[log.event].priority
    return min(usual, WARNING) if log.bad else usual


def message(log: Log) -> str:
    """The sentence about an event, in one line."""
    facts = _facts(log)
    return _filled(_sentence(log), facts)


def console_message(log: Log) -> tuple[str | None, str]:
    """The Job that an event is about (None: none), and what the console says, in one line.

    A sentence that begins with the Job begins behind it, without the user and the entry.
    """
    facts = {key: value for key, value in _facts(log).items() if key != "entry"}
    job = str(facts.get("job", "-"))
    if log.event is Event.OUTPUT:
        return job, f"| {printable(str(facts['line']))}{'…' if 'partial' in facts else ''}"
    sentence = _sentence(log)
    rest = sentence.removeprefix(_OF_JOB)
    if rest == sentence:
        return None, _filled(sentence, facts)
    return job, _filled(rest.lstrip(", "), facts)


def _sentence(log: Log) -> str:
    return MESSAGES[log.event].sentence or ENDINGS[Outcome(str(log.fields["outcome"]))]


def _filled(sentence: str, facts: Mapping[str, object]) -> str:
    # Only the sentence is searched for keys, never a value, which may contain braces.
    chosen = _OPTIONAL.sub(lambda part: part[1] if _has_all(facts, part[1]) else "", sentence)
    return _KEY.sub(lambda key: printable(str(facts.get(key[1]))), chosen)


def _facts(log: Log) -> dict[str, object]:
    facts = dict(log.fields)
    if log.entry is not None:
        facts["entry"] = f"{log.entry.table}:{log.entry.line}"
    for key in ("duration", "seconds"):
        if isinstance(value := facts.get(key), int | float):
            facts[key] = duration_in_words(value)
    if facts.get("attempt") != 1:
        facts["again"] = facts.get("attempt")
    return facts


def _has_all(facts: Mapping[str, object], text: str) -> bool:
    return all(facts.get(key) is not None for key in _KEY.findall(text))
