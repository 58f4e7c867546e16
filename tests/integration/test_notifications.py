"""Notifications through apprise, to a web server on this machine."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import pycron
from pycron.delivery import notify
from pycron.delivery.request import RunFacts
from tests.support import http_server as server
from tests.support.http_server import RecordingServer, unused_address
from tests.support.run_facts import RUN_ID, facts, notification

ROOT = Path(pycron.__file__).resolve().parents[1]
PROGRAM = """\
import json, sys
from pycron.delivery import notify
sys.exit(notify.send(json.loads(sys.stdin.readline()), b""))
"""

# A module that apprise imports on Python 3.11 and 3.12.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")
needs_apprise = pytest.mark.skipif(
    importlib.util.find_spec("apprise") is None, reason="needs apprise"
)


def json_url(there: RecordingServer, user_info: str = "") -> str:
    return f"json://{user_info}{there.address}/token"


def sent(run: RunFacts, occasion: str = "failed", output: bytes = b"") -> dict[str, Any]:
    """What apprise's JSON service sends about a Run."""
    with server.http_server() as there:
        assert notify.send(notification(json_url(there), run=run, occasion=occasion), output) == 0
    (received,) = there.received
    message: dict[str, Any] = json.loads(received.body)
    return message


@needs_apprise
def test_a_failed_run() -> None:
    run = facts("failed", reason="disk full", printed=5)
    message = sent(run, output=b"oops\n")
    assert message["title"] == "nightly failed (exit status 7) on mill"
    assert message["type"] == "failure"
    assert message["message"].splitlines() == [
        "Job: nightly of deploy", "Fire time: 2026-03-08T07:00:00Z",
        "Outcome: failed (exit status 7)", "Attempts: 3", "Duration: 12.3 s", "Reason: disk full",
        f"Run: {RUN_ID}", "", "Output:", "oops",
    ]  # fmt: skip


@needs_apprise
@pytest.mark.parametrize(
    ("occasion", "run", "title", "kind"),
    [
        ("failed", facts("killed"), "nightly killed by signal 9 (KILL) on mill", "failure"),
        ("failed", facts("killed", signal=42), "nightly killed by signal 42 on mill", "failure"),
        ("failed", facts("timed_out"), "nightly timed out on mill", "failure"),
        ("failed", facts("out_of_memory"), "nightly out of memory on mill", "failure"),
        ("failed", facts("lost"), "nightly lost on mill", "failure"),
        ("recovered", facts(), "nightly succeeded again on mill", "success"),
        ("late", facts(None), "nightly is late on mill", "warning"),
        ("other", facts(None), "nightly not ended on mill", "info"),
    ],
)
def test_the_title_and_the_type(occasion: str, run: RunFacts, title: str, kind: str) -> None:
    message = sent(run, occasion)
    assert (message["title"], message["type"]) == (title, kind)


@needs_apprise
def test_facts_that_are_not_there_are_not_named() -> None:
    message = sent(facts(None, attempts=0, duration=None), "late")["message"]
    assert [line.partition(":")[0] for line in message.splitlines()] == [
        "Job", "Fire time", "Attempts", "Run",
    ]  # fmt: skip


@needs_apprise
def test_the_end_of_the_output_made_safe() -> None:
    output = b"first\n" + "é".encode() * 600 + b"\ta\x1b[2J\r\nb\xff\n"
    lines = sent(facts("failed", printed=len(output)), output=output)["message"].splitlines()
    title, cut, last = lines[-3:]
    assert title == f"Output (the end of {len(output)} bytes):"
    assert set(cut.partition(" ")[0]) == {"é"}
    assert cut.endswith(" a\\x1b[2J")
    assert last == "b\N{REPLACEMENT CHARACTER}"


@needs_apprise
def test_no_fact_can_forge_a_line() -> None:
    message = sent(facts("failed", job="a\nOutcome: succeeded", reason="x\rRun: y"))
    assert "\n" not in message["title"]
    assert len(message["message"].splitlines()) == 7


@needs_apprise
@pytest.mark.parametrize(
    ("form", "text"), [("text", "<b>*x*</b> &amp;"), ("html", "&lt;b&gt;*x*&lt;/b&gt;")]
)
def test_text_is_not_read_as_markup(form: str, text: str) -> None:
    """A service that wants HTML gets it escaped."""
    with server.http_server() as there:
        url = f"{json_url(there)}?format={form}"
        run = facts("failed", reason="<b>*x*</b> &amp;")
        assert notify.send(notification(url, run=run), b"") == 0
    (received,) = there.received
    assert text in json.loads(received.body)["message"]


@needs_apprise
def test_each_url_gets_the_notification(capsys: pytest.CaptureFixture[str]) -> None:
    with server.http_server() as one, server.http_server() as two:
        wanted = notification(json_url(one), json_url(two), run=facts("failed"))
        assert notify.send(wanted, b"") == 0
    assert len(one.received) == len(two.received) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("notification ops: sent to 2\n", "")


@needs_apprise
@pytest.mark.parametrize("answer", [server.status(500), server.status(404), server.close])
def test_a_service_that_refuses(
    answer: server.Answer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with server.http_server(answer) as there:
        wanted = notification(json_url(there, "me:secret@"), run=facts("failed"))
        assert notify.send(wanted, b"") == os.EX_TEMPFAIL
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == (
        "", "notification ops: not every service has accepted it\n",
    )  # fmt: skip
    assert not caplog.records


@needs_apprise
def test_what_a_service_prints_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    def talk(*arguments: Any, meta: dict[str, Any], **more: Any) -> None:
        print(meta["url"])
        print(meta["url"], file=sys.stderr)
        raise ValueError(meta["url"])

    importlib.import_module("apprise.decorators").notify(on="talkative")(talk)
    wanted = notification("talkative://secret", run=facts("failed"))
    assert notify.send(wanted, b"") == os.EX_TEMPFAIL
    printed = capfd.readouterr()
    assert "secret" not in printed.out + printed.err
    assert len(printed.err.splitlines()) == 1


@needs_apprise
def test_nobody_listens() -> None:
    wanted = notification(f"json://{unused_address()}/x", run=facts("failed"))
    assert notify.send(wanted, b"") == os.EX_TEMPFAIL


@needs_apprise
@pytest.mark.parametrize(
    "url",
    ["", "secret", "nothing://me:secret@x/secret", "json://", "json://[secret", "tgram://secret"],
)
def test_a_url_that_apprise_does_not_understand(
    url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The other URLs are told all the same."""
    with server.http_server() as there:
        wanted = notification(url, json_url(there), run=facts("failed"))
        assert notify.send(wanted, b"") == os.EX_DATAERR
    assert len(there.received) == 1
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == (
        "", "notification ops: apprise understands 1 of 2 URLs\n",
    )  # fmt: skip


@needs_apprise
def test_no_url() -> None:
    assert notify.send(notification(run=facts("failed")), b"") == os.EX_DATAERR


@needs_apprise
def test_the_program_finds_apprise_without_site() -> None:
    """Nothing is printed but its own line, in which no secret is."""
    with server.http_server(server.status(500)) as there:
        url = json_url(there, "me:secret@")
        done = subprocess.run(
            [sys.executable, "-S", "-s", "-P", "-c", PROGRAM],
            input=json.dumps(notification(url, "nothing://secret", run=facts("failed"))),
            env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout) == (os.EX_TEMPFAIL, "")
    assert done.stderr == "notification ops: not every service has accepted it\n"
    assert len(there.received) == 1


def test_apprise_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    wanted = notification("json://secret/", run=facts("failed"))
    assert notify.send(wanted, b"") == os.EX_UNAVAILABLE
    assert capsys.readouterr().err == (
        "notification ops: apprise is not installed: pip install 'pycrond[notify]'\n"
    )
