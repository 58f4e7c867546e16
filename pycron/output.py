"""Following the output file of a running command, line by line."""

from pathlib import Path

_LONGEST = 65_536  # bytes; a longer line is shown in pieces


class OutputFollower:
    """What has been added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def lines(self, ended: bool) -> list[str]:
        """The new complete lines; with `ended`, also what the last line lacks a newline to be."""
        data = self._rest + self._read()
        *lines, self._rest = data.split(b"\n")
        if self._rest and (ended or len(self._rest) > _LONGEST):
            lines.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "backslashreplace") for line in lines]

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return b""
        self._offset += len(data)
        return data
