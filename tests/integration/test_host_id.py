"""What H, ~ and CRON_JITTER depend on: --host-id, PYCRON_HOST_ID, the machine id, the name."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.running_daemon import foreground, run

TABLE = "".join(f"CRON_NAME=j{i} H H * * * true\n" for i in range(5))


def picked(table: Path, host_id: str) -> list[tuple[str, str]]:
    """The fire times of the table's Jobs on this host, without a daemon."""
    environment = {**os.environ, "PYCRON_HOST_ID": host_id}
    listed = run("pycron", "next", "--json", "--table", table, env=environment)
    assert listed.returncode == 0, listed.stderr
    return sorted({(row["job"], row["fire_time"][11:]) for row in rows(listed)})


def rows(done: "subprocess.CompletedProcess[str]") -> list[dict[str, str]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_option_stands_above_the_variable(tmp_path: Path) -> None:
    environment = {**os.environ, "PYCRON_HOST_ID": "web-2"}
    with foreground(TABLE, tmp_path, "--host-id", "web-1", env=environment):
        state = str(tmp_path / "state")
        listed = rows(run("pycron", "--state-dir", state, "next", "--json"))
    times = sorted({(row["job"], row["fire_time"][11:]) for row in listed})
    assert times == picked(tmp_path / "table", "web-1")
    assert times != picked(tmp_path / "table", "web-2")


def test_the_variable_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "PYCRON_HOST_ID": "web-2"}
    with foreground(TABLE, tmp_path, env=environment):
        listed = rows(run("pycron", "--state-dir", str(tmp_path / "state"), "next", "--json"))
    times = sorted({(row["job"], row["fire_time"][11:]) for row in listed})
    assert times == picked(tmp_path / "table", "web-2")


def test_an_empty_id_is_refused(tmp_path: Path) -> None:
    refused = run("pycrond", "--foreground", "--table", tmp_path / "table", "--host-id", "")
    assert refused.returncode == 2
    assert "identifies no host" in refused.stderr


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.parametrize("machine_id", ["", "uninitialized\n", "0123abcd\n"])
def test_the_default(tmp_path: Path, machine_id: str) -> None:
    """An image for many machines may have a file without an id: then the host name counts."""
    (tmp_path / "id").write_text(machine_id)
    script = "import os; from pycron.system import host; print(host.host_id())"
    if not Path("/etc/machine-id").exists():
        pytest.skip("this machine has no /etc/machine-id")
    mount = f'mount --bind {tmp_path}/id /etc/machine-id; exec "$@"'
    environment = {name: os.environ[name] for name in os.environ if name != "PYCRON_HOST_ID"}
    said = subprocess.run(
        ["unshare", "-m", "sh", "-ec", mount, "sh", sys.executable, "-c", script],
        capture_output=True, text=True, check=True, env=environment,
    ).stdout.strip()  # fmt: skip
    assert said == ("0123abcd" if "0123" in machine_id else socket.gethostname())
