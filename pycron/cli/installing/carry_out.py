"""Carries a plan out: the only module that changes the machine.

The order: the record of what was there and of what comes, the steps, the record of what is there
now. After an interruption the same call goes on where it was.
"""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from pycron.cli.errors import Failed
from pycron.cli.installing.items import Directory, File, Item, Link
from pycron.cli.installing.plan import Plan
from pycron.cli.installing.record import Record, merged, temporary, write_record
from pycron.cli.installing.steps import (
    DismissRunner,
    Make,
    Remove,
    RemoveDirectory,
    RemoveTree,
    Run,
    Step,
)
from pycron.protocol.framing import encode
from pycron.system import unix_sockets
from pycron.system.files import sync_directory

_LONGEST = 120  # seconds; systemd waits 90 for a unit to stop


def carry_out(plan: Plan, record: Path, before: Record, say: Callable[[Step], None]) -> None:
    """`record`: its path. `say` is called before each step. Raises Failed."""
    try:
        if plan.after.made:
            _make_room(plan.steps, record)
            write_record(record, Record(merged(before.made, plan.after.made)))
        for step in plan.steps:
            say(step)
            _do(step)
        if plan.after.made:
            write_record(record, plan.after)
        else:
            record.unlink(missing_ok=True)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise Failed(f"{where}{error.strerror or error} (the same command goes on when that is "
                     "mended)") from None  # fmt: skip


def _make_room(steps: Iterable[Step], record: Path) -> None:
    """Make the directories above the record, which are steps of the plan if they are missing."""
    for step in steps:
        if isinstance(step, Make) and step.item.path in record.parents:
            _make(step.item)


def _do(step: Step) -> None:
    """Raises OSError or Failed. A step that was done before an interruption does no harm."""
    match step:
        case Make(item):
            _make(item)
        case Remove(path):
            path.unlink(missing_ok=True)
        case RemoveDirectory(path):
            path.rmdir()
        case RemoveTree(path):
            _remove_tree(path)
        case Run(words):
            _run(words)
        case DismissRunner(socket):
            with suppress(OSError):  # nobody listens
                unix_sockets.connect(str(socket), 5).sendall(encode([{"type": "leave"}]))


def _remove_tree(path: Path) -> None:
    """The place at which a file system is mounted stays, empty."""
    try:
        shutil.rmtree(path)
    except OSError as error:
        if error.errno != errno.EBUSY or not path.is_mount() or any(path.iterdir()):
            raise


def _make(item: Item) -> None:
    if isinstance(item, Directory):
        with suppress(FileExistsError):
            item.path.mkdir()
            item.path.chmod(item.mode)  # without the umask
    elif isinstance(item, File):
        _put(item.path, item.data)
    else:
        _link(item)


def _put(path: Path, data: bytes) -> None:
    """Write a file that everybody may read, whole or not at all; a link there is replaced."""
    new = temporary(path)
    new.unlink(missing_ok=True)  # of an interrupted call
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(new, flags, 0o644), "wb") as file:
        file.write(data)
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        os.fsync(file.fileno())
    new.rename(path)
    sync_directory(path.parent)


def _link(link: Link) -> None:
    new = temporary(link.path)
    new.unlink(missing_ok=True)
    new.symlink_to(link.target)
    new.rename(link.path)
    sync_directory(link.path.parent)


def _run(words: tuple[str, ...]) -> None:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"
    try:
        done = subprocess.run(
            words, env=os.environ | {"PATH": path}, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, errors="replace", timeout=_LONGEST, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(words)}: no end after {_LONGEST} s") from None
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise Failed(f"{' '.join(words)}: {reason}")
