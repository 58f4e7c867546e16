"""The checks of the messages between pycrond and the runner."""

from typing import Any

import pytest

from pycron.protocol.runner_checks import daemon_message, runner_hello, runner_message

START: dict[str, Any] = {
    "type": "start", "id": "a.1", "argv": ["/bin/sh", "-c", "true"], "env": {}, "user": None,
    "cwd": "/", "cwd_required": False, "umask": None, "nice": None, "stdin": None, "output": "/o",
    "output_limit": 10, "short_output": 5, "report_output": False, "hold": None, "timeout": None,
    "kill_after": 10, "memory_max": None, "processes_max": 10,
    "session": None,
    "outlives_runner": False,
    "lease": None,
    "direct": None,
}  # fmt: skip
END: dict[str, Any] = {
    "type": "end", "id": "a.1", "cause": "cancelled", "reason": "by root", "kill_after": 0,
}  # fmt: skip
OF_THE_DAEMON: list[dict[str, Any]] = [
    {"type": "hello", "protocol": 2}, START, {"type": "go", "until": 1},
    {"type": "drop", "id": "a.1"}, {"type": "taken", "bytes": 5}, {"type": "ack", "ids": ["a.1"]},
    {"type": "signal", "id": "a.1", "signal": 15}, END, {"type": "bye"}, {"type": "leave"},
]  # fmt: skip
ENDED: dict[str, Any] = {
    "type": "ended", "id": "a.1", "pid": 5, "started": 1.5, "ended": 2.5, "exit_status": 0,
    "signal": None, "cpu_seconds": 0.1, "memory_peak": 10, "output_bytes": 0, "output_kept": 0,
    "output": None, "cause": None, "reason": None,
}  # fmt: skip
OF_THE_RUNNER: list[dict[str, Any]] = [
    {"type": "started", "id": "a.1", "pid": 5, "started": 1.5},
    {"type": "refused", "id": "a.1", "cause": None, "reason": "cannot fork",
     "final": False}, ENDED,
    {"type": "output", "id": "a.1", "stream": "stderr", "data": "ä"},
]  # fmt: skip
HELLO: dict[str, Any] = {
    "type": "hello", "protocol": 2, "instance": "5-1", "cgroup": None, "attempts": [],
}  # fmt: skip


@pytest.mark.parametrize("message", OF_THE_DAEMON, ids=lambda message: message["type"])
def test_every_message_of_the_daemon(message: dict[str, Any]) -> None:
    assert daemon_message(dict(message)) == message


@pytest.mark.parametrize("message", OF_THE_RUNNER, ids=lambda message: message["type"])
def test_every_message_of_the_runner(message: dict[str, Any]) -> None:
    assert runner_message(dict(message)) == message


@pytest.mark.parametrize("message", OF_THE_DAEMON[1:8], ids=lambda message: message["type"])
def test_a_key_that_is_missing_in_a_message_of_the_daemon(message: dict[str, Any]) -> None:
    later = {"short_output", "session", "outlives_runner", "lease", "direct"}
    for missing in message.keys() - {"type"} - later:
        broken = {key: value for key, value in message.items() if key != missing}
        with pytest.raises(ValueError, match=f"{message['type']}: bad {missing}: missing"):
            daemon_message(broken)


@pytest.mark.parametrize("message", OF_THE_RUNNER, ids=lambda message: message["type"])
def test_a_value_of_the_wrong_type_in_a_message_of_the_runner(message: dict[str, Any]) -> None:
    for key in message.keys() - {"type"}:
        with pytest.raises(ValueError, match=f"{message['type']}: bad {key}"):
            runner_message(message | {key: []})


def test_an_unknown_key_is_passed_over() -> None:
    assert daemon_message(END | {"mood": "good"})
    assert daemon_message(START | {"user": {"uid": 1, "gid": 1, "groups": [], "mood": 1}})
    assert runner_message(ENDED | {"mood": "good"})


def test_an_unknown_type_is_passed_over() -> None:
    assert daemon_message({"type": "weather", "cause": 7}) is None
    assert runner_message({"type": "weather", "cause": 7}) is None


@pytest.mark.parametrize("kind", [None, 1, [], {}])
def test_a_type_that_is_no_text(kind: object) -> None:
    for check in (daemon_message, runner_message, runner_hello):
        with pytest.raises(ValueError, match="bad type"):
            check({"type": kind})


def test_what_an_older_version_does_not_say() -> None:
    start, ended = dict(START), dict(ENDED)
    del start["short_output"], start["session"], start["outlives_runner"], ended["output"]
    del start["lease"]
    assert daemon_message(start) == START | {"short_output": 0}
    assert runner_message(ended) == ENDED
    assert runner_message({"type": "output", "id": "a.1"}) == {
        "type": "output", "id": "a.1", "stream": "stdout", "data": "",
    }  # fmt: skip


def test_a_stream_that_no_command_has() -> None:
    with pytest.raises(ValueError, match="output: bad stream: 'stdin'"):
        runner_message({"type": "output", "id": "a.1", "stream": "stdin", "data": ""})


@pytest.mark.parametrize("number", [2**62 + 1, -(2**62) - 1, float("nan"), float("inf")])
def test_numbers_that_are_none_or_too_large(number: float) -> None:
    with pytest.raises(ValueError, match="bad kill_after"):
        daemon_message(END | {"kill_after": number})
    with pytest.raises(ValueError, match="bad started"):
        runner_message(ENDED | {"started": number})


@pytest.mark.parametrize("user", [{}, {"uid": 1, "gid": 1}, {"uid": "1", "gid": 1, "groups": []}])
def test_a_user_that_is_none(user: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="start: "):
        daemon_message(START | {"user": user})


def test_an_unknown_cause() -> None:
    with pytest.raises(ValueError, match="end: bad cause"):
        daemon_message(END | {"cause": "mood"})
    with pytest.raises(ValueError, match="ended: bad cause"):
        runner_message(ENDED | {"cause": "mood"})


def test_nothing_to_run() -> None:
    with pytest.raises(ValueError, match="nothing to run"):
        daemon_message(START | {"argv": []})


def test_the_hello_of_a_runner() -> None:
    attempts: list[dict[str, Any]] = [{"type": "starting", "id": "b.1"}, *OF_THE_RUNNER[:3]]
    hello = runner_hello(HELLO | {"attempts": attempts})
    assert hello["attempts"] == attempts


def test_an_attempt_of_an_unknown_type_is_known_all_the_same() -> None:
    hello = runner_hello(HELLO | {"attempts": [{"type": "frozen", "id": "b.1", "since": 3}]})
    assert hello["attempts"] == [{"type": "starting", "id": "b.1"}]


@pytest.mark.parametrize("attempt", [7, {"type": "starting"}, {"type": "ended", "id": "a.1"}, {}])
def test_a_hello_with_a_wrong_attempt(attempt: object) -> None:
    with pytest.raises(ValueError, match="bad "):
        runner_hello(HELLO | {"attempts": [attempt]})


def test_a_first_message_that_is_no_hello() -> None:
    with pytest.raises(ValueError, match="no hello"):
        runner_hello({"type": "output", "id": "a.1"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"argv": []}, "start: bad argv"),
        ({"shell": 1}, "start: bad shell"),
        ({"redirections": ["x"]}, "start: bad redirections"),
        ({"redirections": [[1, ">"]]}, "start: bad redirections"),
        ({"redirections": [[3, ">", "x"]]}, "start: bad redirections"),
        ({"redirections": [[1, "|", "x"]]}, "start: bad redirections"),
        ({"redirections": [[1, ">&", "x"]]}, "start: bad redirections"),
        ({"redirections": [[1, ">", 2]]}, "start: bad redirections"),
    ],
)
def test_a_bad_direct_request(changes: dict[str, Any], said: str) -> None:
    direct = {
        "shell": "dash", "shell_waits": True, "shell_stderr": "stderr", "argv": ["/bin/true"],
        "redirections": [[1, ">", "x"], [2, ">&", 1]],
    }  # fmt: skip
    assert daemon_message(START | {"direct": direct}) == START | {"direct": direct}
    with pytest.raises(ValueError, match=said):
        daemon_message(START | {"direct": direct | changes})
