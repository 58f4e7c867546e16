"""Carries a plan out, all or nothing, and takes it back.

The order of an import: the record, the texts in hidden files, the other cron stopped, the texts in
place, the record again. If anything fails, what was done is undone at once; after a crash,
`pycron import --undo` does so with the record. The tables of the other cron are only read.
"""

import hashlib
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from pycron.cli.errors import Failed
from pycron.cli.importing import units
from pycron.cli.importing.plan import NewFile, Plan
from pycron.cli.importing.record import (
    Made,
    Record,
    read_record,
    remove_record,
    write_record,
)
from pycron.system import paths
from pycron.system.files import Unreadable, sync_directory
from pycron.tables.files import ANY_OWNER, read_table
from pycron.tables.layouts import LAYOUTS

_UNDO = "pycron import --undo"
_LARGEST = 2**30  # bytes of a table that is compared


def apply(plan: Plan, *, is_machine: bool, stop_other: bool) -> None:
    """Write the files of a plan. Raises Failed, and then nothing has changed.

    `is_machine`: the tables are those of this machine, which another cron of it may run.
    """
    _check_is_root()
    before = read_record() or Record(finished=True)
    if not before.finished:
        raise Failed(f"an import was interrupted: {_UNDO}, then import again")
    files = [*plan.files, *(units.conflicts() if is_machine and stop_other else [])]
    new = [file for file in files if not _is_there(file)]
    others = units.conflicting(plan.replaces_anacron) if is_machine else []
    if others and not stop_other:
        messages = "\n  ".join(cron.message for cron in others)
        raise Failed(
            f"nothing was done, as every job would run twice (--stop-other):\n  {messages}"
        )
    made = tuple(Made(str(file.path), _digest(_data(file))) for file in new)
    own = Record(made, units.states_of(others))
    both = Record(before.made + own.made, before.stopped + own.stopped)
    try:
        write_record(both)
        _write_all(new, own.made)
        if own.stopped:
            units.stop(own.stopped, plan.replaces_anacron)
        _put_in_place(new, own.made)
        units.read_again(own.made)
        write_record(replace(both, finished=True))
    except BaseException as error:
        _take_back(own, before)
        if isinstance(error, OSError):
            raise Failed(f"nothing was done: {error.filename}: {error.strerror}") from None
        raise
    _say(f"made {each.path}" for each in own.made)
    _say(f"stopped {each.unit}" for each in own.stopped)


def undo() -> None:
    """Remove what imports have made, and start again what they have stopped. Raises Failed.

    A file that was changed since is kept, and named. The record goes last: an interrupted undo can
    be repeated.
    """
    _check_is_root()
    record = read_record()
    if record is None:
        raise Failed("there is no import to undo")
    try:
        _remove_made(record.made)
        units.read_again(record.made)
        units.start_again(record.stopped)
        remove_record()
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror} ({_UNDO} continues)") from None
    _say(f"started {each.unit}" for each in record.stopped if each.active)


# ---- the steps of an import


def _check_is_root() -> None:
    if os.geteuid() != 0:
        raise Failed("only root may change the system's tables")


def _is_there(file: NewFile) -> bool:
    """Whether the file exists with this text. Raises Failed if it has another text."""
    data = _data(file)
    try:
        if _read(file.path, len(data)) == data:
            return True
    except FileNotFoundError:
        return False
    except (OSError, Unreadable):
        pass  # something else is in its place
    raise Failed(f"{file.path} exists and differs from {file.source}: remove one of them")


def _write_all(new: Iterable[NewFile], made: Iterable[Made]) -> None:
    """Write each text to a hidden file beside its place."""
    form = LAYOUTS["pycron"].form()
    for file, each in zip(new, made, strict=True):
        mode = 0o700 if file.path.parent == paths.SPOOL else 0o755
        file.path.parent.mkdir(mode=mode, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(each.temporary, flags, 0o600), "wb") as out:
            out.write(_data(file))
            out.flush()
            if file.user is not None and (owner := form.owner(file.user)):
                os.fchown(out.fileno(), *owner)
            os.fchmod(out.fileno(), file.mode)
            os.fsync(out.fileno())


def _put_in_place(new: Iterable[NewFile], made: Iterable[Made]) -> None:
    for file, each in zip(new, made, strict=True):
        if not _is_there(file):
            os.rename(each.temporary, file.path)
    for directory in {file.path.parent for file in new}:
        sync_directory(directory)


def _take_back(own: Record, before: Record) -> None:
    """Undo an import that has failed, and go back to the record of the imports before."""
    try:
        _remove_made(own.made)
        units.read_again(own.made)
        units.start_again(own.stopped)
        if before.made or before.stopped:
            write_record(before)
        elif read_record() is not None:
            remove_record()
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise Failed(f"the import failed, and so did taking it back: {reason} ({_UNDO})") from None


# ---- back again


def _remove_made(made: Iterable[Made]) -> None:
    """Remove the files that still have the text of the import. Raises OSError."""
    for each in made:
        path = Path(each.path)
        each.temporary.unlink(missing_ok=True)
        try:
            is_unchanged = _digest(_read(path, _LARGEST)) == each.sha256
        except FileNotFoundError:
            continue
        except Unreadable:
            is_unchanged = False
        if is_unchanged:
            path.unlink()
            sync_directory(path.parent)
        else:
            _say([f"kept {path}: it was changed since the import"])


def _read(path: Path, most_bytes: int) -> bytes:
    """The bytes of a regular file. Raises as read_table."""
    text, _ = read_table(str(path), ANY_OWNER, most_bytes)
    return text.encode("utf-8", "surrogateescape")


def _data(file: NewFile) -> bytes:
    return file.text.encode("utf-8", "surrogateescape")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"pycron: {line}", file=sys.stderr)
