"""`pycron cluster` with a real PostgreSQL."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pycron.cluster import calls
from tests.support import postgres
from tests.support.cluster_database import CLUSTER, ClusterDatabase, claim, run_key
from tests.support.postgres import Postgres, running_postgres
from tests.support.running_daemon import run
from tests.support.thoroughness import slow_after

pytestmark = pytest.mark.skipif(not postgres.is_here(), reason="PostgreSQL is not installed")


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with running_postgres() as running:
        yield running


@pytest.fixture
def config(server: Postgres, tmp_path: Path) -> Path:
    """The configuration of a host whose database has no tables yet."""
    server.empty()
    path = tmp_path / "pycron.toml"
    path.write_text(f'[cluster]\nname = "{CLUSTER}"\ndatabase = "{server.address()}"\n')
    return path


@pytest.fixture
def cluster(config: Path, server: Postgres) -> Iterator[ClusterDatabase]:
    assert said(config, "init") == "pycron: the tables of the database are made: version 2\n"
    database = ClusterDatabase(server)
    yield database
    database.clear()


def said(config: Path, *arguments: str, status: int = 0) -> str:
    """What the verb says on standard error."""
    done = run("pycron", "cluster", *arguments, "--config", config)
    assert done.returncode == status, done.stderr
    return done.stderr


def rows(config: Path, *arguments: str) -> list[Any]:
    done = run("pycron", "cluster", *arguments, "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_init_makes_the_tables_once(config: Path) -> None:
    assert rows(config, "init") == [{"version": 2, "applied": [1, 2]}]
    assert rows(config, "init") == [{"version": 2, "applied": []}]
    assert "up to date" in said(config, "init")


def test_without_tables_the_message_names_init(config: Path) -> None:
    assert said(config, "status", status=1) == (
        "pycron: the database has no schema of pycron; run: pycron cluster init\n"
    )


def test_a_database_that_does_not_answer(config: Path) -> None:
    port = postgres.free_port()
    address = f"postgresql://x:hunter2@127.0.0.1:{port}/x"
    config.write_text(f'[cluster]\nname = "{CLUSTER}"\ndatabase = "{address}"\n')
    message = said(config, "status", status=1)
    assert message.startswith("pycron: no connection to the database: ")
    assert "hunter2" not in message


def test_an_address_that_is_none_is_not_shown(config: Path) -> None:
    config.write_text(f'[cluster]\nname = "{CLUSTER}"\ndatabase = "postgresql://x:hunter2@[y/"\n')
    assert said(config, "init", status=1) == (
        "pycron: the address of the database is no connection string of libpq\n"
    )


def test_a_configuration_without_a_cluster(tmp_path: Path) -> None:
    path = tmp_path / "pycron.toml"
    path.write_text("")
    assert "has no [cluster]" in said(path, "status", status=1)


@pytest.mark.parametrize(
    "arguments",
    slow_after(2, [["status", "web1"], ["kill", "backup"], ["drain"], ["kill"], ["redrive"],
                   ["status", "--undo"], ["runs", "--wait"]]),
)  # fmt: skip
def test_wrong_use(cluster: ClusterDatabase, config: Path, arguments: list[str]) -> None:
    assert said(config, *arguments, status=2)


def test_status_shows_hosts_and_how_they_differ(cluster: ClusterDatabase, config: Path) -> None:
    for name, version, tables in (("web1", "1", "a"), ("web2", "1", "a"), ("web3", "2", "b")):
        host = cluster.host(name, live=False)
        facts = calls.HostFacts(version, "2026a", json.dumps({"nightly": tables}), time.time())
        host.database.perform(calls.Register(name, host.incarnation, facts))
    web3 = calls.HostFacts("2", "2026a", '{"nightly": "b"}', time.time() + 40)
    host.database.perform(calls.Renew("web3", host.incarnation, web3, 0))
    found = {row["host"]: row for row in rows(config, "status")}
    assert list(found) == ["web1", "web2", "web3"]
    assert found["web1"]["state"] == "live"
    assert found["web1"]["tables"] == {"nightly": "a"}
    assert 39 < found["web3"]["clock_ahead_seconds"] < 41
    assert said(config, "status").splitlines() == [
        "pycron: pycron is not the same: 1 on web1, web2; 2 on web3",
        "pycron: the table nightly is not the same: a on web1, web2; b on web3",
        "pycron: the clock of web3 is 40 s ahead of the database's",
    ]


@pytest.mark.slow
def test_runs_are_listed_newest_first(cluster: ClusterDatabase, config: Path) -> None:
    web1 = cluster.host("web1")
    old, new = run_key("backup", ago=60), run_key("backup", owner="joe")
    web1.claim(claim(old), claim(new))
    web1.finish(old, outcome="failed")
    listed = rows(config, "runs")
    assert [(row["user"], row["state"], row["host"]) for row in listed] == [
        ("joe", "held", "web1"), ("root", "ended", "web1"),
    ]  # fmt: skip
    assert [row["user"] for row in rows(config, "runs", "--failed")] == ["root"]
    assert [row["user"] for row in rows(config, "runs", "--owner", "joe")] == ["joe"]
    assert rows(config, "runs", "--outcome", "succeeded") == []
    assert [row["user"] for row in rows(config, "runs", "--since", "30s")] == ["joe"]
    done = run("pycron", "runs", "--cluster", "--config", config, "--json", "--job", "backup")
    assert [json.loads(line) for line in done.stdout.splitlines()] == listed


@pytest.mark.slow
def test_a_drained_host_gets_no_further_runs(cluster: ClusterDatabase, config: Path) -> None:
    web1 = cluster.host("web1")
    running = run_key("running")
    web1.claim(claim(running))
    assert "1 run of it not over" in said(config, "drain", "web1")
    [refused] = web1.claim(claim(run_key("other")))
    assert (refused.decision, refused.reason) == ("later", "this host is drained")
    web1.finish(running)
    # A claim that began before the drain could still be under way: until the host has renewed.
    assert [row["state"] for row in rows(config, "status")] == ["draining"]
    web1.renew()
    assert [row["state"] for row in rows(config, "status")] == ["drained"]
    assert "is drained" in said(config, "drain", "web1", "--wait")
    said(config, "drain", "web1", "--undo")
    assert web1.claim(claim(run_key("other")))[0].decision == "held"
    assert "no such host" in said(config, "drain", "web9", status=1)


@pytest.mark.slow
def test_kill_tells_the_holder_to_stop(cluster: ClusterDatabase, config: Path) -> None:
    web1 = cluster.host("web1")
    key = run_key()
    web1.claim(claim(key))
    [row] = rows(config, "runs")
    said(config, "kill", row["run_id"])
    assert [(held.key, held.stop) for held in web1.renew().held] == [(key, "kill")]
    web1.finish(key, outcome="killed", retry_in=1.0)
    [row] = rows(config, "runs")
    assert (row["state"], row["outcome"]) == ("ended", "killed")  # and not waiting: it was stopped
    assert "has ended" in said(config, "kill", row["run_id"], status=1)


@pytest.mark.slow
def test_kill_cancels_a_run_that_waits(cluster: ClusterDatabase, config: Path) -> None:
    web1 = cluster.host("web1")
    key = run_key()
    web1.claim(claim(key))
    web1.finish(key, outcome="failed", retry_in=60.0)
    [row] = rows(config, "runs")
    assert row["state"] == "waiting"
    said(config, "kill", row["run_id"])
    [row] = rows(config, "runs")
    assert (row["state"], row["outcome"]) == ("ended", "cancelled")


@pytest.mark.slow
def test_redrive_makes_a_run_due_again(cluster: ClusterDatabase, config: Path) -> None:
    web1, web2 = cluster.host("web1"), cluster.host("web2")
    key = run_key()
    web1.claim(claim(key))
    web1.finish(key, outcome="failed")
    [row] = rows(config, "runs")
    said(config, "redrive", row["run_id"])
    assert [(due.key, due.attempt) for due in web2.renew().due] == [(key, 1)]
    assert web2.start(key, 1).attempt == 2
    web2.finish(key, 2)
    assert "has not ended without success" in said(config, "redrive", row["run_id"], status=1)


@pytest.mark.slow
def test_a_run_that_nobody_knows(cluster: ClusterDatabase, config: Path) -> None:
    assert "no such run" in said(config, "kill", "0" * 16 + "-20261129T155200Z", status=1)
