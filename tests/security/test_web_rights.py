"""On behalf of a user: who may ask so, for whom, and what."""

from collections.abc import Iterator
from typing import Any

import pytest

from pycron.control.service import FOR_OTHERS
from pycron.protocol.control_messages import REQUESTS
from pycron.system import paths
from tests.support.control_requests import ask_as
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.running_runner import needs_root
from tests.support.user_accounts import USERS

pytestmark = [pytest.mark.root, needs_root]

ALICE, BOB, WEB = USERS
TABLE = "CRON_NAME=backup-{user} @yearly echo of {user}\n"
CONFIG = f'[web]\nuser = "{WEB}"\n'


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedSystem]:
    """Root, Alice and Bob have a Job; the third user is the account of the page."""
    with isolated_system(tmp_path_factory.mktemp("system")) as system:
        configure(system, CONFIG)
        for user in ("root", ALICE, BOB):
            table = TABLE.format(user=user)
            assert system.run("pycrontab", "-", user=user, stdin=table).returncode == 0
        yield system


def configure(system: IsolatedSystem, text: str) -> None:
    system.write(paths.SYSTEM_CONFIG, text)
    done = system.run("pycron", "reload")
    assert done.returncode == 0, done.stderr


def asked(verb: str, user: str, **fields: Any) -> dict[str, Any]:
    return {"verb": verb, "on_behalf_of": user, **fields}


def jobs_of(answer: dict[str, Any]) -> list[str]:
    return [row["job"] for row in answer["rows"]]


def test_the_page_sees_what_the_user_sees(system: IsolatedSystem) -> None:
    alices, bobs, own = ask_as(
        system, WEB, asked("jobs", ALICE), asked("jobs", BOB), {"verb": "jobs"}
    )
    assert jobs_of(alices) == [f"backup-{ALICE}"]
    assert jobs_of(bobs) == [f"backup-{BOB}"]
    assert jobs_of(own) == []


def test_the_page_changes_what_the_user_may_change_and_the_log_names_the_user(
    system: IsolatedSystem,
) -> None:
    started, others = ask_as(
        system, WEB,
        asked("start", ALICE, job=f"backup-{ALICE}"), asked("start", ALICE, job=f"backup-{BOB}"),
    )  # fmt: skip
    assert started["job"] == f"backup-{ALICE}"
    assert others["error"].startswith("no such job")
    system.daemon.wait_for("run_by_hand", by=ALICE, job=f"backup-{ALICE}")


@pytest.mark.parametrize("user", [ALICE, "root"])
def test_nobody_else_may_ask_on_behalf_of_a_user(system: IsolatedSystem, user: str) -> None:
    """Also not root, whose own rights are enough."""
    for message in (asked("jobs", BOB), asked("jobs", "root"), asked("jobs", user)):
        (answer,) = ask_as(system, user, message)
        assert answer == {
            "error": "only the account of the page may ask on behalf of a user (web.user)"
        }


def test_the_page_never_acts_for_root(system: IsolatedSystem) -> None:
    answers = ask_as(
        system,
        WEB,
        *(asked(verb, "root", job="backup-root") for verb in ("jobs", "start", "status")),
    )
    assert {answer["error"] for answer in answers} == {
        "the page may not act for root (web.root is false)"
    }


def test_unless_the_configuration_says_so(system: IsolatedSystem) -> None:
    configure(system, CONFIG + "root = true\n")
    try:
        (answer,) = ask_as(system, WEB, asked("jobs", "root"))
        assert {"backup-root", f"backup-{ALICE}"} <= set(jobs_of(answer))
    finally:
        configure(system, CONFIG)


@pytest.mark.parametrize(
    "name", ["no-such-user", "", "0", "#0", "a\0b", 0, None, ["root"], "x" * 9999]
)
def test_what_is_no_user(system: IsolatedSystem, name: Any) -> None:
    (answer,) = ask_as(system, WEB, asked("jobs", name))
    assert answer["error"].startswith("unknown user: ")


def test_the_page_edits_no_tables_and_gives_the_daemon_no_orders(system: IsolatedSystem) -> None:
    importable = set(REQUESTS)
    assert importable >= FOR_OTHERS
    assert importable - FOR_OTHERS >= {"reload", "test-mail", "test", "login", "web"}
    for verb in ("install", "delete", "reload", "test", "test-mail", "table"):
        (answer,) = ask_as(system, WEB, asked(verb, ALICE, text="* * * * * id\n"))
        assert "error" in answer, verb
    assert system.run("pycrontab", "-l", user=ALICE).stdout == TABLE.format(user=ALICE)


def test_every_request_that_changes_a_table_is_refused(system: IsolatedSystem) -> None:
    answers = ask_as(
        system, WEB, *(asked(verb, ALICE) for verb in sorted(set(REQUESTS) - FOR_OTHERS))
    )
    said = {answer.get("error", "") for answer in answers}
    assert all("on behalf of a user" in text or "bad " in text for text in said), said


def test_what_the_page_learns_about_itself(system: IsolatedSystem) -> None:
    (of_page,) = ask_as(system, WEB, {"verb": "web"})
    (of_alice,) = ask_as(system, ALICE, {"verb": "web"})
    about = {"ok": True, "account": WEB, "passwords": False}
    assert of_page == {**about, "acts_for_others": True, "user": WEB}
    assert of_alice == {**about, "acts_for_others": False, "user": ALICE}
