"""The plans for this machine as it is now, and what runs on it."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from pycron.cli.errors import Failed
from pycron.cli.installing import machine
from pycron.cli.installing.items import Target, sysusers_accounts, wanted_items
from pycron.cli.installing.machine import Machine
from pycron.cli.installing.plan import Plan, install_plan, systemctl
from pycron.cli.installing.record import Record, temporary
from pycron.cli.installing.removal import removal_plan
from pycron.cli.installing.shipped import shipped_files
from pycron.config.template import template
from pycron.control.client import ControlClient, ControlError
from pycron.model.text import printable
from pycron.protocol.control_answers import LiveRow, StatusAnswer
from pycron.protocol.control_messages import StatusRequest, TopRequest
from pycron.system import paths

_MOST_LISTED = 1000  # running commands


def plan_install(target: Target, before: Record) -> Plan:
    """Raises Failed."""
    shipped = {name: path.read_bytes() for name, path in shipped_files().items()}
    reload = "systemctl reload pycron" if target.system else "pycron --user reload"
    try:
        items = wanted_items(target, shipped, template(reload))
    except ValueError as error:
        raise Failed(str(error)) from None
    except KeyError as error:
        raise Failed(f"pycron is not complete: {error} is missing") from None
    text = shipped["share/pycron/sysusers.d/pycron.conf"].decode()
    accounts = sysusers_accounts(text) if target.system else {}
    now = machine_now(target, [item.path for item in items], before)
    return install_plan(target, items, accounts, now, before)


def plan_removal(target: Target, before: Record, *, purge: bool) -> Plan:
    """Raises Failed."""
    if target.system and paths.IMPORT_RECORD.exists():
        raise Failed("pycron has taken over the tables of another cron: pycron import --undo gives "
                     f"them back (or remove {paths.IMPORT_RECORD}, and nothing goes back)"
                     )  # fmt: skip
    runner = _paths(target).runner_socket
    now = machine_now(target, [runner], before)
    _check_no_other_daemon(target, now)
    return removal_plan(target, now, before, purge=purge, runner=runner)


def machine_now(target: Target, wanted: Iterable[Path], before: Record) -> Machine:
    """Raises Failed."""
    made = [Path(name) for name in before.names("file", "link", "directory")]
    extra = [target.unit, *target.trees, *target.optional, *map(temporary, made)]
    try:
        found = machine.look_at([*wanted, *made, *extra])
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from None
    users, groups = machine.accounts()
    return Machine(
        found,
        users,
        groups,
        machine.tools(),
        systemd_runs(target),
        is_active(target),
        {path for path in target.optional if machine.is_read_only(path)},
    )


def systemd_runs(target: Target) -> bool:
    """Whether systemd's manager answers: the machine's, or the one of this user."""
    if target.system:
        return Path("/run/systemd/system").is_dir()
    return Path(os.environ.get("XDG_RUNTIME_DIR", "/nowhere"), "systemd/private").exists()


def is_active(target: Target) -> bool:
    if not systemd_runs(target):
        return False
    command = [*systemctl(target), "is-active", "--quiet", "pycron.service"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=60, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


# ---- what runs


def running_commands(target: Target) -> Iterator[str]:
    """A line for each command that runs, below one that says what becomes of them."""
    rows = _running(target)
    if not rows:
        return
    yield (f"{len(rows)} {'command runs' if len(rows) == 1 else 'commands run'}, and "
           "a removal leaves them alone (pycron kill --all ends them):")  # fmt: skip
    for row in rows:
        yield printable(f"  {row['run_id']} {row['job']} of {row['user']}, pid {row['pid']}")


def _running(target: Target) -> list[LiveRow]:
    try:
        client = ControlClient(_paths(target).socket)
        answer = client.request(TopRequest(_MOST_LISTED))
    except ControlError:
        return []
    return [row for row in answer["running"] if row["pid"] is not None]


def _check_no_other_daemon(target: Target, now: Machine) -> None:
    """Refuse to remove a daemon's files while it runs, if no unit can stop it. Raises Failed."""
    if now.active:
        return
    try:
        status: StatusAnswer = ControlClient(_paths(target).socket).request(StatusRequest())
    except ControlError:
        return
    pid = status["processes"]["daemon"]["pid"]
    raise Failed(f"a daemon runs that systemd has not started: end it first (kill {pid})")


def _paths(target: Target) -> paths.Paths:
    return paths.system_paths() if target.system else paths.user_paths()
