"""The configuration, pycron.toml: what is not a table's to say. One record per option.

`Config` is the single source: the reader, the defaults and the manual's test read it.
"""

import dataclasses
import difflib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class ConfigError(Exception):
    """A configuration that can't be used; the message names the file and the option."""


def _option(key: str, default: Any, help: str) -> Any:
    return field(default=default, metadata={"key": key, "help": help})


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes are bytes. Retention: whichever is reached first; see retention.py."""

    table_bytes: int = _option("limits.table_bytes", 32 * 2**20, "the largest table")
    table_entries: int = _option("limits.table_entries", 100_000, "the most entries of a table")
    user_table_bytes: int = _option(
        "limits.user_table_bytes", 4 * 2**20, "the largest table that a user may install"
    )
    user_table_entries: int = _option(
        "limits.user_table_entries", 10_000, "the most entries of a table that a user may install"
    )
    output_bytes: int = _option(
        "limits.output_bytes", 2**20, "how much of an Attempt's output is kept"
    )
    processes: int = _option(
        "limits.processes", 4096, "the most processes that an Attempt may have at once"
    )
    clients: int = _option("limits.clients", 64, "the most connections to the control socket")
    retention_days: int = _option(
        "retention.days", 90, "how many days a Run and its output are kept"
    )
    retention_runs: int = _option("retention.runs", 1_000_000, "how many Runs are kept")
    retention_job_runs: int = _option(
        "retention.job_runs", 10_000, "how many Runs of one Job are kept"
    )
    retention_output_bytes: int = _option(
        "retention.output_bytes", 2**30, "how much output is kept in all"
    )
    retention_database_bytes: int = _option(
        "retention.database_bytes", 2**30, "how large the database may be"
    )
    operators: str = _option("access.operators", "pycron", "the group whose members see everything")


OPTIONS: dict[str, "dataclasses.Field[Any]"] = {
    f.metadata["key"]: f for f in dataclasses.fields(Config)
}


def read_config(path: Path, required: bool) -> Config:
    """The configuration in a file; the defaults when there is none. Raises ConfigError."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: no such file") from None
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from None
    return Config(**_values(document, path))


def _values(document: dict[str, Any], path: Path) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for section, content in document.items():
        if not isinstance(content, dict):
            raise ConfigError(f'{path}: "{section}" stands outside of a [section]')
        if section not in {key.partition(".")[0] for key in OPTIONS}:
            raise ConfigError(f'{path}: unknown section: "[{section}]" (see pycron.toml(5))')
        for key, value in content.items():
            name = f"{section}.{key}"
            option = OPTIONS.get(name)
            if option is None:
                close = difflib.get_close_matches(name, OPTIONS, 1)
                hint = f"did you mean {close[0]}?" if close else "see pycron.toml(5)"
                raise ConfigError(f'{path}: unknown option: "{name}" ({hint})')
            values[option.name] = _checked(name, value, option, path)
    return values


def _checked(name: str, value: Any, option: "dataclasses.Field[Any]", path: Path) -> Any:
    wanted = type(option.default)
    if type(value) is not wanted or (isinstance(value, int) and not 1 <= value < 2**62):
        form = "a whole number above 0" if wanted is int else "a text"
        raise ConfigError(f"{path}: bad {name}: {value!r} ({form})")
    return value
