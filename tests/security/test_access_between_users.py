"""A user learns nothing of other users' Jobs, and a name never means somebody else's Job."""

import os
from collections.abc import Iterator

import pytest

from pycron.system import paths
from tests.support.control_requests import ask_as
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

ALICE, BOB, CAROL = USERS
TABLE = "CRON_NAME=backup @yearly echo of {user}\nCRON_NAME={user}-secret @yearly true\n"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedSystem]:
    """Root, Alice and Bob have a Job of the same name, which has run; Bob's is the newest Run."""
    with isolated_system(tmp_path_factory.mktemp("system")) as system:
        for user in ("root", ALICE, BOB):
            table = TABLE.format(user=user)
            assert system.run("pycrontab", "-", user=user, stdin=table).returncode == 0
            (started,) = system.rows("start", "backup", user=user)
            system.daemon.wait_for("attempt_ended", run_id=started["run_id"])
        yield system


def refusal(system: IsolatedSystem, user: str, *words: str) -> str:
    done = system.run("pycron", *words, user=user)
    assert done.returncode == 1, (words, done.stdout)
    return done.stderr.removeprefix("pycron: ").strip()


def test_a_name_means_ones_own_job(system: IsolatedSystem) -> None:
    for user in ("root", ALICE, BOB):
        assert system.run("pycron", "log", "backup", user=user).stdout == f"of {user}\n"
        assert system.rows("show", "backup", user=user)[0]["user"] == user
        (row,) = system.rows("pause", "backup", user=user)
        assert system.rows("resume", "backup", user=user) == [row]


@pytest.mark.slow
def test_a_name_that_others_have_is_refused_with_the_candidates(system: IsolatedSystem) -> None:
    """For every verb that takes the name of one Job; `pycron why` answers for each of them."""
    assert system.run("pycrontab", "-r").returncode == 0
    system.run("pycrontab", "-", stdin="CRON_NAME=other @yearly true\n")
    ids = {row["user"]: row["id"] for row in system.rows("list") if row["job"] == "backup"}
    try:
        for verb in ("start", "pause", "resume"):
            said = refusal(system, "root", verb, "backup")
            assert said.startswith('several jobs are called "backup": '), said
            assert all(f"{ids[user]} ({user}, {user}:1)" in said for user in (ALICE, BOB))
        for verb in ("log", "show"):
            assert "several jobs" in refusal(system, "root", verb, "backup")
            assert system.run("pycron", verb, ids[ALICE]).returncode == 0
        assert system.run("pycron", "log", ids[ALICE]).stdout == f"of {ALICE}\n"
        assert {row["user"] for row in system.rows("why", "backup", "2026-03-08T12:00")} >= {
            ALICE,
            BOB,
        }
    finally:
        system.run("pycrontab", "-", stdin=TABLE.format(user="root"))


@pytest.mark.parametrize(
    "words",
    slow_after(3, [
        ["log", "NAME"], ["start", "NAME"], ["why", "NAME", "2026-03-08T12:00"],
        ["runs", "--owner", "USER"], ["show", "RUN"], ["kill", "RUN"],
        ["show", "NAME"], ["pause", "NAME"], ["kill", "NAME"], ["resume", "NAME"],
        ["runs", "--job", "NAME"], ["pause", "--owner", "USER"], ["resume", "--owner", "USER"],
        ["dead", "drop", "RUN"], ["dead", "redrive", "RUN"], ["log", "RUN"],
        ["stats", "NAME"], ["stats", "--owner", "USER"],
        ["calendar", "--owner", "USER"], ["next", "--job", "NAME"],
        ["next", "--job", "NAME", "--until", "2036-03-08T12:00"],
    ]),
    ids=" ".join,
)  # fmt: skip
def test_nobody_can_tell_whether_something_of_another_user_exists(
    system: IsolatedSystem, words: list[str]
) -> None:
    """The refusal is the same for what Bob has, for what he has paused, and for what nobody has."""
    (run,) = system.rows("runs", "--job", "backup", user=BOB)
    (job,) = [row for row in system.rows("list", user=BOB) if row["job"] == f"{BOB}-secret"]
    system.run("pycron", "pause", job["id"], user=BOB)
    system.run("pycron", "pause", "--owner", BOB, user=BOB)
    bobs = {"NAME": job["job"], "USER": BOB, "RUN": run["run_id"]}
    none = {"NAME": "no-such-job", "USER": "nobody-at-all", "RUN": "0" * 16 + "-20260308T120000Z"}
    for id_too in (False, True):
        theirs = {**bobs, **({"NAME": job["id"]} if id_too else {})}
        said = []
        for names in (theirs, none):
            text = refusal(system, CAROL, *(names.get(word, word) for word in words))
            for key, value in names.items():
                text = text.replace(value, key)
            said.append(text)
        assert said[0] == said[1]
    system.run("pycron", "resume", job["id"], user=BOB)
    system.run("pycron", "resume", "--owner", BOB, user=BOB)


def test_totals_of_others_are_not_shown(system: IsolatedSystem) -> None:
    (own,) = system.rows("status", user=CAROL)
    shown = {key: own[key] for key in ("runs", "tables", "jobs", "running", "waiting", "paused")}
    assert set(shown.values()) == {0}, shown
    assert own["next_fire_time"] is None
    (all_of_them,) = system.rows("status")
    assert (all_of_them["runs"], all_of_them["tables"]) == (3, 3)
    assert system.rows("status", user=ALICE)[0]["runs"] == 1
    for words in (["list"], ["runs"], ["dead", "list"], ["pause"], ["next"], ["list", "--failed"],
                  ["next", "--from", "2036-01-01"], ["list", "--owner", BOB]):  # fmt: skip
        assert system.rows(*words, user=CAROL) == []
    (top,) = system.rows("top", user=CAROL)
    assert top["limits"] == {"closed": None}
    assert BOB not in str(top)


def test_questions_are_answered_from_ones_own_table_and_runs(system: IsolatedSystem) -> None:
    """Neither statistics nor a simulation shows what another user has."""
    period = ["--from", "2030-01-01", "--until", "2030-01-02"]
    assert {row["user"] for row in system.rows("stats")} == {"root", ALICE, BOB}
    assert {row["user"] for row in system.rows("stats", user=ALICE)} == {ALICE}
    assert system.rows("stats", user=CAROL) == []
    assert sum(row["history"] for row in system.rows("calendar", "--history", user=ALICE)) == 1
    assert system.rows("calendar", "--history", user=CAROL) == []
    *own, _ = system.rows("simulate", *period, user=ALICE)
    assert {row["user"] for row in own} == {ALICE}
    *every, total = system.rows("simulate", *period)
    assert {row["user"] for row in every} == {"root", ALICE, BOB}
    assert total["runs"] == 6
    *nothing, total = system.rows("simulate", *period, user=CAROL)
    assert (nothing, total["runs"]) == ([], 0)


def test_nobody_but_a_worker_asks_for_work(system: IsolatedSystem) -> None:
    """Whoever may ask could start what waits in a queue, as the users of [worker]."""
    work = {"verb": "work", "cluster": "prod", "owner": BOB, "name": "x", "fire_time": 1,
            "attempt": 0, "queue": "default"}  # fmt: skip
    for answer in ask_as(system, ALICE, work, {"verb": "serve", "queues": "default"}):
        assert answer["error"] == "only pycron-worker and root may be workers (worker.account)"
    for answer in ask_as(system, "root", work, {"verb": "serve", "queues": "default"}):
        assert "in no cluster" in answer["error"]


def test_an_operator_reads_no_table_of_another_user(system: IsolatedSystem) -> None:
    """Operators see all Jobs, but not the variables of their tables, which may be secrets."""
    file = paths.SYSTEM_CONFIG
    system.write(file, f'[access]\noperators = "{CAROL}"\n')
    try:
        system.rows("reload")
        assert {row["user"] for row in system.rows("stats", user=CAROL)} == {"root", ALICE, BOB}
        (total,) = system.rows("simulate", "--from", "2030-01-01", user=CAROL)
        assert (total["runs"], total["notes"]) == (
            0, ["6 Jobs left out: you may not read their tables"],
        )  # fmt: skip
    finally:
        system.shell(f"rm {file}")
        system.rows("reload")
