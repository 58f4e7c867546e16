"""A Job as a text that another host reads: everything arrives, and nothing else is let in."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pycron.crontab.queue_specs import BadSpec, read_spec, spec_of
from pycron.crontab.reader import ReaderContext, parse
from pycron.model.hosts import Cluster
from pycron.model.job import Job, Source
from pycron.model.settings import SETTINGS, value_text
from tests.unit.test_crontab import GOOD_VALUES

HERE = ReaderContext(cluster=Cluster("web1", "prod"))
NOT_SENT = {
    "CRON_NAME", "CRON_TZ", "CRON_EVERY", "CRON_ONLY", "CRON_EXCEPT", "CRON_CATCHUP",
    "CRON_START_DEADLINE", "CRON_JITTER", "CRON_SEND", "CRON_ON",
}  # fmt: skip


def job_of(*lines: str, settings: str = "") -> Job:
    entry = f"CRON_NAME=x CRON_ON=queue:gpu.high {settings} 5 4 * * * {lines[-1]}"
    table = parse("\n".join([*lines[:-1], entry, ""]), Source("anna", "anna"), HERE)
    assert not table.errors, table.errors
    return table.jobs[0]


def arrived(job: Job, context: ReaderContext = HERE, **change: Any) -> Job:
    text = json.dumps(json.loads(spec_of(job)) | change)
    return read_spec(text, "prod", "anna", "x", "gpu.high", context)


def test_what_a_worker_needs() -> None:
    job = job_of("PATH=/opt/bin", "MAILTO=", "work --fast%line 1%line 2")
    found = arrived(job)
    assert (found.command, found.stdin) == (job.command, job.stdin)
    assert tuple(found.environment) == tuple(job.environment)
    assert (found.id, found.name, found.user) == (job.id, "x", "anna")
    assert found.schedule.text == job.schedule.text
    assert (found.source.name, found.line) == ("queue:gpu.high", 0)


@pytest.mark.parametrize("name", sorted(set(SETTINGS) - NOT_SENT))
def test_every_setting_arrives(name: str) -> None:
    job = job_of("x", settings=f"{name}={GOOD_VALUES[name][0]}")
    attribute = SETTINGS[name].attribute
    assert getattr(arrived(job).settings, attribute) == getattr(job.settings, attribute)


@pytest.mark.parametrize("name", sorted(GOOD_VALUES))
def test_the_text_of_a_value_is_read_as_that_value(name: str) -> None:
    setting, value = SETTINGS[name], GOOD_VALUES[name][1]
    assert setting.parse(value_text(setting, value)) == value


@given(st.integers(1, 2**60) | st.integers(1, 2**50).map(lambda number: number * 2**10))
@example(1_659_433_088_225_280)  # 1620540125220K
def test_the_text_of_a_size(size: int) -> None:
    setting = SETTINGS["CRON_MEMORY_MAX"]
    assert setting.parse(value_text(setting, size)) == size


def test_bytes_that_are_not_utf_8_arrive() -> None:
    command = b"echo \xe4".decode("utf-8", "surrogateescape")
    text = spec_of(job_of(command))
    assert text.isascii()
    assert arrived(job_of(command)).command == command


BAD: list[dict[str, Any]] = [
    {"command": 1},
    {"command": "a\0b"},
    {"command": "\ud800"},
    {"command": "x" * 200_000},
    {"stdin": ["x"]},
    {"environment": None},
    {"environment": [["A=B", "x"]]},
    {"environment": [["", "x"]]},
    {"environment": [["A", "x\0"]]},
    {"environment": [["A", 1]]},
    {"environment": [["A", "x" * 70_000]]},
    {"settings": []},
    {"settings": {"CRON_ON": "queue:gpu.high", "CRON_FLY": "yes"}},
    {"settings": {"CRON_ON": "queue:gpu.high", "CRON_NAME": "y"}},
    {"settings": {"CRON_ON": "queue:gpu.high", "CRON_TIMEOUT": 5}},
    {"settings": {"CRON_ON": "queue:gpu.high", "CRON_TIMEOUT": "soon"}},
    {"settings": {"CRON_ON": "queue:gpu.high", "CRON_NICE": "-5"}},
    {"settings": {"CRON_ON": "queue:gpu.high", "CRON_SEND": "shop"}},
    {"settings": {"CRON_ON": "queue:default"}},
    {"settings": {}},
    {"flags": None},
    {"schedule": 1},
]


@pytest.mark.parametrize("change", BAD, ids=[str(each)[:60] for each in BAD])
def test_what_is_no_job(change: dict[str, Any]) -> None:
    with pytest.raises(BadSpec):
        arrived(job_of("true"), **change)


@pytest.mark.parametrize("text", ["", "{", "[]", "1", "[" * 100_000, "null"])
def test_what_is_no_object(text: str) -> None:
    with pytest.raises(BadSpec):
        read_spec(text, "prod", "anna", "x", "gpu.high", HERE)


def test_the_ceilings_of_the_host_that_runs_it_hold() -> None:
    here = ReaderContext(ceilings={"timeout": 60, "memory_max": 2**20})
    settings = arrived(job_of("x", settings="CRON_TIMEOUT=1h"), here).settings
    assert (settings.timeout, settings.memory_max) == (60, 2**20)


def test_a_pool_of_others_is_not_counted() -> None:
    here = ReaderContext(pools={"db": frozenset({"bert"})})
    assert arrived(job_of("x", settings="CRON_POOL=db"), here).settings.pool is None
    assert arrived(job_of("x", settings="CRON_POOL=db")).settings.pool == "db"


def test_a_message_goes_through_no_queue_of_workers() -> None:
    line = "CRON_NAME=x CRON_ON=queue:gpu CRON_SEND=shop @daily task\n"
    (error,) = parse(line, Source("anna", "anna"), HERE).errors
    assert "CRON_SEND" in error.message
