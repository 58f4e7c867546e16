"""Logging in to the page with a password, which the daemon lets PAM check: real modules."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("jinja2")
pytest.importorskip("pamela")

from tests.support.control_requests import ask_as
from tests.support.pam_system import PamSystem
from tests.support.running_runner import needs_root
from tests.support.user_accounts import USERS, real_user
from tests.support.waiting import until
from tests.support.web_page import WebPage, web_page

pytestmark = [pytest.mark.root, needs_root]

ALICE, BOB, WEB = USERS
SERVICE = "auth required pam_unix.so nodelay\naccount required pam_unix.so\n"
PASSWORD = "Geheim 'ä\" $x"


@pytest.fixture
def pam(tmp_path: Path) -> Iterator[PamSystem]:
    """Alice and root have a password; Bob's account has expired."""
    for name in USERS:
        real_user(name)
    config = f'timeout = 20\n[web]\nuser = "{WEB}"\npam_service = "pycron"\n'
    with contextlib.closing(PamSystem(tmp_path, SERVICE, more=config)) as pam:
        for user in (ALICE, BOB, "root"):
            set_password(pam, user)
        pam.expire(BOB)
        yield pam


def set_password(pam: PamSystem, user: str) -> None:
    done = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    words = f"-F: -v OFS=: -v new='{done.stdout.strip()}' '$1 == \"{user}\" {{$2 = new}} 1'"
    pam.system.shell(f'new=$(awk {words} /etc/shadow); printf "%s\\n" "$new" >/etc/shadow')


@pytest.fixture
def page(pam: PamSystem) -> Iterator[WebPage]:
    account = ("setpriv", f"--reuid={WEB}", f"--regid={WEB}", "--init-groups")
    root = Path(__file__).parents[2]
    prefix = (*pam.system.inside, *account, "env", f"PYTHONPATH={root}")
    with web_page(Path("system"), prefix=prefix, logs=pam.system.directory) as page:
        yield page


def status(page: WebPage, user: str, password: str) -> int:
    return page.browser().post("/login", {"user": user, "password": password}).status


def test_a_password_logs_in(page: WebPage) -> None:
    browser = page.browser()
    assert 'name="password"' in browser.get("/login").text
    assert browser.post("/login", {"user": ALICE, "password": PASSWORD}).status == 200
    answer = browser.get("/")
    assert answer.status == 200, answer.text
    assert f"login: {ALICE} (password) from 127.0.0.1" in page.log.read_text()
    assert PASSWORD not in page.log.read_text()


def test_what_is_not_right(page: WebPage) -> None:
    for user, password in (
        (ALICE, PASSWORD + "x"), (ALICE, ""), (ALICE, PASSWORD + "\0"), (BOB, PASSWORD),
        ("no-such-user", PASSWORD), ("root", PASSWORD), (f"{ALICE}\0", PASSWORD), ("", PASSWORD),
    ):  # fmt: skip
        assert status(page, user, password) == 403, (user, password)


def test_attempts_are_limited_by_user(pam: PamSystem, page: WebPage) -> None:
    """Also the right password is refused then, and another user is not concerned."""
    for _ in range(4):
        assert status(page, ALICE, "wrong") == 403
    assert status(page, ALICE, PASSWORD) == 200  # a success ends the count
    for _ in range(5):
        assert status(page, ALICE, "wrong") == 403
    answer = page.browser().post("/login", {"user": ALICE, "password": PASSWORD})
    assert answer.status == 403
    assert "too many attempts; try again in 10 minutes" in answer.text
    set_password(pam, WEB)
    assert status(page, WEB, PASSWORD) == 200


def check(pam: PamSystem, asker: str, user: str, password: str) -> dict[str, Any]:
    """The end of a check that a user's process asks for; a refusal has the key `error`."""
    (begun,) = ask_as(pam.system, asker, {"verb": "login", "user": user, "password": password})
    if "error" in begun:
        return begun
    answers: list[dict[str, Any]] = []

    def is_done() -> bool:
        answers.extend(ask_as(pam.system, asker, {"verb": "login-result", "check": begun["check"]}))
        return bool(answers[-1].get("done"))

    until(is_done)
    return answers[-1]


def test_a_user_may_check_only_their_own_password(pam: PamSystem) -> None:
    assert check(pam, ALICE, ALICE, PASSWORD)["accepted"]
    assert not check(pam, ALICE, ALICE, "wrong")["accepted"]
    for user in (BOB, "root", "no-such-user"):
        said = check(pam, ALICE, user, PASSWORD)["error"]
        assert said == "only the account of the page may ask on behalf of a user (web.user)"
    assert check(pam, WEB, "root", PASSWORD)["error"].startswith("the page may not act for root")


def test_nobody_else_learns_the_result(pam: PamSystem) -> None:
    (begun,) = ask_as(pam.system, WEB, {"verb": "login", "user": ALICE, "password": PASSWORD})
    (answer,) = ask_as(pam.system, ALICE, {"verb": "login-result", "check": begun["check"]})
    assert answer == {"error": "no such check of a password"}


def test_no_process_shows_a_password(pam: PamSystem, page: WebPage) -> None:
    """Neither the arguments nor the environment of the process that asks PAM have it."""
    pam.system.shell("sed -i '1i auth required pam_exec.so /bin/sleep 2' /etc/pam.d/pycron")
    (begun,) = ask_as(pam.system, WEB, {"verb": "login", "user": ALICE, "password": PASSWORD})
    assert begun["ok"]
    words = pam.system.shell("cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true")
    assert "pycron.pam.password" in words
    assert "Geheim" not in words
    assert pam.system.run("pycron", "status").returncode == 0  # nothing waits meanwhile
