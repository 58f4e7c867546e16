"""The record of an import: what it makes and stops, written before it does so.

/var/lib/pycron/import.json, mode 0600. `pycron import --undo` reads it, also after an import that
was interrupted at any moment.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pycron.cli.errors import Failed
from pycron.system import paths
from pycron.system.files import FileRules, Unreadable
from pycron.tables import files

RECORD = paths.IMPORT_RECORD


@dataclass(frozen=True, slots=True)
class Made:
    """A file that the import makes. `sha256`: of its text, in hexadecimal digits."""

    path: str
    sha256: str

    @property
    def temporary(self) -> Path:
        """Where the text waits until everything is written; the daemon ignores hidden files."""
        path = Path(self.path)
        return path.parent / f".import-{path.name}"


@dataclass(frozen=True, slots=True)
class Stopped:
    """A systemd unit that the import stops, as it was before."""

    unit: str
    active: bool
    enabled: bool


@dataclass(frozen=True, slots=True)
class Record:
    """`finished`: False until everything is in place."""

    made: tuple[Made, ...] = ()
    stopped: tuple[Stopped, ...] = ()
    finished: bool = False


def read_record() -> Record | None:
    """The record of the last import; None without one. Raises Failed."""
    try:
        text, _ = files.read_table(str(RECORD), FileRules(owners=lambda _: {0}), 2**28)
        return _from_row(json.loads(text))
    except FileNotFoundError:
        return None
    except (OSError, Unreadable, ValueError) as error:
        raise Failed(f"{RECORD}: {error}") from None


def _from_row(row: object) -> Record:
    """Raises ValueError."""
    if not isinstance(row, Mapping):
        raise ValueError("no record of an import")
    try:
        made = tuple(Made(str(each["path"]), str(each["sha256"])) for each in row["made"])
        stopped = tuple(Stopped(str(each["unit"]), each["active"] is True, each["enabled"] is True)
                        for each in row["stopped"])  # fmt: skip
        return Record(made, stopped, row["finished"] is True)
    except (KeyError, TypeError) as error:
        raise ValueError(f"no record of an import ({error!r})") from None


def write_record(record: Record) -> None:
    """Replace the record; it survives a power cut. Raises OSError."""
    RECORD.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    files.install(RECORD, json.dumps(asdict(record)) + "\n", None)


def remove_record() -> None:
    """Raises OSError."""
    files.remove(RECORD)
