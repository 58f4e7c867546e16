"""`pycrontab --versions`, `--restore N` and `--diff N`: the last versions of a user's table."""

import sys

from pycron.cli.crontab_texts import encode, say_installed
from pycron.cli.errors import Failed
from pycron.cli.terminal import write_bytes
from pycron.control.client import ControlClient
from pycron.model.table_version import Origin
from pycron.model.text import printable
from pycron.protocol.table_answers import VersionRow
from pycron.protocol.table_messages import (
    RestoreRequest,
    TableRequest,
    VersionRequest,
    VersionsRequest,
)

_WORDS = {
    Origin.EDIT.value: "pycrontab -e",
    Origin.FILE.value: "pycrontab FILE",
    Origin.STDIN.value: "pycrontab -",
    Origin.RESTORE.value: "pycrontab --restore",
    Origin.DELETE.value: "pycrontab -r",
    Origin.FOUND.value: "found in the spool",
}


def list_versions(client: ControlClient, user: str | None) -> int:
    answer = client.request(VersionsRequest(user))
    if not answer["rows"]:
        raise Failed(f"no versions of a crontab for {answer['user']}")
    lines = [_columns(row) for row in answer["rows"]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        print("  ".join(cells).rstrip())
    return 0


def _columns(row: VersionRow) -> tuple[str, str, str, str, str]:
    """The number, with a star if it is the current version; time, author, origin and size."""
    mark = "*" if row["current"] else " "
    origin = _WORDS.get(row["origin"], "another client")
    if row["restored"] is not None:
        origin += f" {row['restored']}"
    return (
        f"{mark}{row['number']:4}",
        row["local"],
        printable(row["author"] or "-"),
        origin,
        _size(row),
    )


def _size(row: VersionRow) -> str:
    if row["bytes"] is None:
        return "no table"
    entries = "1 entry" if row["entries"] == 1 else f"{row['entries']} entries"
    return f"{entries}, {row['bytes']} bytes"


def restore(client: ControlClient, user: str | None, number: int) -> int:
    say_installed(client.request(RestoreRequest(number, user)), f"version {number}")
    return 0


def print_difference(client: ControlClient, user: str | None, number: int) -> int:
    """A unified diff from a version to the table as it is now; nothing if they are equal."""
    old = client.request(VersionRequest(number, user))["text"] or ""
    new = client.request(TableRequest(user))["text"] or ""
    write_bytes(_difference(encode(old), encode(new), f"version {number}"))
    sys.stdout.flush()
    return 0


def _difference(old: bytes, new: bytes, label: str) -> bytes:
    """A unified diff of two texts, by diff(1): its time is bounded, whatever the texts are."""
    import subprocess
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(old)
        file.seek(0)
        fd = file.fileno()
        command = ["diff", "-u", "--label", label, "--label", "current", f"/proc/self/fd/{fd}", "-"]
        try:
            done = subprocess.run(
                command, input=new, pass_fds=[fd], capture_output=True, check=False
            )
        except FileNotFoundError:
            raise Failed("there is no program diff: install diffutils") from None
    if done.returncode > 1:
        raise Failed(done.stderr.decode(errors="replace").strip())
    return done.stdout
