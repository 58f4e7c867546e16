"""The daemons that are compared: where each comes from, and how it is given entries."""

import json
import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

from box import Box, Unable

USER = "bench-user"
EVERY_MINUTE = "* * * * *"


class Entry(NamedTuple):
    schedule: str
    command: str


@dataclass
class Daemon(ABC):
    """`program` is what is started; `cache` holds what was built or downloaded."""

    name: ClassVar[str]
    period: ClassVar[int] = 60  # seconds from one of its boundaries to the next
    limits: ClassVar[bool] = False  # can be told how many commands may run at once

    program: Path
    cache: Path

    @abstractmethod
    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]: ...

    @abstractmethod
    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        """Put the entries in place; `prints`: what they print is to be kept or mailed.

        Raises Unable for more than the daemon reads.
        """

    @abstractmethod
    def version(self) -> str: ...

    def edit(self, box: Box, user: str, entries: Sequence[Entry]) -> None:
        """Replace the user's table while the daemon runs, in the daemon's own way."""
        self.install(box, user, entries, prints=False)

    def start(self, box: Box, user: str, limit: int = 0) -> None:
        box.start(self.argv(box, user, limit))


class Spawn(Daemon):
    """No daemon: a loop in C that spawns the same commands, below which nobody can get."""

    name = "spawn"
    period = 20
    limits = True

    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]:
        return [self.program, str(self.period), box.root / "commands", user, str(limit)]

    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        due = [entry.command for entry in entries if entry.schedule == EVERY_MINUTE]
        box.put("commands", "".join(f"{command}\n" for command in due))

    def version(self) -> str:
        return "posix_spawn in C"


class Vixie(Daemon):
    """A spool with a table per user, and a folder of system tables that name the user."""

    spool: ClassVar[str] = "spool/crontabs"
    system: ClassVar[str] = "cron.d"
    most: ClassVar[int] = 10_000  # entries that it reads of one table

    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        head = f"MAILTO={user}\n" if prints else 'MAILTO=""\n'
        if len(entries) <= self.most:
            text = "".join(f"{entry.schedule} {entry.command}\n" for entry in entries)
            box.put(f"{self.spool}/{user}", head + text, self._owner(user), 0o600)
            os.utime(box.root / self.spool)  # as crontab(1) does
            return
        for part in range(0, len(entries), self.most):
            text = "".join(
                f"{entry.schedule} {user} {entry.command}\n"
                for entry in entries[part : part + self.most]
            )
            box.put(f"{self.system}/bench-{part // self.most}", head + text)

    def _owner(self, user: str) -> str:
        return user


class Pycron(Vixie):
    """In system mode, history kept and output captured; `program` is the directory of its own."""

    name = "pycron"
    spool = "pycron/spool"
    system = "pycron/tables"
    limits = True

    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]:
        if limit:
            box.put("pycron/etc/pycron.toml", f"[limits]\nrunning = {limit}\n")
        return [self.program / "pycrond"]

    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        super().install(box, user, entries, prints=False)  # history keeps what is printed

    def edit(self, box: Box, user: str, entries: Sequence[Entry]) -> None:
        table = "".join(f"{entry.schedule} {entry.command}\n" for entry in entries)
        box.put("table", table)
        box.run([self.program / "pycrontab", "-u", user, box.root / "table"])

    def version(self) -> str:
        return _said([self.program / "pycrond", "--version"])


class Cron(Vixie):
    """Debian's."""

    name = "cron"

    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]:
        package = self.cache / "cron/etc/pam.d/cron"
        if package.exists():
            shutil.copy(package, box.root / "pam.d/cron")
        return [self.program, "-f"]

    def version(self) -> str:
        packages = list(self.cache.glob("cron_*.deb"))
        if packages:
            return _said(["dpkg-deb", "--field", packages[0], "Version"])
        return _said(["dpkg-query", "--showformat=${Version}", "--show", "cron"])


class Cronie(Vixie):
    name = "cronie"
    spool = "spool"

    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]:
        for service in (Path("/etc/pam.d/crond"), Path("/etc/pam.d/cron"),
                        self.cache / "cron/etc/pam.d/cron"):  # fmt: skip
            if service.exists():
                shutil.copy(service, box.root / "pam.d/crond")
                break
        return [self.program, "-n"]

    def version(self) -> str:
        return _said([self.program, "-V"])


class Busybox(Vixie):
    """Reads as many lines as it is built for: 65,535 of root's table and 255 of any other's."""

    name = "busybox"

    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]:
        return [self.program, "crond", "-f", "-c", "/var/spool/cron/crontabs"]

    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        most = 65_534 if user == "root" else 254
        if len(entries) > most:
            raise Unable(f"it reads {most} lines of {user}'s table")
        head = f"MAILTO={user}\n" if prints else ""
        text = "".join(f"{entry.schedule} {entry.command}\n" for entry in entries)
        box.put(f"{self.spool}/{user}", head + text, mode=0o600)
        with (box.root / self.spool / "cron.update").open("a") as changed:
            changed.write(f"{user}\n")

    def version(self) -> str:
        return _said([self.program]).partition(" (")[0]


class Yacron(Daemon):
    name = "yacron"

    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]:
        return [self.program, "-c", box.root / "tab.yaml"]

    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        text = "jobs:\n"
        for number, entry in enumerate(entries):
            text += f"  - name: job{number}\n    command: {json.dumps(entry.command)}\n"
            text += f"    schedule: {json.dumps(entry.schedule)}\n    utc: false\n"
            text += f"    captureStdout: {json.dumps(prints)}\n"
            text += "" if user == "root" else f"    user: {user}\n"
        box.put("tab.yaml", text)

    def version(self) -> str:
        return _said([self.program, "--version"])


class Cronstable(Yacron):
    """A fork of yacron that reads the same tables."""

    name = "cronstable"


class Supercronic(Daemon):
    """One table; its commands run as the user that it is started as."""

    name = "supercronic"

    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]:
        command: list[str | Path] = [self.program, "-inotify", box.root / "table"]
        return command if user == "root" else [*_as(user), *command]

    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        box.put("table", "".join(f"{entry.schedule} {entry.command}\n" for entry in entries))

    def version(self) -> str:
        return _said([self.program, "-version"])


def _as(user: str) -> list[str | Path]:
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]


def _said(argv: Sequence[str | Path]) -> str:
    """The first line that a program prints."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return ((done.stdout or done.stderr).splitlines() or ["?"])[0]


# ---- where they come from


def build(cache: Path) -> None:
    """The C programs, and the ordinary user that commands run as."""
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("stamp", "spawn", "sendmail"):
        source = Path(__file__).with_name(f"{name}.c")
        built = cache / name
        if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
            how = [] if name == "spawn" else ["-static"]  # the cheapest that a command can be
            subprocess.run(["cc", "-O2", "-Wall", *how, "-o", built, source], check=True)
    if subprocess.run(["id", USER], capture_output=True, check=False).returncode:
        subprocess.run(["useradd", "--create-home", "--shell=/bin/sh", USER], check=True)


def find(name: str, named: Path | None, cache: Path) -> Daemon:
    """One daemon: the program that was named, else the machine's, else one that can be had.

    Raises Unable.
    """
    match name:
        case "spawn":
            return Spawn(cache / "spawn", cache)
        case "pycron":
            return Pycron(_existing(named or Path(sys.executable).parent, "pycrond"), cache)
        case "cron":
            return Cron(named or _unpacked_unless_there("cron", "usr/sbin/cron", cache), cache)
        case "busybox":
            # The other package of it has no crond.
            return Busybox(named or _unpacked("busybox-static", "bin/busybox", cache), cache)
        case "yacron":
            return Yacron(named or _from_index(name, cache), cache)
        case "cronstable":
            return Cronstable(named or _from_index(name, cache), cache)
        case "cronie" if named:
            return Cronie(named, cache)
        case "supercronic" if named:
            return Supercronic(named, cache)
        case _ if named and name.startswith("pycron-"):
            other = Pycron(_existing(named, "pycrond"), cache)
            other.name = name
            return other
    raise Unable(f"where is it? --program {name}=PATH")


def _existing(directory: Path, program: str) -> Path:
    if not (directory / program).exists():
        raise Unable(f"{directory}: no {program} there")
    return directory


def _unpacked_unless_there(package: str, program: str, cache: Path) -> Path:
    """Of the machine's package, else of the same one unpacked."""
    there = Path("/", program)
    return there if there.exists() else _unpacked(package, program, cache)


def _unpacked(package: str, program: str, cache: Path) -> Path:
    """Of a package of Debian's that is not installed: that would start it. Raises Unable."""
    unpacked = cache / package / program
    if not unpacked.exists():
        done = subprocess.run(
            ["apt-get", "download", package],
            cwd=cache, capture_output=True, text=True, check=False,
        )  # fmt: skip
        archives = list(cache.glob(f"{package}_*.deb"))
        if not archives:
            raise Unable(f"apt-get download {package}: {done.stderr.strip()}")
        subprocess.run(["dpkg", "-x", archives[0], cache / package], check=True)
    return unpacked


def _from_index(package: str, cache: Path) -> Path:
    """Of the Python package index, in an environment of its own."""
    program = cache / package / "bin" / package
    if not program.exists():
        environment = cache / package
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([environment / "bin/pip", "install", "--quiet", package], check=True)
    return program


NAMES = ("spawn", "pycron", "cron", "busybox", "cronie", "supercronic", "yacron", "cronstable")
