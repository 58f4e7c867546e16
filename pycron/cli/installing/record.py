"""The record of an installation: what setup has made, written before it does so.

`setup.json` in the state directory, mode 0600.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pycron.cli.errors import Failed
from pycron.system.accounts import own_account
from pycron.system.files import FileRules, Unreadable, read_checked
from pycron.tables import files

_LARGEST = 2**24  # bytes
_KINDS = ("file", "link", "directory", "user", "group")


@dataclass(frozen=True, slots=True)
class Made:
    """Something that setup has made. `name`: a path, or the name of an account.

    `marks`: the digest of a file or the target of a link; two while setup replaces one by another.
    """

    kind: str
    name: str
    marks: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        return Path(self.name)

    @property
    def temporary(self) -> Path:
        """Where new bytes wait until all of them are written."""
        return temporary(self.path)


def temporary(path: Path) -> Path:
    return path.with_name(f".pycron-setup-{path.name}")


@dataclass(frozen=True, slots=True)
class Record:
    made: tuple[Made, ...] = ()

    def find(self, path: Path) -> Made | None:
        return next((each for each in self.made if each.name == str(path)), None)

    def names(self, *kinds: str) -> list[str]:
        return [each.name for each in self.made if each.kind in kinds]


def merged(before: Iterable[Made], new: Iterable[Made]) -> tuple[Made, ...]:
    """Both, with all marks of what is in both."""
    found = {each.name: each for each in before}
    for each in new:
        old = found.get(each.name)
        marks = tuple(dict.fromkeys((*(old.marks if old else ()), *each.marks)))
        found[each.name] = Made(each.kind, each.name, marks)
    return tuple(found.values())


def read_record(path: Path) -> Record:
    """An empty record if there is none. Raises Failed."""
    owner = own_account().uid
    try:
        rules = FileRules(owners=lambda _: {owner})
        return _from_row(json.loads(read_checked(str(path), rules, _LARGEST).data))
    except FileNotFoundError:
        return Record()
    except (OSError, Unreadable, ValueError) as error:
        raise Failed(f"{path}: {error}") from None


def _from_row(row: object) -> Record:
    """Raises ValueError."""
    try:
        if not isinstance(row, Mapping):
            raise TypeError("no object")
        made = tuple(Made(each["kind"], each["name"], tuple(each["marks"])) for each in row["made"])
        if not all(each.kind in _KINDS and isinstance(each.name, str) for each in made):
            raise TypeError("an unknown kind")
    except (KeyError, TypeError) as error:
        raise ValueError(f"no record of an installation ({error!r})") from None
    return Record(made)


def write_record(path: Path, record: Record) -> None:
    """Replace the record; it survives a power cut. Raises OSError."""
    files.install(path, json.dumps(asdict(record), indent=1) + "\n", None)
