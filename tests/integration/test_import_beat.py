"""`pycron import --from celery-beat`: a project's code runs in a child, a dump runs nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pycron
from tests.support.running_daemon import program
from tests.support.user_accounts import USERS, UserAccount, user_account
from tests.support.waiting import until

ROOT = Path(pycron.__file__).resolve().parents[1]
PROJECT = """\
from celery import Celery
from celery.schedules import crontab
print("the code prints")
app = Celery("proj", broker="redis://localhost:1/0")
app.conf.timezone = "Europe/Berlin"
app.conf.beat_schedule = {
    "nightly": {"task": "proj.nightly", "schedule": crontab(30, 2), "args": (1, "a")},
    "tick": {"task": "proj.tick", "schedule": 30.0},
}
@app.on_after_finalize.connect
def more(sender, **kwargs):
    sender.add_periodic_task(crontab(0, "*/3"), sender.signature("proj.added"), name="added")
"""
TABLE = """\
CRON_NAME=nightly CRON_TZ=Europe/Berlin 30 2 * * *  proj.nightly [1, "a"]
CRON_NAME=tick @every 30s  proj.tick
CRON_NAME=added CRON_TZ=Europe/Berlin 0 */3 * * *  proj.added
"""
SETTINGS = """\
import datetime
CELERY_BEAT_SCHEDULE = {
    "x": {"task": "a.b", "schedule": datetime.timedelta(minutes=5), "kwargs": {"d": 3}},
}
CELERY_TIMEZONE = "Asia/Tokyo"
"""


@pytest.fixture
def user(tmp_path: Path) -> UserAccount:
    return user_account(USERS[0], tmp_path / "home")


def converted(user: UserAccount, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        program("pycron", "import", "--from", "celery-beat", *arguments), cwd=user.home,
        env=user.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False, timeout=200, **user.run_as,
    )  # fmt: skip


def entries(text: str) -> str:
    return "".join(
        line + "\n" for line in text.splitlines() if not line.startswith(("#", "CRON_S"))
    )


@pytest.mark.parametrize("name", ["proj", "proj/celery.py", "proj.celery:app"])
def test_the_schedule_of_a_project(user: UserAccount, name: str) -> None:
    """Also tasks that are added when the app is ready, and with a file called celery.py."""
    pytest.importorskip("celery")
    (user.home / "proj").mkdir()
    (user.home / "proj/__init__.py").touch()
    (user.home / "proj/celery.py").write_text(PROJECT)
    done = converted(user, name)
    assert done.returncode == 0, done.stderr
    assert entries(done.stdout) == TABLE
    assert "the code prints" not in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "pycron: in all: 1 changed, 2 same"


def test_a_module_of_settings_needs_no_celery(user: UserAccount) -> None:
    (user.home / "settings.py").write_text(SETTINGS)
    done = converted(user, "--python", sys.executable, "settings")
    assert entries(done.stdout) == 'CRON_NAME=x @every 5m  a.b {"d": 3}\n'


def test_json_has_the_entry_of_each_finding(user: UserAccount) -> None:
    (user.home / "settings.py").write_text(SETTINGS)
    (row,) = map(json.loads, converted(user, "--json", "settings.py").stdout.splitlines())
    assert (row["verdict"], row["entry"]) == ("changed", 'CRON_NAME=x @every 5m  a.b {"d": 3}')


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise RuntimeError('\\x1b[2Jdatabase')", r"RuntimeError: \x1b[2Jdatabase"),
        ("import os; os._exit(0)", "cannot be loaded"),
        ("x = 1", "no Celery app and no beat_schedule in settings"),
        ("beat_schedule = {'x': {'schedule': object()}}", None),
        ("import os, sys; os.write(int(sys.argv[1]), b'[1]'); os._exit(0)", "has changed"),
        ("import os, sys; os.write(int(sys.argv[1]), b'{' * 10**7); os._exit(0)", "cannot be"),
        ("b = bytearray(2**33)", "MemoryError"),
    ],
)
def test_code_that_goes_wrong(user: UserAccount, code: str, said: str | None) -> None:
    (user.home / "settings.py").write_text(code + "\n")
    done = converted(user, "settings")
    if said is None:
        assert "# left out: x: no entry has a schedule of the kind object" in done.stdout
        return
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert "\x1b" not in done.stderr


def test_nothing_that_the_code_starts_is_left(user: UserAccount) -> None:
    code = (
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '1000'])\n"
        "open('pid', 'w').write(str(child.pid))\n"
        "beat_schedule = {}\n"
    )
    (user.home / "settings.py").write_text(code)
    assert converted(user, "settings").returncode == 0
    pid = int((user.home / "pid").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z (" in _state(pid))


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_runs_no_code(tmp_path: Path) -> None:
    (tmp_path / "settings.py").write_text("open('ran', 'w')\nbeat_schedule = {}\n")
    done = subprocess.run(
        program("pycron", "import", "--from", "celery-beat", "settings"), cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "is code, which root does not run" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_dump(user: UserAccount) -> None:
    rows: list[dict[str, Any]] = [
        {"model": "django_celery_beat.intervalschedule", "pk": 1,
         "fields": {"every": 10, "period": "minutes"}},
        {"model": "django_celery_beat.periodictask", "pk": 2,
         "fields": {"name": "poll", "task": "shop.poll", "interval": 1}},
    ]  # fmt: skip
    (user.home / "dump.json").write_text(json.dumps(rows))
    done = converted(user, "dump.json")
    assert entries(done.stdout) == "CRON_NAME=poll @every 10m  shop.poll\n"
    (user.home / "dump.json").write_text("{}")
    assert converted(user, "dump.json").returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "needs a file or a module"),
        (["x", "--apply"], "install it with pycrontab"),
        (["x", "--undo"], "install it with pycrontab"),
        (["--python", "/nowhere/python", "x"], "No such file"),
    ],
)
def test_wrong_use(user: UserAccount, arguments: list[str], said: str) -> None:
    done = converted(user, *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr
