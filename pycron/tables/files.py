"""One table file: checked, read, installed, removed."""

import os
from pathlib import Path

from pycron.model.job import Source
from pycron.model.problem import Problem, Severity
from pycron.system.files import (
    Content,
    FileRules,
    Unreadable,
    read_checked,
    replace_file,
    sync_directory,
)

# Identifies a version of a file: another text, owner or mode gives another signature.
Signature = tuple[int, ...]
UNREAD: Signature = ()  # of no file
ANY_OWNER = FileRules()


def read_table(path: str, rules: FileRules, most_bytes: int) -> tuple[str, Signature]:
    """The text of a table, and the signature of the version that was read.

    Raises Unreadable or FileNotFoundError, and OSError if the process is short of files or memory.
    """
    content = read_table_file(path, rules, most_bytes)
    return text_of(content), signature_of(content.status)


def read_table_file(path: str, rules: FileRules, most_bytes: int) -> Content:
    """The content of a table's file. Raises the same."""
    try:
        return read_checked(path, rules, most_bytes)
    except Unreadable as error:
        if error.code != "too-large":
            raise
        raise Unreadable("too-large", f"{error} (limits.table_bytes in pycron.toml)") from None


def text_of(content: Content) -> str:
    """The text of a table: bytes that are no UTF-8 are kept."""
    return content.data.decode("utf-8", "surrogateescape")


def too_many(most: int) -> str:
    """Why one more table cannot be added."""
    return f"no room for another table (limits.tables is {most})"


def signature_of(status: os.stat_result) -> Signature:
    """The signature of a file with this status."""
    return (
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
    )  # fmt: skip


def problem_of(source: Source, error: Unreadable) -> Problem:
    """The Problem of a table that must not be read."""
    return Problem(source.name, 0, 1, Severity.ERROR, error.code, str(error))


def linked(source: Source, content: Content) -> Problem | None:
    """A warning if the file of a table has a further name elsewhere, which harms nothing."""
    if not content.has_other_names:
        return None
    message = (
        f"the file has {content.status.st_nlink} names, and anybody may have made the others "
        "(find -samefile); the table runs as before"
    )
    return Problem(source.name, 0, 1, Severity.WARNING, "hard-link", message)


def install(path: Path, text: str, owner: tuple[int, int] | None) -> None:
    """Put a table in place, whole or not at all. Raises OSError.

    `owner`: the uid and gid of the file; None for those of this process.
    """
    replace_file(path, text.encode("utf-8", "surrogateescape"), owner=owner or (-1, -1))


def remove(path: Path) -> None:
    """Delete a table; the deletion survives a power cut. Raises OSError."""
    path.unlink()
    sync_directory(path.parent)
