"""What workers accept from a broker, to which strangers may write."""

import json

import pytest

from pycron.protocol.broker_messages import (
    RunMessage,
    queue_name,
    run_headers,
    run_message,
    run_task,
)

MESSAGE: RunMessage = {
    "cluster": "prod", "owner": "deploy", "name": "nightly", "fire_time": 1_796_000_000,
    "attempt": 1,
}  # fmt: skip


def body(**changes: object) -> str:
    return json.dumps([list({**MESSAGE, **changes}.values()), {}, {}])


def test_a_message_comes_back() -> None:
    assert run_message(json.dumps(run_task(MESSAGE))) == MESSAGE
    assert run_message(json.dumps(run_task(MESSAGE)).encode()) == MESSAGE


def test_names_at_the_broker() -> None:
    assert queue_name("prod", "default.high") == "pycron.prod.default.high"
    headers = run_headers("0123456789abcdef-20261129T155200Z", MESSAGE)
    assert headers == {"task": "pycron.run", "id": "0123456789abcdef-20261129T155200Z.2"}


def test_what_more_a_message_says_is_left_out() -> None:
    more = json.dumps([[*MESSAGE.values()], {"command": "rm -r /"}, {"callbacks": ["y"]}])
    assert run_message(more) == MESSAGE


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "null",
        "[]",
        "[[], {}, {}]",
        "[{}, {}, {}]",
        "\x80",
        json.dumps(MESSAGE),
        "[" * 900,
        body(cluster=None),
        body(owner=0),
        body(name="n" * 65),
        body(name="a\0b"),
        body(name="\ud800"),
        body(fire_time=1.5),
        body(fire_time="1796000000"),
        body(fire_time=True),
        body(fire_time=2**60),
        body(attempt=float("nan")),
        body(attempt=[0]),
        body(x="x" * 1000),
    ],
)
def test_what_is_no_message(bad: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  its text is for the log
        run_message(bad)
