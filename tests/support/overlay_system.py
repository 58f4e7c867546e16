"""A machine to install pycron on, for tests that run as root.

A private mount namespace in which /etc, /var and /usr/local can be changed at will: overlays catch
the changes. /run is empty, and /opt has a virtual environment with a wheel of pycron.
"""

import os
import shutil
import site
import subprocess
import sys
import venv
from pathlib import Path

from tests.support.isolated_system import entering

_OVERLAID = ("/etc", "/var", "/usr/local")
_LISTED = (*_OVERLAID, "/opt", "/run")


def environment_with(wheel: Path, directory: Path) -> Path:
    """A new virtual environment with a wheel, and with the dependencies of this environment.

    It can be moved to another directory as long as only `python -m` is used until then.
    """
    venv.create(directory, symlinks=True)
    install_wheel(wheel, directory)
    (packages,) = directory.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    return directory


def install_wheel(wheel: Path, directory: Path, *prefix: str) -> None:
    """With the pip of these tests: to install another one takes seconds."""
    pip = [sys.executable, "-m", "pip", "--python", str(directory / "bin/python"), "install", "-q",
           "--no-index", "--no-deps", "--force-reinstall", str(wheel)]  # fmt: skip
    subprocess.run([*prefix, *pip], check=True, timeout=300, env=installed())


def installed() -> dict[str, str]:
    """An environment in which Python imports what is installed, and not this checkout."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


class OverlaySystem:
    """`opt`: a directory whose copy becomes /opt."""

    def __init__(self, directory: Path, opt: Path) -> None:
        shutil.copytree(opt, directory / "opt", symlinks=True)
        (directory / "opt").chmod(0o755)
        layers = directory / "layers"
        layers.mkdir()
        script = [f"mount -t tmpfs tmpfs {layers}", "mount -t tmpfs -o mode=755 tmpfs /run"]
        for number, path in enumerate(_OVERLAID):
            upper, work = layers / f"upper{number}", layers / f"work{number}"
            options = f"lowerdir={path},upperdir={upper},workdir={work}"
            script.append(f"mkdir {upper} {work} && chmod 755 {upper}")
            script.append(f"mount -t overlay -o {options} overlay {path}")
        script.append(f"mount --bind {directory / 'opt'} /opt")
        # What tests on this machine may have left behind.
        script.append("rm -rf /etc/pycron /etc/pycron.d /var/lib/pycron /var/spool/pycron")
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec",
             f"{'; '.join(script)}; echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout
        assert self._holder.stdout.readline() == b"ready\n"

    @property
    def inside(self) -> list[str]:
        return entering(self._holder.pid)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as root."""
        return subprocess.run(
            [*self.inside, *command], env=installed(), capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip

    def setup(self, *options: str) -> subprocess.CompletedProcess[str]:
        """`pycron setup --system` of the programs in /opt/pycron."""
        return self.run("/opt/pycron/bin/pycron", "setup", "--system", *options)

    def shell(self, script: str) -> str:
        """The output of a shell script, which must succeed."""
        done = self.run("sh", "-ec", script)
        assert done.returncode == 0, done
        return done.stdout

    def listing(self) -> set[str]:
        """Every file below the directories that can change, with the accounts."""
        found = self.shell(
            f"find {' '.join(_LISTED)} -ignore_readdir_race -xdev"
            " \\( -path /opt/pycron/lib -o -path /var/cache \\) -prune"
            " -o -printf '%p %y %m %U %l %s\\n'; cat /etc/passwd /etc/group"
        )
        # Directories change their size, and these files are made anew by every change of accounts.
        lines = found.replace(" d ", " d  ").splitlines()
        return {_without_size(line) for line in lines if not line.startswith(_OF_ACCOUNTS)}

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout
        self._holder.stdout.close()


_OF_ACCOUNTS = tuple(f"/etc/{name}" for name in ("passwd", "group", "shadow", "gshadow", "subuid",
                                                  "subgid", ".pwd.lock"))  # fmt: skip


def _without_size(line: str) -> str:
    return line.rpartition(" ")[0] if " d  " in line else line
