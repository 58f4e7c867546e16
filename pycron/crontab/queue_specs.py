"""Queue Jobs as texts: what a host that has no entry of them needs to run them.

The host that claims a Run writes the text, and the host of a worker reads it. Whoever can write to
the database may have written it: it is checked like a table of that user, and can say nothing about
as whom the command runs.

It has the variables of the table, and the settings but for those that say when the Job is due. It
is JSON in ASCII, because PostgreSQL keeps no bytes that are not UTF-8, which a table may contain.
"""

import json
from typing import Any

from pycron.crontab.identity import job_id, shared_number
from pycron.crontab.known_names import KnownNames
from pycron.crontab.line import LineError
from pycron.crontab.reader import LONGEST_LINE, LONGEST_VALUE, ReaderContext
from pycron.crontab.variables import Variables
from pycron.model.hosts import RunsOn
from pycron.model.job import Environment, Job, Source
from pycron.model.settings import SETTINGS, value_text
from pycron.schedule.expressions import NoSchedule

VERSION = 1  # of the form of the text; an older daemon leaves a newer one to others
_NOT_SENT = {
    "CRON_NAME", "CRON_TZ", "CRON_EVERY", "CRON_ONLY", "CRON_EXCEPT", "CRON_CATCHUP",
    "CRON_START_DEADLINE", "CRON_JITTER", "CRON_SEND",
}  # fmt: skip
_LONGEST_SCHEDULE = 1000  # characters


class BadSpec(ValueError):
    """A text that describes no Job; the message says why."""


def spec_of(job: Job) -> str:
    """The text of a Job."""
    settings = {
        name: value_text(setting, value)
        for name, setting in SETTINGS.items()
        if name not in _NOT_SENT
        and (value := getattr(job.settings, setting.attribute)) != setting.default
    }
    return json.dumps(
        {
            "command": job.command,
            "stdin": job.stdin,
            "environment": list(job.environment),
            "settings": settings,
            "flags": job.flags,
            "schedule": job.schedule.text,
        }
    )


def read_spec(
    text: str, cluster: str, owner: str, name: str, queue: str, context: ReaderContext
) -> Job:
    """The Job in a text, for a Run of this owner and name. Raises BadSpec."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise BadSpec("the database has no Job in its row: no JSON") from None
    if not isinstance(values, dict):
        raise BadSpec("the database has no Job in its row: no object")
    identifier = job_id(shared_number(cluster, owner, name))
    flags = _text(values, "flags", 10)
    return Job(
        id=identifier,
        name=name,
        source=Source(str(RunsOn(shared=True, queue=queue)), owner),
        line=0,
        user=owner,
        schedule=NoSchedule(_text(values, "schedule", _LONGEST_SCHEDULE)),
        command=_text(values, "command", LONGEST_LINE),
        stdin=None if values.get("stdin") is None else _text(values, "stdin", LONGEST_LINE),
        environment=_environment(values.get("environment")),
        settings=_Settings(owner, queue, context).read(values.get("settings"), flags),
        flags=flags,
    )


def _text(values: dict[str, Any], key: str, most: int) -> str:
    value = values.get(key)
    if not isinstance(value, str) or len(value) > most or not _is_sound(value):
        raise BadSpec(f"bad {key}")
    return value


def _is_sound(text: str) -> bool:
    """Whether a command could get this text: no NUL, and bytes that are not UTF-8 as surrogates."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _environment(value: object) -> Environment:
    variables = Variables({}, {})
    for pair in value if isinstance(value, list) else [None]:
        match pair:
            case [str(name), str(text)] if name and "=" not in name and _is_sound(name + text):
                try:
                    variables.set(name, text)
                except LineError as error:
                    raise BadSpec(str(error)) from None
            case _:
                raise BadSpec("bad environment")
    return tuple(variables.environment())


class _Settings:
    """Reads settings as the reader of tables does."""

    def __init__(self, owner: str, queue: str, context: ReaderContext) -> None:
        self._owner = owner
        self._queue = queue
        self._ceilings = context.ceilings
        self._known = KnownNames(
            owner, context.zone_exists, context.pools, context.notifications, context.calendars,
            context.senders,
        )  # fmt: skip

    def read(self, texts: object, flags: str) -> Any:
        """The settings. Raises BadSpec."""
        if not isinstance(texts, dict):
            raise BadSpec("bad settings")
        read = dict(self._setting(*each) for each in texts.items())
        if read.get("runs_on") != RunsOn(shared=True, queue=self._queue):
            raise BadSpec("it is a Job of another queue")
        if (read.get("nice") or 0) < 0 and self._owner != "root":
            raise BadSpec(f'bad CRON_NICE: "{read["nice"]}" (below 0 is for root)')
        return Variables({}, self._ceilings).settings_of(read, flags)

    def _setting(self, name: str, text: object) -> tuple[str, Any]:
        setting = SETTINGS.get(name)
        if setting is None or name in _NOT_SENT:
            raise BadSpec(f'unknown setting: "{name}"')
        try:
            if not isinstance(text, str) or len(text) > LONGEST_VALUE:
                raise ValueError
            value = setting.parse(text)
        except ValueError:
            raise BadSpec(f"bad {name} ({setting.form})") from None
        if name == "CRON_POOL" and self._known.denies_pool(value):
            value = None
        return setting.attribute, value
