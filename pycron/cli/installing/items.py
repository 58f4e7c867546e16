"""The files, links and directories of an installation (pure: nothing is read or written here)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("pycron", "pycrond", "pycrontab")
_SHARED = ("share/man/", "share/bash-completion/", "share/zsh/", "share/fish/")
_FURTHER_UNITS = ("pycron-web.service", "pycron-worker.service")
_UNIT_WORD = re.compile("[A-Za-z0-9/._+-]+")


@dataclass(frozen=True, slots=True)
class Directory:
    path: Path
    mode: int


@dataclass(frozen=True, slots=True)
class File:
    """`yours`: the administrator writes it, so one that exists is never replaced."""

    path: Path
    data: bytes
    yours: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    path: Path
    target: Path


Item = Directory | File | Link


@dataclass(frozen=True, slots=True)
class Target:
    """Where an installation goes. `programs`: the directory of the programs that pip has installed.

    `links`: a directory in which users find programs. `share`: of manual pages and completion.
    `accounts`, `directories`: the files for systemd-sysusers and systemd-tmpfiles; None for a user.
    `record`: in the state directory. `trees`: the state, which --purge removes.
    `private`: the mode of directories that are missing above a file.
    """

    programs: Path
    links: Path
    share: Path
    unit: Path
    config: Path
    record: Path
    trees: tuple[Path, ...]
    private: int
    accounts: Path | None = None
    directories: Path | None = None

    @property
    def system(self) -> bool:
        return self.accounts is not None

    @property
    def further_units(self) -> tuple[Path, ...]:
        """Of the page and the worker; only the installation for all users has them."""
        return tuple(map(self.unit.with_name, _FURTHER_UNITS))

    @property
    def optional(self) -> tuple[Path, Path]:
        """Directories without which the daemon runs all the same."""
        return self.links, self.share


def wanted_items(target: Target, shipped: Mapping[str, bytes], config: str) -> list[Item]:
    """Everything that an installation has, in the order in which it is made.

    `shipped`: see shipped_files. `config`: the text of a new pycron.toml.
    """
    items: list[Item] = []
    if target.accounts and target.directories:
        accounts = shipped["share/pycron/sysusers.d/pycron.conf"]
        directories = shipped["share/pycron/tmpfiles.d/pycron.conf"]
        items += tmpfiles_directories(directories.decode())
        items += [File(target.accounts, accounts), File(target.directories, directories)]
    else:
        items.append(Directory(target.record.parent, target.private))
    items.append(File(target.config, config.encode(), yours=True))
    items += _shared(target, shipped)
    if target.links != target.programs:
        items += [Link(target.links / name, target.programs / name) for name in PROGRAMS]
    unit = "pycron.service" if target.system else "pycron-user.service"
    text = shipped[f"share/pycron/systemd/{unit}"].decode()
    items.append(File(target.unit, unit_text(text, target.programs).encode()))
    if target.system:
        for path in target.further_units:
            text = shipped[f"share/pycron/systemd/{path.name}"].decode()
            items.append(File(path, unit_text(text, target.programs).encode()))
    return items


def _shared(target: Target, shipped: Mapping[str, bytes]) -> Iterator[File]:
    for name, data in shipped.items():
        if name.startswith(_SHARED):
            yield File(target.share / name.removeprefix("share/"), data)


def unit_text(shipped: str, programs: Path) -> str:
    """The text of a unit, with the directory of the programs instead of /usr/bin.

    Raises ValueError if the directory has characters that mean something in a unit.
    """
    if not _UNIT_WORD.fullmatch(str(programs)):
        raise ValueError(f"{programs}: a unit cannot name this directory (letters, digits, ._+-/)")
    return re.sub(r"/usr/bin/(?=pycron)", f"{programs}/", shipped)


# ---- the formats of systemd


def tmpfiles_directories(text: str) -> list[Directory]:
    """The lines `d PATH MODE` of tmpfiles.d(5)."""
    lines = (line.split() for line in text.splitlines())
    return [Directory(Path(words[1]), int(words[2], 8)) for words in lines if words[:1] == ["d"]]


def sysusers_accounts(text: str) -> dict[str, str | None]:
    """The lines of sysusers.d(5): a user (u) with the comment, a group (g) with None."""
    found: dict[str, str | None] = {}
    lines = re.findall(r'^([gu])\s+(\S+)\s+-(?:\s+"(.*)")?', text, re.MULTILINE)
    for kind, name, comment in lines:
        found[name] = comment if kind == "u" else None
    return found
