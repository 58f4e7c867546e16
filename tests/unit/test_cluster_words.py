"""Messages between the daemon and the agent: what is said of Runs, and what cannot be."""

from typing import Any

import pytest

from pycron.crontab.jobs import Jobs
from pycron.crontab.reader import ReaderContext, parse
from pycron.daemon.cluster_words import ComparedTables, is_sound, message_of
from pycron.engine.shared_actions import Accept, Ask, Finish
from pycron.model.hosts import Cluster
from pycron.model.job import Source
from pycron.model.run import AttemptKey, Outcome, RunKey
from pycron.model.shared import Hold, RetryTerms, SharedEnd, SharedKey, Terms
from pycron.protocol.cluster_messages import daemon_message

NOW = 1_750_000_000.0
KEY = SharedKey("anna", "x", 1_750_000_000)
RUN = {"owner": "anna", "name": "x", "fire_time": 1_750_000_000}
TERMS = Terms(
    "allow", None, "db", 300.0, False, ("a",), "web", RetryTerms(1, True, 30, 2, 900, 0.5, None)
)
HOLD = Hold(KEY, AttemptKey(RunKey("0123456789abcdef", KEY.fire_time), 2), "incarnation")


def said(action: Ask | Accept | Finish, **more: Any) -> Any:
    return message_of(action, NOW, more.get("pools", ()), more.get("groups", {}))


def test_all_messages_are_sound() -> None:
    for action in (Ask(KEY, TERMS), Accept(KEY, 1, TERMS), Finish(SharedEnd(HOLD, Outcome.LOST))):
        message = said(action)
        assert daemon_message(message) == message
        assert message["run"] == RUN


def test_a_pool_of_this_host_is_not_the_business_of_the_cluster() -> None:
    assert said(Ask(KEY, TERMS))["terms"]["pool"] is None
    assert said(Ask(KEY, TERMS), pools={"db": 2})["terms"]["pool"] == "db"


def test_the_hosts_of_a_group() -> None:
    message = said(Ask(KEY, TERMS), groups={"web": {"web2", "web1"}})
    assert message["terms"]["hosts"] == ["web1", "web2"]


def test_a_retry_is_said_as_a_delay() -> None:
    """The clocks of hosts differ."""
    end = SharedEnd(HOLD, Outcome.FAILED, "x", NOW + 30)
    assert said(Finish(end))["retry_in"] == 30
    assert said(Finish(SharedEnd(HOLD, Outcome.FAILED, "x", NOW - 5)))["retry_in"] == 0
    assert said(Finish(SharedEnd(HOLD, Outcome.SUCCEEDED)))["retry_in"] is None


@pytest.mark.parametrize(
    "change",
    [{"fire_time": -1}, {"fire_time": 10**15}, {"owner": "\ud800"}, {"name": "\udfff"}],
)
def test_a_run_that_cannot_be(change: dict[str, Any]) -> None:
    assert is_sound(offer(), NOW)
    assert not is_sound(offer(run=RUN | change), NOW)
    assert not is_sound(offer(attempt=10**9), NOW)


def offer(**change: Any) -> Any:
    return {"type": "offer", "run": RUN, "attempt": 1} | change


def test_the_digest_of_a_table_changes_with_its_shared_entries() -> None:
    def short(*lines: str) -> str:
        text = "".join(f"{line}\n" for line in lines)
        context = ReaderContext(cluster=Cluster("web1", "prod"))
        return ComparedTables().in_short(Jobs([parse(text, Source("t", "anna"), context).jobs]))

    one = "CRON_NAME=x CRON_ON=any @daily x"
    assert short(one) == short("# above", one, "@daily local")
    assert short(one) != short("CRON_NAME=x CRON_ON=any @daily y")
    assert short(one) != short(f"CRON_TIMEOUT=1h {one}")
    assert short("@daily local") == "{}"
