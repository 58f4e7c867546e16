"""The configuration of a running daemon: the options in force, and what their file says by now."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pycron.config.options import AT_START, OPTIONS, Config, within
from pycron.config.reader import ConfigError, read_config
from pycron.model.settings import SETTINGS
from pycron.system.files import FileRules

_NAMES = {setting.attribute: name for name, setting in SETTINGS.items()}


@dataclass(frozen=True, slots=True)
class FileState:
    """What the file says by now. `error`: why it cannot be used; then nothing else is known.

    `at_reload`: the options that a reload changes. `at_start`: those that differ, too, and take
    effect only when the daemon starts again.
    """

    error: ConfigError | None = None
    at_reload: tuple[str, ...] = ()
    at_start: tuple[str, ...] = ()


class Configuration:
    """The options in force, in one object that a reload exchanges as a whole."""

    def __init__(
        self,
        path: Path | None,
        *,
        required: bool = False,
        rules: FileRules | None = None,
        objection: Callable[[Config], str | None] = lambda _: None,
    ) -> None:
        """Read the file. `path`: None if the daemon has none. Raises ConfigError.

        `rules`: whose file it must be; by default, that of this process's user.
        `objection`: why this daemon cannot use these options on this machine; None if it can.
        """
        self.path = path
        self._required = required
        self._rules = rules
        self._objection = objection
        self._room: int | None = None
        self._config = self._read(None)

    def keep_within(self, room: int) -> None:
        """Keep only what has room in so many bytes, whatever the file says."""
        self._room = room
        self._config = within(self._config, room)

    @property
    def config(self) -> Config:
        """The options in force."""
        return self._config

    def current(self) -> Config:
        """The same, for parts of the daemon that ask each time that they need an option."""
        return self._config

    def look(self, zone_exists: Callable[[str], bool]) -> FileState:
        """Compare the file with the options in force; nothing changes."""
        try:
            return compare(self._config, self._read_again(zone_exists))
        except ConfigError as error:
            return FileState(error)

    def reload(self, zone_exists: Callable[[str], bool]) -> FileState:
        """Use what the file says; the options that have changed. Raises ConfigError.

        Without a good file nothing changes. An option of `at_start` keeps its value.
        """
        read = self._read_again(zone_exists)
        state = compare(self._config, read)
        kept = {OPTIONS[key].name: getattr(self._config, OPTIONS[key].name) for key in AT_START}
        self._config = replace(read, **kept)
        return state

    def _read_again(self, zone_exists: Callable[[str], bool]) -> Config:
        """A pipe could be read at the start only; here it would make the daemon wait for ever."""
        if self.path and self.path.exists() and not self.path.is_file():
            raise ConfigError(self.path, "no regular file: it can be read only at the start")
        return self._read(zone_exists)

    def _read(self, zone_exists: Callable[[str], bool] | None) -> Config:
        config = Config() if self.path is None else self._read_file(self.path, zone_exists)
        return config if self._room is None else within(config, self._room)

    def _read_file(self, path: Path, zone_exists: Callable[[str], bool] | None) -> Config:
        config = read_config(path, self._required, zone_exists, self._rules)
        objection = self._objection(config)
        if objection is not None:
            raise ConfigError(path, objection)
        return config


def compare(in_force: Config, read: Config) -> FileState:
    """The options in which two configurations differ."""
    differing = list(_differing(in_force, read))
    return FileState(
        at_reload=tuple(key for key in differing if key not in AT_START),
        at_start=tuple(key for key in differing if key in AT_START),
    )


def _differing(one: Config, other: Config) -> Iterator[str]:
    """The keys of the options that differ, in the order of the options."""
    for key, option in OPTIONS.items():
        if getattr(one, option.name) != getattr(other, option.name):
            yield key
    if one.has_mail != other.has_mail:
        yield "[mail]"
    yield from _differing_keys("pools", one.pools, other.pools)
    yield from _differing_keys("calendars", one.calendars, other.calendars)
    yield from _differing_keys("defaults", one.defaults, other.defaults)
    yield from _differing_keys("ceilings", one.ceilings, other.ceilings)
    yield from _differing_keys("notify", one.notifications, other.notifications)
    yield from _differing_keys("senders", one.senders, other.senders)


def _differing_keys(
    section: str, one: Mapping[str, Any], other: Mapping[str, Any]
) -> Iterator[str]:
    for key in sorted({*one, *other}):
        if one.get(key) != other.get(key):
            name = _NAMES[key] if section in ("defaults", "ceilings") else key
            yield f"{section}.{name}"
