"""CRON_ON: which entries a host has, and what makes a shared Job the same on all hosts."""

import pytest

from pycron.crontab.entry_kind import EntryKind
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.shared_names import same_shared_jobs
from pycron.crontab.table import Table
from pycron.model.hosts import EACH, Cluster, RunsOn, parse_runs_on
from pycron.model.job import Source

GROUPS = {"web": ["web1", "web2"]}
WEB1 = Cluster("web1", "prod", "Europe/Berlin", GROUPS)
WEB2 = Cluster("web2", "prod", "Europe/Berlin", GROUPS)
ALONE = Cluster("web1")


def read(line: str, cluster: Cluster | None = WEB1, table: str = "anna") -> Table:
    host = cluster.host if cluster else ""
    return parse(f"{line}\n", Source(table, "anna"), ReaderContext(host=host, cluster=cluster))


def error(line: str, cluster: Cluster | None = WEB1) -> str:
    (problem,) = read(line, cluster).errors
    return problem.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("each", EACH),
        ("web1", RunsOn(host="web1")),
        ("@web", RunsOn(group="web")),
        ("any", RunsOn(shared=True)),
        ("any@web", RunsOn(shared=True, group="web")),
    ],
)
def test_a_value_and_its_text(text: str, value: RunsOn) -> None:
    assert parse_runs_on(text) == value
    assert str(value) == text


@pytest.mark.parametrize(
    ("where", "on_web1", "on_web2"),
    [("each", 1, 1), ("web1", 1, 0), ("db1", 0, 0), ("@web", 1, 1), ("any", 1, 1)],
)
def test_a_host_has_the_entries_that_are_for_it(where: str, on_web1: int, on_web2: int) -> None:
    line = f"CRON_NAME=x CRON_ON={where} @daily x"
    assert len(read(line, WEB1).jobs) == on_web1
    assert len(read(line, WEB2).jobs) == on_web2
    assert not read(line, WEB2).problems


def test_a_host_outside_a_group() -> None:
    outside = Cluster("db1", "prod", "UTC", GROUPS)
    assert not read("CRON_ON=@web @daily x", outside).jobs
    assert not read("CRON_NAME=x CRON_ON=any@web @daily x", outside).jobs


def test_a_named_host_needs_no_cluster() -> None:
    assert len(read("CRON_ON=web1 @daily x", ALONE).jobs) == 1
    assert len(read("CRON_ON=web2 @daily x", ALONE).jobs) == 0


def test_a_shared_job_needs_a_name_and_a_cluster() -> None:
    assert "CRON_NAME" in error("CRON_ON=any @daily x")
    assert "CRON_NAME" in error("CRON_ON=any @daily x", None)
    assert "[cluster]" in error("CRON_NAME=x CRON_ON=any @daily x", ALONE)


def test_an_unknown_group() -> None:
    assert error("CRON_ON=@db @daily x") == (
        'bad CRON_ON: "@db" (no such group in [cluster] groups of pycron.toml; it has web)'
    )
    assert not read("CRON_ON=@db @daily x", None).problems


def test_a_shared_job_is_the_same_on_all_hosts() -> None:
    """Also if the tables and the commands differ."""
    one = read("CRON_NAME=x CRON_ON=any H H * * * /opt/x", WEB1, "a").jobs[0]
    other = read("H H * * * y\nCRON_NAME=x CRON_ON=any H H * * * x", WEB2, "b").jobs[1]
    assert one.id == other.id
    assert one.schedule == other.schedule
    assert one.zone == other.zone == "Europe/Berlin"
    elsewhere = read("CRON_NAME=x CRON_ON=any H H * * * x", Cluster("web1", "test")).jobs[0]
    assert elsewhere.id != one.id
    assert elsewhere.zone == "UTC"


def test_a_shared_job_may_name_its_zone() -> None:
    (job,) = read("CRON_NAME=x CRON_ON=any CRON_TZ=Asia/Tokyo @daily x").jobs
    assert job.zone == "Asia/Tokyo"


def test_of_two_owners_each_has_a_job_of_a_name() -> None:
    line = "CRON_NAME=x CRON_ON=any @daily {} x\n"
    context = ReaderContext(cluster=WEB1)
    jobs = [
        parse(line.format(user), Source("t", None), context).jobs[0] for user in ("anna", "joe")
    ]
    assert jobs[0].id != jobs[1].id


def test_the_timetable_of_the_host_has_no_shared_jobs() -> None:
    jobs = read("*/5 * * * * a\nCRON_NAME=x CRON_ON=any */5 * * * * x\n0 2 * * * b").jobs
    assert list(jobs.of_kind(EntryKind.WALL)) == [0]
    assert list(jobs.of_kind(EntryKind.SHARED)) == [1]
    assert list(jobs.of_kind(EntryKind.FIXED)) == [2]
    assert list(jobs.without([0]).of_kind(EntryKind.SHARED)) == [0]


def test_after_does_not_mix_shared_and_other_jobs() -> None:
    shared = "CRON_NAME=a CRON_ON=any @daily a\n"
    assert '"a" has another CRON_ON' in error(f"{shared}@after a b")
    assert len(read(f"{shared}CRON_NAME=b CRON_ON=any @after a b").jobs) == 2
    assert '"a" has another CRON_ON' in error(
        "CRON_NAME=a @daily a\nCRON_NAME=b CRON_ON=any @after a b"
    )


def test_two_tables_with_one_shared_name() -> None:
    line = "CRON_NAME=x CRON_ON=any @daily x"
    tables = [read(line, table=name).jobs for name in ("a", "b")]
    (problem,) = same_shared_jobs(tables)
    assert (problem.file, problem.line, problem.code) == ("b", 1, "shared-name-twice")
    assert "a:1" in problem.message
    assert not list(same_shared_jobs([tables[0], read("CRON_NAME=x @daily x").jobs]))


def test_a_shared_job_needs_fire_times() -> None:
    assert "@reboot" in error("CRON_NAME=x CRON_ON=any @reboot x")
