"""Variables: what the lines of a table above an entry say of it."""

from collections.abc import Mapping
from typing import Any

from pycron.crontab.line import LineError
from pycron.model.job import Environment
from pycron.model.settings import Concurrency, Settings, intern, job_limit

LARGEST_ENVIRONMENT = 65_536  # characters; every command of a minute gets a copy


class Variables:
    """The variables and settings that hold at a line of a table.

    `defaults` and `ceilings`: values of settings, by attribute, from the configuration.
    """

    def __init__(self, defaults: Mapping[str, Any], ceilings: Mapping[str, Any]) -> None:
        self.values: dict[str, Any] = dict(defaults)
        self.ceilings = ceilings
        self._environment: dict[str, str] = {}
        self._snapshot: Environment | None = ()
        self._settings = self._capped(self.values)

    def set(self, name: str, value: str) -> None:
        """Set a variable of the environment. Raises LineError."""
        environment = {**self._environment, name: value}
        size = sum(len(key) + len(text) for key, text in environment.items())
        if size > LARGEST_ENVIRONMENT:
            message = f"more than {LARGEST_ENVIRONMENT} characters of variables"
            raise LineError("too-many-variables", message, 0)
        self._environment = environment
        self._snapshot = None

    def set_setting(self, attribute: str, value: Any) -> None:
        """Set a setting of all entries below."""
        self.values = {**self.values, attribute: value}
        self._settings = self._capped(self.values)

    def environment(self) -> Environment:
        """The same object until a variable is set: many entries share it."""
        if self._snapshot is None:
            self._snapshot = tuple(self._environment.items())
        return self._snapshot

    def settings_of(self, values: dict[str, Any], flags: str) -> Settings:
        """The settings of an entry: those in force, or those of its own `values`.

        OpenBSD's flag -s is CRON_CONCURRENCY=forbid, unless the table says otherwise.
        """
        if "s" in flags and values.get("concurrency") is None:
            return self._capped({**values, "concurrency": Concurrency.FORBID})
        return self._settings if values is self.values else self._capped(values)

    def _capped(self, values: dict[str, Any]) -> Settings:
        """The settings with these values, each at most its ceiling.

        The name is left out: it belongs to one Job, and many Jobs share the rest.
        """
        values = {attribute: value for attribute, value in values.items() if attribute != "name"}
        settings = intern(frozenset(values.items()))
        above = {
            attribute: most
            for attribute, most in self.ceilings.items()
            if (value := _effective(settings, attribute)) is None or value > most
        }
        return intern(frozenset({**values, **above}.items())) if above else settings


def _effective(settings: Settings, attribute: str) -> Any:
    """The value of a setting; without CRON_MAX_RUNNING, the policy may allow one Attempt only."""
    return job_limit(settings) if attribute == "max_running" else getattr(settings, attribute)
