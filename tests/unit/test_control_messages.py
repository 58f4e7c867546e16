"""The messages of the control socket: checked requests, checked answers, and the registries."""

import importlib
import json
from collections.abc import Generator
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest

from pycron.cli import verbs
from pycron.cli.verb import all_verbs
from pycron.control.channel import Channel
from pycron.control.client import ControlClient, ControlError
from pycron.control.handlers import HANDLERS
from pycron.protocol.control_answers import RunsAnswer, TopAnswer, WhyAnswer
from pycron.protocol.control_checks import LONGEST_DURATION, check_answer
from pycron.protocol.control_messages import (
    REQUESTS,
    BadRequest,
    KillRequest,
    PauseRequest,
    RunsRequest,
    StatusRequest,
    WhyRequest,
    parse_request,
    request_message,
)
from pycron.protocol.job_answers import JobsAnswer
from pycron.protocol.table_messages import InstallRequest
from pycron.schedule.durations import LONGEST_DURATION as LONGEST_OF_TABLES

# ---- registries


def assert_same(found: object, wanted: object) -> None:
    """Requests have no comparison of their own: they are made once and read once."""
    assert (type(found), vars(found)) == (type(wanted), vars(wanted))


def test_each_request_has_a_handler_that_returns_its_answer() -> None:
    importlib.import_module("pycron.control.service")
    assert set(HANDLERS) == set(REQUESTS.values())
    for request, handler in HANDLERS.items():
        hints = get_type_hints(handler)
        answers = set(answers_in(hints["return"]))
        assert (answers, list(hints.values())[-2]) == ({request.answer}, request)  # type: ignore[attr-defined]


def answers_in(hint: Any) -> list[Any]:
    """The answers that a handler returns, perhaps in steps or in parts."""
    if get_origin(hint) in (Union, UnionType):
        return [answer for each in get_args(hint) for answer in answers_in(each)]
    return [get_args(hint)[-1] if get_origin(hint) in (Generator, Channel) else hint]


def test_each_module_of_cli_verbs_has_its_verb() -> None:
    modules = sorted(path.stem for path in Path(verbs.__file__).parent.glob("[!_]*.py"))
    found = all_verbs()
    assert [verb.name.replace("-", "_") for verb in found] == [name.rstrip("_") for name in modules]
    for verb, module in zip(found, modules, strict=True):
        assert verb.run.__module__ == f"pycron.cli.verbs.{module}"


def test_a_duration_is_as_long_as_in_a_table() -> None:
    assert LONGEST_DURATION == LONGEST_OF_TABLES


# ---- requests


def test_a_request_comes_back_from_its_message() -> None:
    for request in (
        StatusRequest(),
        RunsRequest(limit=3, job="a", since=0, dead=True),
        PauseRequest(scope="job", job="a", seconds=LONGEST_DURATION, reason="why"),
        WhyRequest(job="a", time=5, wall=True),
        InstallRequest(text="# \udcff\n", user="joe"),
    ):
        message = json.loads(json.dumps(request_message(request)))
        assert_same(parse_request(message, ""), request)


def test_defaults_stand_for_null_and_for_missing_keys() -> None:
    assert_same(parse_request({"verb": "runs", "limit": None, "job": None}, ""), RunsRequest())
    assert_same(parse_request({"verb": "kill", "run_id": "a"}, ""), KillRequest("a"))


def test_unknown_keys_are_passed_over() -> None:
    assert_same(
        parse_request({"verb": "pause", "scope": "all", "all": True}, ""), PauseRequest("all")
    )


@pytest.mark.parametrize("verb", ["nonsense", None, 5, ["runs"], {}, "\ud800"])
def test_an_unknown_verb(verb: object) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request({"verb": verb}, "9.9")
    assert str(caught.value) == f'unknown verb: "{verb}" (pycron 9.9)'


BAD: list[tuple[str, dict[str, object], str]] = [
    ("runs", {"limit": -1}, "bad limit (a whole number)"),
    ("runs", {"limit": 2**62}, "bad limit (a whole number)"),
    ("runs", {"limit": True}, "bad limit (a whole number)"),
    ("runs", {"limit": 1.0}, "bad limit (a whole number)"),
    ("runs", {"limit": "1"}, "bad limit (a whole number)"),
    ("runs", {"before": []}, "bad before (a whole number)"),
    ("runs", {"job": "x" * 501}, "bad job (a text of at most 500 characters)"),
    ("runs", {"job": "\udcff"}, "bad job (a text of at most 500 characters)"),
    ("runs", {"user": ["root"]}, "bad user (a text of at most 500 characters)"),
    ("runs", {"dead": "no"}, "bad dead (true or false)"),
    ("start", {"job": "a", "force": 1}, "bad force (true or false)"),
    ("kill", {"kill_after": LONGEST_DURATION + 1}, "bad kill_after (at most 315360000 seconds)"),
    ("why", {"job": "a"}, "bad time (from 1970 to 20 years ahead)"),
    ("why", {"job": "a", "time": -1}, "bad time (from 1970 to 20 years ahead)"),
    ("install", {}, "bad text (the text of a table)"),
    ("install", {"text": 5}, "bad text (the text of a table)"),
    ("install", {"text": "\ud800"}, "bad text (the text of a table)"),
]


@pytest.mark.parametrize(("verb", "arguments", "said"), BAD)
def test_a_bad_field(verb: str, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_request({"verb": verb, **arguments}, "")
    assert str(caught.value) == said


def test_each_field_of_each_request_is_checked() -> None:
    for verb, request in REQUESTS.items():
        for each in fields(request):  # type: ignore[arg-type]
            with pytest.raises(BadRequest):
                parse_request({"verb": verb, "time": 0, "text": "", each.name: {}}, "")


# ---- answers

JOB = {
    "job": "a", "id": "0", "table": "joe", "line": 1, "user": "joe", "schedule": "@daily",
    "resolved": "0 0 * * *", "zone": None, "command": "true",
}  # fmt: skip


def test_an_answer_may_have_more_keys() -> None:
    message = {"rows": [{**JOB, "later": 1}], "more": False, "later": 2}
    assert check_answer(JobsAnswer, message) == message
    assert check_answer(RunsAnswer, {"rows": [], "before": None})["before"] is None


WRONG: list[tuple[Any, dict[str, object], str]] = [
    (JobsAnswer, {"more": False}, "rows"),
    (JobsAnswer, {"rows": {}, "more": False}, "rows"),
    (JobsAnswer, {"rows": [], "more": "no"}, "more"),
    (JobsAnswer, {"rows": [JOB, {**JOB, "line": "1"}], "more": False}, "rows.line"),
    (JobsAnswer, {"rows": [{"job": "a"}], "more": False}, "rows.id"),
    (WhyAnswer, {"rows": [5]}, "rows"),
    (TopAnswer, {"running": [], "waiting": [], "next": [], "counts": {"running": 0}},
     "counts.waiting"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "message", "key"), WRONG)
def test_an_answer_without_a_key(answer: Any, message: dict[str, object], key: str) -> None:
    with pytest.raises(ValueError, match=rf"^{key}$"):
        check_answer(answer, message)


def test_the_client_names_verb_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    client = object.__new__(ControlClient)
    monkeypatch.setattr(ControlClient, "ask", lambda *_, **__: {"ok": True, "version": "1"})
    with pytest.raises(ControlError, match='to status has no usable "mode"'):
        client.request(StatusRequest())
