"""The paths of pycron's files in each of its modes; no other module knows them."""

import os
from dataclasses import dataclass
from pathlib import Path

SPOOL = Path("/var/spool/pycron")
DROP_INS = Path("/etc/pycron.d")
SYSTEM_STATE = Path("/var/lib/pycron")
SYSTEM_RUN = Path("/run/pycron")
SYSTEM_CONFIG = Path("/etc/pycron/pycron.toml")
# Who may use pycrontab: the first file of each pair that exists holds.
ALLOW = Path("/etc/pycron/allow")
DENY = Path("/etc/pycron/deny")
CRON_ALLOW = Path("/etc/cron.allow")
CRON_DENY = Path("/etc/cron.deny")
# The tables of other crons.
CRONTAB = Path("/etc/crontab")
CRON_DROP_INS = Path("/etc/cron.d")
DEBIAN_SPOOL = Path("/var/spool/cron/crontabs")
CRONIE_SPOOL = Path("/var/spool/cron")
# Debian's cron and cronie make these files when they have run the @reboot jobs of a boot.
BOOT_MARKERS = (Path("/run/crond.reboot"), Path("/run/cron.reboot"))
# What `pycron import --apply` has made, as long as it can be undone.
IMPORT_RECORD = SYSTEM_STATE / "import.json"
# Makes systemd stop the other cron when pycron starts, and pycron when the other cron starts.
CONFLICTS = Path("/etc/systemd/system/pycron.service.d/conflicts.conf")

# In the environment: the state directory of the daemon that the programs speak to.
STATE_DIR_VARIABLE = "PYCRON_STATE_DIR"

WEB_ACCOUNT = "pycron-web"  # the account of the page, in system mode

# What `pycron setup` has made: a file in the state directory.
SETUP_RECORD = "setup.json"


@dataclass(frozen=True, slots=True)
class Paths:
    """`state` survives a boot; `run`, which has the sockets, does not.

    `temporary`: both are one directory, which is removed when the daemon has ended.
    """

    state: Path
    run: Path
    temporary: bool = False

    @property
    def socket(self) -> Path:
        return self.run / "pycron.sock"

    @property
    def runner_socket(self) -> Path:
        return self.run / "runner.sock"

    @property
    def running(self) -> Path:
        """The process trees of the Attempts that run, for the next runner."""
        return self.run / "runner.running"

    @property
    def cluster(self) -> Path:
        """The directory of the agent of the cluster."""
        return self.run / "cluster"

    @property
    def lease(self) -> Path:
        """How long shared Attempts may run; only the agent writes it."""
        return self.cluster / "lease"

    @property
    def agent_socket(self) -> Path:
        return self.cluster / "agent.sock"

    @property
    def agent_pid(self) -> Path:
        """Not in the directory of the agent, which the daemon does not trust."""
        return self.run / "agent.pid"

    @property
    def agent_log(self) -> Path:
        return self.state / "agent.log"

    @property
    def runner_log(self) -> Path:
        return self.state / "runner.log"

    @property
    def database(self) -> Path:
        return self.state / "pycron.db"

    @property
    def output(self) -> Path:
        return self.state / "output"

    @property
    def versions(self) -> Path:
        """The last versions of users' tables, below a directory for each user."""
        return self.state / "versions"

    @property
    def receipts(self) -> Path:
        """What the programs that send deliveries leave, below a directory for each user."""
        return self.state / "receipts"

    @property
    def booted(self) -> Path:
        """The boot whose @reboot Jobs have run, written if the database cannot be."""
        return self.run / "booted"

    @property
    def other_cron_stopped(self) -> Path:
        """Its time is that at which another cron, which ran the same tables, was stopped."""
        return self.state / "other-cron-stopped"

    @property
    def web_tokens(self) -> Path:
        """The hashes of the tokens of the page."""
        return self.state / "web-tokens"

    @property
    def lock(self) -> Path:
        return self.state / "lock"


def system_paths() -> Paths:
    return Paths(SYSTEM_STATE, SYSTEM_RUN)


def user_paths() -> Paths:
    """The directories that the XDG base directory specification gives.

    A runtime directory of another user is passed over: the specification says that its owner is the
    user, and su(1) may leave the one of the user before.
    """
    state = _xdg("XDG_STATE_HOME", ".local/state") / "pycron"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    run = Path(runtime) / "pycron" if _is_own_directory(runtime) else state / "run"
    return Paths(state, run)


def user_table() -> Path:
    return _xdg("XDG_CONFIG_HOME", ".config") / "pycron" / "crontab"


def user_config() -> Path:
    return _xdg("XDG_CONFIG_HOME", ".config") / "pycron" / "pycron.toml"


def user_data() -> Path:
    """For manual pages and completion."""
    return _xdg("XDG_DATA_HOME", ".local/share")


def paths_in(directory: Path, *, temporary: bool = False) -> Paths:
    """Everything in one directory, for --state-dir."""
    return Paths(directory, directory, temporary)


def _is_own_directory(path: str) -> bool:
    """True also for one that does not exist: then nobody listens there."""
    try:
        return os.path.isabs(path) and os.stat(path).st_uid == os.geteuid()
    except OSError:
        return True


def _xdg(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    return Path(value) if os.path.isabs(value) else home() / default


def home() -> Path:
    """The home directory of this user: HOME, else the one of the user database, else the root.

    In a container, a user may have neither.
    """
    try:
        return Path.home()
    except RuntimeError:
        return Path("/")
