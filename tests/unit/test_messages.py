"""CRON_SEND: the text of a message, who may send it, and what a Run sends."""

import json
from pathlib import Path

import pytest

from pycron.config import Config, ConfigError, SenderOptions, read_config
from pycron.crontab.messages import Message, read_message
from pycron.crontab.reader import ReaderContext, parse
from pycron.crontab.table import Table
from pycron.engine.tested_job import job_of_test
from pycron.model.hosts import Cluster
from pycron.model.job import Job, Source
from pycron.model.run import RunKey
from pycron.model.settings import Concurrency, concurrency_of
from pycron.ports import CannotDeliver, Program
from pycron.sender.programs import MessageOptions, MessagePrograms, task_id
from pycron.sender.request import BadRequest, checked
from pycron.sender.words import why
from pycron.storage.unfinished import stored_settings
from pycron.system.accounts import Accounts

URL = "redis://me:gehe%2Fim:x@broker.example.org:6380/5?ssl_ca=y"
SHOP = SenderOptions("celery", URL, "shop", frozenset(("deploy",)))


# ---- the text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shop.refresh", Message("shop.refresh")),
        ('shop.refresh {"days": 3}', Message("shop.refresh", named={"days": 3})),
        ('shop.refresh\t[1, "a b"] ', Message("shop.refresh", [1, "a b"])),
        ('shop:refresh [1] {"a": [null]}', Message("shop:refresh", [1], {"a": [None]})),
        ('a {"%": "ä"}', Message("a", named={"%": "ä"})),
    ],
)
def test_a_message(text: str, message: Message) -> None:
    assert read_message(text, None) == message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "no name of a task"),
        ("sh -c 'rm x'", "no JSON"),
        ("/bin/true", "no name of a task"),
        ("a 3", "a list, an object"),
        ("a {} []", "a list, an object"),
        ("a [1] [2]", "a list, an object"),
        ("a [] {} {}", "a list, an object"),
        ("a {days: 3}", "no JSON"),
        ("a {'days': 3}", "no JSON"),
        ("a [NaN]", "no number of JSON"),
        ("a [1e999]", "too large"),
        ("a " + "[" * 100_000, "nested too deeply"),
        ("a [" + "9" * 5000 + "]", "digits"),
    ],
)
def test_a_text_that_is_no_message(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_message(text, None)


# ---- the entry


def read(text: str, owner: str | None = "deploy", **senders: frozenset[str] | None) -> Table:
    context = ReaderContext(senders=senders or None, cluster=Cluster("web1", "prod"))
    return parse(f"{text}\n", Source(owner or "/etc/pycron.d/x", owner), context)


def codes(table: Table) -> list[str]:
    return [problem.code for problem in table.errors]


def test_an_entry_with_a_message() -> None:
    (job,) = read('CRON_SEND=shop */5 * * * * shop.refresh {"days": 3}', shop=None).jobs
    assert job.settings.send == "shop"
    assert job.command == 'shop.refresh {"days": 3}'


def test_a_mistake_in_a_line_above_keeps_the_text_from_running_as_a_command() -> None:
    table = read("CRON_SEND=nowhere\n@daily touch x\n@hourly y", shop=None)
    assert codes(table) == ["bad-message", "unknown-sender"]
    assert not len(table.jobs)
    assert "it has shop" in str(table.errors[1])


def test_messages_have_a_pool_in_common() -> None:
    """A thousand that are due at once do not become a thousand processes."""
    (job,) = read("CRON_SEND=shop @daily a").jobs
    assert Config().limits.pools[job.settings.pool or ""] >= 4
    (job,) = read("CRON_POOL=slow CRON_SEND=shop @daily a").jobs
    assert job.settings.pool == "slow"


def test_a_message_that_is_tried_again_keeps_no_other_from_being_sent() -> None:
    line = "CRON_RETRIES=3 CRON_SEND=shop @daily a"
    assert concurrency_of(read(line).jobs[0].settings) is Concurrency.ALLOW
    forbidden = read(f"CRON_CONCURRENCY=forbid {line}").jobs[0].settings
    assert concurrency_of(forbidden) is Concurrency.FORBID


def test_arguments_that_are_no_json() -> None:
    table = read("CRON_SEND=shop @daily a days=3")
    assert codes(table) == ["bad-message"]
    assert not len(table.jobs)


def test_a_percent_sign_has_a_backslash() -> None:
    assert codes(read('CRON_SEND=shop @daily a {"x": "5%b"}')) == ["bad-message"]
    (job,) = read(r'CRON_SEND=shop @daily a {"x": "5\%b"}').jobs
    assert read_message(job.command, job.stdin).named == {"x": "5%b"}


@pytest.mark.parametrize(("owner", "found"), [
    ("deploy", []), ("root", []), ("joe", ["sender-denied"]),
])  # fmt: skip
def test_who_may_use_a_sender(owner: str, found: list[str]) -> None:
    table = read("CRON_SEND=shop @daily a", owner, shop=frozenset(("deploy",)))
    assert codes(table) == found


def test_a_system_table_may_use_every_sender() -> None:
    assert not read("CRON_SEND=shop @daily joe a", None, shop=frozenset()).errors


def test_where_the_configuration_is_not_known_only_the_text_is_checked() -> None:
    assert not read("CRON_SEND=shop @daily a").errors


def test_a_test_of_an_entry_sends_its_message() -> None:
    """And the environment is that of a command, because a message has none."""
    (job,) = read("CRON_SEND=shop @daily a").jobs
    assert job_of_test(job, environment=False).settings.send == "shop"
    assert job_of_test(job, environment=True).settings.send is None


def test_a_run_whose_entry_has_gone_never_becomes_a_command() -> None:
    (job,) = read("CRON_SEND=shop @daily a").jobs
    assert json.loads(stored_settings(job))["send"] == "shop"


# ---- the configuration


def config_of(directory: Path, text: str) -> Config:
    (directory / "pycron.toml").write_text(text)
    return read_config(directory / "pycron.toml", required=True)


def test_the_sections(tmp_path: Path) -> None:
    text = '[senders.a]\ncelery = "amqp://u:p@h//"\nusers = ["x"]\n[senders.b]\nrq = "redis://h"\n'
    senders = config_of(tmp_path, text).senders
    assert senders["a"] == SenderOptions("celery", "amqp://u:p@h//", "celery", frozenset(("x",)))
    assert senders["b"] == SenderOptions("rq", "redis://h", "default")
    assert "u:p" not in repr(senders)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("celery = 3", "a URL that begins with redis://"),
        ('celery = "http://u:geheim@h"', "not shown"),
        ('celery = "redis://u:geheim@h:port"', "not shown"),
        ('celery = "redis://"', "not shown"),
        ('rq = "amqp://u:geheim@h"', "not shown"),
        ('celery = "redis://h"\nrq = "redis://h"', "either celery or rq"),
        ('queue = "geheim"', "either celery or rq"),
        ('celery = "redis://h"\nqueue = "a b"', "the name of a queue"),
        ('celery = "redis://h"\nusers = "x"', "a list of users"),
        ('celery = "redis://h"\nuser = ["x"]', "unknown option"),
    ],
)
def test_a_bad_section(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        config_of(tmp_path, f"[senders.shop]\n{text}\n")
    assert "geheim" not in str(error.value)


def test_no_default_makes_a_message_of_every_command(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown option"):
        config_of(tmp_path, '[defaults]\nCRON_SEND = "shop"\n')


# ---- the program


def program(
    directory: Path,
    job: Job,
    *,
    for_all: bool = False,
    account: str = "root",
    **senders: SenderOptions,
) -> Program:
    options = MessageOptions(lambda: Config(senders=senders), directory, account, "mill", for_all)
    return MessagePrograms(options, Accounts()).program(RunKey(job.id, 1_772_953_200), job)


def test_what_the_program_gets(tmp_path: Path) -> None:
    """All of it is in its standard input, and nothing in its arguments."""
    (job,) = read('CRON_NAME=s CRON_SEND=shop @daily a.b [1] {"days": 3}').jobs
    found = program(tmp_path, job, shop=SHOP)
    assert found.account == "root"
    assert "broker" not in " ".join(found.argv)
    request = checked(found.stdin.encode())
    assert (request["url"], request["queue"], request["task"]) == (URL, "shop", "a.b")
    assert (request["arguments"], request["named"]) == ([1], {"days": 3})
    assert request["headers"] == {
        "cron_job": "s",
        "cron_run_id": f"{job.id}-20260308T070000Z",
        "cron_fire_time": "2026-03-08T07:00:00Z",
    }


@pytest.mark.parametrize(
    ("line", "options", "said"),
    [
        ("CRON_SEND=gone @daily a", {}, r"has no \[senders.gone\] any more"),
        ("CRON_SEND=shop @daily a", {"for_all": False}, "is not for joe"),
        ("CRON_SEND=shop @daily a", {"account": "nobody-here"}, "pycron setup"),
    ],
)
def test_a_message_that_cannot_be_sent(
    tmp_path: Path, line: str, options: dict[str, object], said: str
) -> None:
    """The configuration may have changed since the table was read."""
    (job,) = read(line, "joe").jobs
    with pytest.raises(CannotDeliver, match=said):
        program(tmp_path, job, shop=SHOP, **({"for_all": True} | options))  # type: ignore[arg-type]


def test_the_id_of_a_task() -> None:
    """The same for one Run; another one for each Run, and for two hosts that are no cluster."""
    run = RunKey("0123456789abcdef", 1_772_953_200)
    ids = [task_id(run, None), task_id(run, "a"), task_id(run, "b"), task_id(run._replace(
        fire_time=0), None)]  # fmt: skip
    assert len(set(ids)) == 4
    assert task_id(run, "a") == task_id(run, "a")
    assert [part for part in ids[0].split("-") if len(part) == 4][1][0] == "8"
    assert len(ids[0]) == 36


def test_hosts_of_a_cluster_send_one_id() -> None:
    """A shared Job has one id on all hosts, so its Runs have one, too."""
    line = "CRON_TZ=UTC CRON_ON=any CRON_NAME=s CRON_SEND=shop @daily a"
    one, other = (read(line, owner).jobs[0] for owner in ("deploy", "deploy"))
    assert one.id == other.id


# ---- what goes in, and what comes out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"x", "no JSON"),
        (b"[]", "no object"),
        (b"{}", "kind"),
        (b'{"kind": "smtp", "url": "", "queue": "", "task": "", "arguments": [], "named": {},'
         b' "id": "", "headers": {}}', "kind"),
        (b'{"kind": "rq", "url": "", "queue": "", "task": "", "arguments": {}}', "arguments"),
    ],
)  # fmt: skip
def test_a_bad_request(line: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        checked(line)


@pytest.mark.parametrize(
    "text",
    ["cannot use me:gehe%2Fim:x@broker", "Port could not be cast: 'im:x'", "gehe/im:x refused", ""],
)
def test_an_error_with_the_password_is_not_shown(text: str) -> None:
    said = why({"url": URL}, ValueError(text))  # type: ignore[typeddict-item]
    assert said == "redis://broker.example.org:6380: ValueError"


def test_an_error_names_the_broker() -> None:
    said = why({"url": URL}, OSError("connection\nrefused"))  # type: ignore[typeddict-item]
    assert said == "redis://broker.example.org:6380: connection refused"
