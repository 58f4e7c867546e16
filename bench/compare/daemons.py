"""The daemons that are compared: how to find, start and configure each of them."""

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
    """A daemon. `program`: its executable; `cache`: directory of built or downloaded programs."""

    name: ClassVar[str]
    period: ClassVar[int] = 60  # seconds between two boundaries at which it starts commands
    limits: ClassVar[bool] = False  # whether it can limit how many commands run at once

    program: Path
    cache: Path

    @abstractmethod
    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]: ...

    @abstractmethod
    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        """Write the entries to the daemon's table; `prints`: keep or mail the commands' output.

        Raises Unable if there are more entries than the daemon reads.
        """

    @abstractmethod
    def version(self) -> str: ...

    def edit(self, box: Box, user: str, entries: Sequence[Entry]) -> None:
        """Replace the user's table while the daemon runs, in the daemon's own way."""
        self.install(box, user, entries, prints=False)

    def start(self, box: Box, user: str, limit: int = 0) -> None:
        box.start(self.argv(box, user, limit))


class Spawn(Daemon):
    """No daemon: a loop in C that spawns the same commands. No daemon can need less than this."""

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
    """A daemon with a spool of users' tables, and with system tables that have a user column."""

    spool: ClassVar[str] = "spool/crontabs"
    system: ClassVar[str] = "cron.d"
    most: ClassVar[int] = 10_000  # the most entries that it reads from one table

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
    """pycron in system mode, with history and captured output; `program` is a directory."""

    name = "pycron"
    spool = "pycron/spool"
    system = "pycron/tables"
    limits = True

    def argv(self, box: Box, user: str, limit: int) -> list[str | Path]:
        if limit:
            box.put("pycron/etc/pycron.toml", f"[limits]\nrunning = {limit}\n")
        return [self.program / "pycrond"]

    def edit(self, box: Box, user: str, entries: Sequence[Entry]) -> None:
        table = "".join(f"{entry.schedule} {entry.command}\n" for entry in entries)
        box.put("table", table)
        box.run([self.program / "pycrontab", "-u", user, box.root / "table"])

    def version(self) -> str:
        return _said([self.program / "pycrond", "--version"])


class PycronWithoutMail(Pycron):
    """The same without mail: its history keeps what the commands print."""

    name = "pycron-nomail"

    def install(self, box: Box, user: str, entries: Sequence[Entry], *, prints: bool) -> None:
        super().install(box, user, entries, prints=False)


class Cron(Vixie):
    """Debian's cron."""

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
    """busybox crond. By its build it reads 65,535 lines of root's table, 255 of other users'."""

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
    """A fork of yacron; it reads the same tables."""

    name = "cronstable"


class Supercronic(Daemon):
    """A daemon with one table; commands run as the user who starts the daemon."""

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


# ---- finding and building the programs


def build(cache: Path) -> None:
    """Build the C programs, and create the ordinary user that commands run as."""
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("stamp", "spawn", "sendmail"):
        source = Path(__file__).with_name(f"{name}.c")
        built = cache / name
        if not built.exists() or built.stat().st_mtime < source.stat().st_mtime:
            # A static program starts with the least work.
            how = [] if name == "spawn" else ["-static"]
            subprocess.run(["cc", "-O2", "-Wall", *how, "-o", built, source], check=True)
    if subprocess.run(["id", USER], capture_output=True, check=False).returncode:
        subprocess.run(["useradd", "--create-home", "--shell=/bin/sh", USER], check=True)


def find(name: str, named: Path | None, cache: Path) -> Daemon:
    """A daemon with the program `named`, else with the machine's, else with a downloaded one.

    Raises Unable if there is no such program.
    """
    match name:
        case "spawn":
            return Spawn(cache / "spawn", cache)
        case "pycron":
            return Pycron(_existing(named or Path(sys.executable).parent, "pycrond"), cache)
        case "pycron-nomail":
            programs = named or Path(sys.executable).parent
            return PycronWithoutMail(_existing(programs, "pycrond"), cache)
        case "cron":
            return Cron(named or _unpacked_unless_there("cron", "usr/sbin/cron", cache), cache)
        case "busybox":
            # Debian's other package, busybox, has no crond.
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
    """The program of an installed package, else of the package unpacked. Raises Unable."""
    there = Path("/", program)
    return there if there.exists() else _unpacked(package, program, cache)


def _unpacked(package: str, program: str, cache: Path) -> Path:
    """The program of a Debian package that is unpacked, not installed. Raises Unable.

    Installing the package would start its daemon.
    """
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
    """The program of a package of the Python package index, in a virtual environment."""
    program = cache / package / "bin" / package
    if not program.exists():
        environment = cache / package
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([environment / "bin/pip", "install", "--quiet", package], check=True)
    return program


NAMES = ("spawn", "pycron", "cron", "busybox", "cronie", "supercronic", "yacron", "cronstable")
