"""The steps of a plan. Each has one line for people, which --dry-run prints, too."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from pycron.cli.installing.items import Directory, File, Item


class StepRow(TypedDict):
    """A step as JSON. `detail`: a mode, a target or a reason."""

    step: str
    path: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Make:
    """`replaces`: an older version of it is there."""

    item: Item
    replaces: bool = False

    @property
    def row(self) -> StepRow:
        path = str(self.item.path)
        if isinstance(self.item, Directory):
            return {"step": "make directory", "path": path, "detail": f"mode {self.item.mode:04o}"}
        verb = "replace" if self.replaces else "write"
        if isinstance(self.item, File):
            return {"step": verb, "path": path, "detail": None}
        verb = "replace link" if self.replaces else "link"
        return {"step": verb, "path": path, "detail": f"to {self.item.target}"}


@dataclass(frozen=True, slots=True)
class Remove:
    """A file or a link."""

    path: Path

    @property
    def row(self) -> StepRow:
        return {"step": "remove", "path": str(self.path), "detail": None}


@dataclass(frozen=True, slots=True)
class RemoveDirectory:
    """A directory that is empty by then."""

    path: Path

    @property
    def row(self) -> StepRow:
        return {"step": "remove directory", "path": str(self.path), "detail": None}


@dataclass(frozen=True, slots=True)
class RemoveTree:
    """A directory with everything in it."""

    path: Path

    @property
    def row(self) -> StepRow:
        return {"step": "remove directory", "path": str(self.path), "detail": "with all its files"}


@dataclass(frozen=True, slots=True)
class Run:
    """A command of the system. `reason`: what it is good for."""

    words: tuple[str, ...]
    reason: str | None = None

    @property
    def row(self) -> StepRow:
        return {"step": f"run {' '.join(self.words)}", "path": None, "detail": self.reason}


@dataclass(frozen=True, slots=True)
class DismissRunner:
    """Tell the runner of this socket, if there is one, to exit when its commands have ended."""

    socket: Path

    @property
    def row(self) -> StepRow:
        reason = "it exits when its commands have ended"
        return {"step": "dismiss the runner", "path": str(self.socket), "detail": reason}


Step = Make | Remove | RemoveDirectory | RemoveTree | Run | DismissRunner


def sentence(step: Step) -> str:
    row = step.row
    words = " ".join(word for word in (row["step"], row["path"]) if word)
    return f"{words} ({row['detail']})" if row["detail"] else words
