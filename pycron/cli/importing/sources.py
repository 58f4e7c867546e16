"""Where another cron keeps its tables, and the texts of those that it runs."""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pycron.cli.errors import WrongUse
from pycron.crontab.comparison import Finding, Verdict
from pycron.crontab.line import USER_NAME
from pycron.crontab.other_cron import (
    CRONIE,
    DEBIAN,
    OtherRules,
    name_is_ignored,
    why_file_is_ignored,
)
from pycron.model.job import Source
from pycron.system import paths
from pycron.system.accounts import Accounts, owners_of_table
from pycron.system.files import FileRules, Unreadable
from pycron.tables.files import ANY_OWNER, read_table, signature_of

MACHINE = Path("/")


@dataclass(frozen=True, slots=True)
class Tree:
    """A file tree that has the tables of another cron.

    `plain`: the directory has nothing but user tables, each named after its user. `user_exists`:
    whether the tree knows a user.
    """

    root: Path
    rules: OtherRules
    plain: bool
    user_exists: Callable[[str], bool]

    @property
    def is_machine(self) -> bool:
        """Whether this is the machine's own tree, with owners that count."""
        return self.root == MACHINE

    def path(self, relative: str | Path) -> Path:
        """The path of a file of a machine (`/etc/x` or `etc/x`) in this tree."""
        return self.root / str(relative).lstrip("/")

    @property
    def spool(self) -> Path:
        if self.plain:
            return self.root
        return self.path(paths.DEBIAN_SPOOL if self.rules is DEBIAN else paths.CRONIE_SPOOL)


@dataclass(frozen=True, slots=True)
class TableText:
    """A table that the other cron would read. `source`: its path, and its owner."""

    source: Source
    text: str


def find_tree(chosen: str | None, accounts: Accounts) -> Tree:
    """The tree that `--from` names: `debian`, `cronie` or a directory; None is this machine.

    Raises WrongUse.
    """
    named = {None: _rules_of(MACHINE), "debian": DEBIAN, "cronie": CRONIE}
    if chosen in named:
        return Tree(MACHINE, named[chosen], False, accounts.exists)
    assert chosen is not None
    root = Path(os.path.realpath(chosen))
    if not root.is_dir():
        raise WrongUse(f'--from: "{chosen}" is no directory (a directory, debian or cronie)')
    if root == MACHINE:
        return Tree(MACHINE, _rules_of(MACHINE), False, accounts.exists)
    plain = not (root / "etc").is_dir() and not (root / "var").is_dir()
    return Tree(root, _rules_of(root), plain, _users_of(root) or accounts.exists)


def _rules_of(root: Path) -> OtherRules:
    """Debian's cron has its spool one directory lower; without a spool, Debian is taken."""
    if (root / "var/spool/cron/crontabs").is_dir() or (root / "etc/debian_version").exists():
        return DEBIAN
    return CRONIE if (root / "var/spool/cron").is_dir() else DEBIAN


def _users_of(root: Path) -> Callable[[str], bool] | None:
    """The users of etc/passwd in the tree; None if it has no such file."""
    try:
        text, _ = read_table(str(root / "etc/passwd"), ANY_OWNER, 2**24)
    except (OSError, Unreadable):
        return None
    return {line.partition(":")[0] for line in text.splitlines()}.__contains__


class Reader:
    """Reads the tables of a tree; what is not read becomes a Finding."""

    def __init__(self, tree: Tree, most_bytes: int) -> None:
        self._tree = tree
        self._most_bytes = most_bytes
        self.findings: list[Finding] = []

    def system_tables(self) -> Iterator[TableText]:
        """/etc/crontab, and the tables of /etc/cron.d."""
        if self._tree.plain:
            return
        yield from self._read(self._tree.path(paths.CRONTAB), None)
        for path in self._listed(self._tree.path(paths.CRON_DROP_INS)):
            if name_is_ignored(self._tree.rules, path.name):
                message = f"{self._tree.rules.name} passes over a file of this name"
                self._found(path, Verdict.IGNORED, "name", message)
            else:
                yield from self._read(path, None)

    def user_tables(self) -> Iterator[TableText]:
        """The tables of the spool, each named after its user."""
        for path in self._listed(self._tree.spool):
            if not USER_NAME.fullmatch(path.name):
                self._found(path, Verdict.IGNORED, "name", "not the name of a user")
            elif not self._tree.user_exists(path.name):
                message = "there is no such user: the table is not run"
                self._found(path, Verdict.IGNORED, "no-user", message)
            else:
                yield from self._read(path, path.name)

    def text(self, relative: str | Path) -> str | None:
        """The text of another file, such as etc/cron.deny; None without one."""
        path = self._tree.path(relative)
        return next((table.text for table in self._read(path, None, is_table=False)), None)

    def _listed(self, directory: Path) -> list[Path]:
        """The files of a directory, without hidden ones and directories."""
        try:
            names = sorted(os.listdir(directory))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            message = f"cannot be read: {error.strerror}"
            self._found(directory, Verdict.REFUSED, "unreadable", message)
            return []
        found = [directory / name for name in names if name[0] != "."]
        return [path for path in found if path.is_symlink() or not path.is_dir()]

    def _read(self, path: Path, owner: str | None, is_table: bool = True) -> Iterator[TableText]:
        """The text of a file, if the other cron reads it and nothing is wrong with the file."""
        try:
            target = self._target(path, owner)
            status = os.lstat(target)
            ignored = self._why_ignored(status, owner) if is_table else None
            if ignored:
                message = f"{self._tree.rules.name} does not run it: {ignored}"
                self._found(path, Verdict.IGNORED, "not-run", message)
                return
            rules = FileRules(owners=lambda _: self._owners(owner))
            text, signature = read_table(str(target), rules, self._most_bytes)
            if signature != signature_of(status):
                raise Unreadable("changed", "was changed while it was read: try again")
        except FileNotFoundError:
            return
        except (Unreadable, OSError) as error:
            code = error.code if isinstance(error, Unreadable) else "unreadable"
            self._found(path, Verdict.REFUSED, code, str(error))
            return
        yield TableText(Source(str(path), owner), text)

    def _target(self, path: Path, owner: str | None) -> Path:
        """Where a symlink leads, which is root's and not in the spool. Raises Unreadable."""
        status = os.lstat(path)
        if not stat.S_ISLNK(status.st_mode):
            return path
        target = Path(os.path.realpath(path))
        inside = target.is_relative_to(self._tree.root)
        if owner is not None or not inside or (self._tree.is_machine and status.st_uid != 0):
            raise Unreadable("symlink", "a symbolic link: put the file itself here")
        return target

    def _owners(self, owner: str | None) -> set[int] | None:
        """The uids that a file may belong to; in a copied tree, owners say nothing."""
        if not self._tree.is_machine:
            return None
        return owners_of_table(owner) if owner else {0}

    def _why_ignored(self, status: os.stat_result, owner: str | None) -> str | None:
        """Why the other cron ignores a regular file; a plain directory has no rule for modes."""
        if not stat.S_ISREG(status.st_mode) or self._tree.plain:
            return None
        owners = self._owners(owner)
        return why_file_is_ignored(
            self._tree.rules, stat.S_IMODE(status.st_mode), status.st_nlink,
            is_user_table=owner is not None,
            right_owner=owners is None or status.st_uid in owners,
        )  # fmt: skip

    def _found(self, path: Path, verdict: Verdict, code: str, message: str) -> None:
        self.findings.append(Finding(str(path), 0, verdict, code, message))
