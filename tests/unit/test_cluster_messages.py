"""The messages between daemon and agent: what is wrong is refused where it enters."""

import copy
from typing import Any

import pytest

from pycron.protocol.cluster_messages import agent_hello, agent_message, daemon_message

RUN = {"owner": "deploy", "name": "nightly", "fire_time": 1_800_000_000}
RETRY = {
    "most": 2,
    "lost": True,
    "delay": 30,
    "backoff": 2.0,
    "delay_max": 900,
    "jitter": 0.5,
    "until": None,
}
TERMS = {
    "concurrency": "forbid",
    "max_running": None,
    "pool": "reports",
    "window": 300.0,
    "catch_up": False,
    "after": ["export"],
    "hosts": None,
    "retry": RETRY,
}
ASK: dict[str, Any] = {"type": "ask", "run": RUN, "terms": TERMS}


def test_a_question_is_taken() -> None:
    assert daemon_message(copy.deepcopy(ASK)) == ASK


@pytest.mark.parametrize("hosts", [[], ["web1", "web2"], None])
def test_the_hosts_of_a_group_are_a_list_or_none(hosts: list[str] | None) -> None:
    assert daemon_message({**ASK, "terms": {**TERMS, "hosts": hosts}}) is not None


def test_unknown_keys_and_types_are_passed_over() -> None:
    assert daemon_message({**ASK, "newer": 1}) is not None
    assert daemon_message({"type": "newer"}) is None
    assert agent_message({"type": "newer"}) is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("run",), None),
        (("run", "owner"), "a\0b"),
        (("run", "name"), "\ud800"),
        (("run", "name"), "x" * 5000),
        (("run", "fire_time"), 1.5),
        (("run", "fire_time"), True),
        (("run", "fire_time"), 2**60),
        (("terms", "window"), float("nan")),
        (("terms", "window"), float("inf")),
        (("terms", "concurrency"), "sometimes"),
        (("terms", "max_running"), "3"),
        (("terms", "after"), [3]),
        (("terms", "hosts"), "web1"),
        (("terms", "hosts"), ["web1", None]),
        (("terms", "retry"), []),
        (("terms", "retry", "lost"), 1),
    ],
)
def test_a_wrong_value_is_refused(path: tuple[str, ...], value: object) -> None:
    message = copy.deepcopy(ASK)
    part = message
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    with pytest.raises(ValueError, match=path[-1]):
        daemon_message(message)


@pytest.mark.parametrize("key", ["run", "terms"])
def test_a_missing_key_is_refused(key: str) -> None:
    message = {name: value for name, value in ASK.items() if name != key}
    with pytest.raises(ValueError, match=f"{key}: missing"):
        daemon_message(message)


def test_the_names_of_pools_are_checked_too() -> None:
    facts = {"type": "facts", "version": "1", "tzdata": "2026a", "tables": ""}
    assert daemon_message({**facts, "pools": {"reports": 2}}) is not None
    for pools in ({"a\0": 2}, {"reports": "2"}):
        with pytest.raises(ValueError, match="pools"):
            daemon_message({**facts, "pools": pools})


def test_the_first_message_of_an_agent_is_its_hello() -> None:
    assert agent_hello({"type": "hello", "protocol": 1, "pid": 7})["pid"] == 7
    with pytest.raises(ValueError, match="no hello"):
        agent_hello({"type": "status"})
    with pytest.raises(ValueError, match="pid"):
        agent_hello({"type": "hello", "protocol": 1})


def test_what_the_agent_says_is_checked() -> None:
    held: dict[str, Any] = {"type": "held", "run": RUN, "attempt": 1, "incarnation": "i"}
    assert agent_message(dict(held)) is not None
    with pytest.raises(ValueError, match="attempt"):
        agent_message({**held, "attempt": "1"})
    with pytest.raises(ValueError, match="level"):
        agent_message({"type": "log", "level": "shout", "text": "x"})
