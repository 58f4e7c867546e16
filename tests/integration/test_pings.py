"""Pings, against a web server on this machine."""

import contextlib
import io
import json
import os
import string
import subprocess
import sys
import uuid
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pycron
from pycron.delivery import ping
from pycron.delivery.request import RunFacts
from tests.support import http_server as server
from tests.support.http_server import Answer, RecordingServer, unused_address
from tests.support.run_facts import RUN_ID, facts
from tests.support.run_facts import ping as request
from tests.support.thoroughness import number_of
from tests.support.waiting import until

ROOT = Path(pycron.__file__).resolve().parents[1]
SHORT = 0.3  # seconds for a try that is to reach its limit
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# Without site, as the program runs.
PROGRAM = """\
import json, sys
from pycron.delivery import ping
sys.exit(ping.send(json.loads(sys.stdin.readline()), b"", 30, 0))
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def send(
    url: str, run: RunFacts | None = None, occasion: str = "ended", output: bytes = b"",
    with_output: bool = True, time_limit: float = 30,
) -> int:  # fmt: skip
    return ping.send(
        request(url, run or facts(), occasion, with_output), output, time_limit, delay=0
    )


def send_to(*answers: Answer, time_limit: float = 30) -> tuple[int, RecordingServer]:
    """The exit status of a ping to a server that gives these answers, and the closed server."""
    with server.http_server(*answers) as there:
        return send(there.url(), time_limit=time_limit), there


# ---- what is said


def test_the_start_and_the_end_of_a_run() -> None:
    with server.http_server() as there:
        assert send(there.url("/check"), facts(None), "started") == 0
        assert send(there.url("/check"), facts(), output=b"done\n") == 0
    start, end = there.received
    assert (start.method, start.path, start.body) == ("POST", "/check/start", b"")
    assert (end.method, end.path, end.body) == ("POST", "/check", b"done\n")
    assert end.headers["User-Agent"] == f"pycron/{pycron.__version__}"
    assert end.headers["Content-Type"] == "text/plain"


def test_the_start_and_the_end_have_the_same_uuid_and_other_runs_have_another() -> None:
    with server.http_server() as there:
        send(there.url(), facts(None), "started")
        send(there.url(), facts("failed"))
        send(there.url(), facts(run_id=RUN_ID.replace("07", "08")))
    rids = [received.query["rid"] for received in there.received]
    assert rids[0] == rids[1] != rids[2]
    assert [str(uuid.UUID(rid)) for (rid,) in rids] == [rid for (rid,) in rids]


@pytest.mark.parametrize(
    ("run", "path"),
    [
        (facts(), "/check"),
        (facts("failed"), "/check/7"),
        (facts("failed", exit_status=1), "/check/1"),
        (facts("failed", exit_status=255), "/check/255"),
        (facts("failed", exit_status=0), "/check/fail"),
        (facts("failed", exit_status=256), "/check/fail"),
        (facts("failed", exit_status=None), "/check/fail"),
        (facts("killed"), "/check/fail"),
        (facts("timed_out", exit_status=0), "/check/fail"),
        (facts("out_of_memory"), "/check/fail"),
        (facts("missed"), "/check/fail"),
        (facts("lost"), "/check/fail"),
        (facts(None), "/check/fail"),
    ],
)
def test_how_a_run_ended_is_the_end_of_the_path(run: RunFacts, path: str) -> None:
    with server.http_server() as there:
        assert send(there.url("/check"), run) == 0
    assert there.paths() == [path]


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("/a?create=1", "/a/start?create=1&rid="),
        ("/a/", "/a/start?rid="),
        ("/a#fragment", "/a/start?rid="),
        ("", "/start?rid="),
        ("?a=b&c=%20d", "/start?a=b&c=%20d&rid="),
        ("/grün%2Fx y", "/gr%C3%BCn%2Fx%20y/start?rid="),
    ],
)
def test_the_parts_of_the_url_stay_where_they_belong(given: str, target: str) -> None:
    with server.http_server() as there:
        assert send(there.url(given), facts(None), "started") == 0
    assert there.received[0].target.startswith(target)


@pytest.mark.parametrize("given", ["/a/", "/a?create=1", ""])
def test_a_success_leaves_the_path_as_it_is(given: str) -> None:
    with server.http_server() as there:
        assert send(there.url(given)) == 0
    assert there.paths() == [given.partition("?")[0] or "/"]


def test_the_last_10_000_bytes_of_the_output() -> None:
    output = bytes(range(256)) * 100
    with server.http_server() as there:
        send(there.url(), output=output)
        send(there.url(), output=output, with_output=False)
        send(there.url(), output=b"\xff\0")
    assert [received.body for received in there.received] == [output[-10_000:], b"", b"\xff\0"]
    assert all(received.headers["Content-Length"] for received in there.received)


def test_user_and_password_are_sent_as_a_header() -> None:
    with server.http_server() as there:
        assert send(f"http://me:p%40ss@{there.address}/check") == 0
    (received,) = there.received
    assert received.headers["Authorization"] == f"Basic {b64encode(b'me:p@ss').decode()}"
    assert received.headers["Host"] == there.address


# ---- tries


def test_an_error_of_the_server_and_then_none() -> None:
    exit_status, there = send_to(server.status(500), server.status(200))
    assert (exit_status, len(there.received)) == (0, 2)
    assert there.received[0] == there.received[1]


@pytest.mark.parametrize("code", [500, 503, 429, 408])
def test_a_server_that_never_gets_well(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    exit_status, there = send_to(server.status(code))
    assert (exit_status, len(there.received)) == (os.EX_TEMPFAIL, 3)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"ping 127.0.0.1: HTTP status {code} (3 tries)\n")


@pytest.mark.parametrize("code", [400, 401, 404, 409, 410, 304])
def test_a_refusal_is_final(code: int) -> None:
    exit_status, there = send_to(server.status(code))
    assert (exit_status, len(there.received)) == (os.EX_UNAVAILABLE, 1)


@pytest.mark.parametrize("code", [200, 201, 204])
def test_every_status_of_success_is_one(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    exit_status, there = send_to(server.status(code))
    assert (exit_status, len(there.received)) == (0, 1)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"ping 127.0.0.1: HTTP status {code}\n", "")


@pytest.mark.parametrize("answer", [server.close, server.garbage])
def test_a_server_that_gives_no_answer(answer: Answer) -> None:
    exit_status, there = send_to(answer)
    assert (exit_status, len(there.received)) == (os.EX_TEMPFAIL, 3)


def test_a_lost_connection_and_then_none() -> None:
    exit_status, there = send_to(server.close, server.garbage, server.status(200))
    assert (exit_status, len(there.received)) == (0, 3)


@pytest.mark.parametrize("answer", [server.hang, server.drip])
def test_the_time_of_a_try_is_limited(answer: Answer, capsys: pytest.CaptureFixture[str]) -> None:
    """Also if the server sends a byte now and then."""
    with server.http_server(answer) as there:
        assert send(there.url(), time_limit=SHORT) == os.EX_TEMPFAIL
        until(lambda: len(there.received) == 3)
    assert capsys.readouterr().err == "ping 127.0.0.1: timed out (3 tries)\n"


def test_a_try_after_a_time_out_can_succeed() -> None:
    with server.http_server(server.hang, server.status(200)) as there:
        assert send(there.url(), time_limit=1) == 0
    assert len(there.received) >= 2


def test_nobody_listens(capsys: pytest.CaptureFixture[str]) -> None:
    assert send(f"http://{unused_address()}/check") == os.EX_TEMPFAIL
    assert capsys.readouterr().err == "ping 127.0.0.1: Connection refused (3 tries)\n"


def test_a_server_that_speaks_no_tls() -> None:
    with server.http_server() as there:
        assert send(there.url().replace("http:", "https:")) == os.EX_TEMPFAIL


def test_an_answer_without_end_is_not_read() -> None:
    exit_status, there = send_to(server.endless)
    assert (exit_status, len(there.received)) == (0, 1)
    assert there.body_bytes < 2**26  # what fits in the buffers of a connection


# ---- redirects


@pytest.mark.parametrize("code", [301, 302, 303])
def test_a_post_that_becomes_a_get(code: int) -> None:
    with server.http_server(server.redirect(code, "/there?x=1"), server.status(200)) as first:
        assert send(first.url(), output=b"done") == 0
    post, get = first.received
    assert (post.method, post.body) == ("POST", b"done")
    assert (get.method, get.target, get.body) == ("GET", "/there?x=1", b"")


@pytest.mark.parametrize("code", [307, 308])
def test_a_post_that_stays_one(code: int) -> None:
    with (
        server.http_server() as second,
        server.http_server(server.redirect(code, second.url("/grün"))) as first,
    ):
        assert send(first.url(), output=b"done") == 0
    (received,) = second.received
    assert (received.method, received.body) == ("POST", b"done")
    assert received.path == "/gr%FCn"  # the header was Latin-1


def test_user_and_password_are_not_told_to_another_server() -> None:
    with (
        server.http_server() as second,
        server.http_server() as first,
    ):
        own = f"http://{first.address}/there"
        first.answers = [server.redirect(307, own), server.redirect(307, second.url())]
        assert send(f"http://me:password@{first.address}/check") == 0
    assert ["Authorization" in received.headers for received in first.received] == [True, True]
    assert "Authorization" not in second.received[0].headers


@pytest.mark.parametrize(
    "location", ["file://{path}", "ftp://127.0.0.1/x", "data:,x", "http://[", "//a b/"]
)
def test_a_redirect_to_something_else_is_refused(
    location: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "secret"
    path.write_text("contents")
    before = path.stat().st_atime_ns
    exit_status, there = send_to(server.redirect(302, location.format(path=path)))
    assert (exit_status, len(there.received)) == (os.EX_UNAVAILABLE, 1)
    assert path.stat().st_atime_ns == before
    assert capsys.readouterr().err == (
        "ping 127.0.0.1: a redirect to what is no http or https URL\n"
    )


def test_five_redirects_are_followed_and_a_loop_is_not() -> None:
    followed, there = send_to(*[server.redirect(302, "/on")] * 5, server.status(200))
    assert (followed, len(there.received)) == (0, 6)
    refused, there = send_to(server.redirect(307, "/ping"))
    assert (refused, len(there.received)) == (os.EX_UNAVAILABLE, 6)


def test_a_redirect_without_a_location_is_a_refusal() -> None:
    assert send_to(server.status(302))[0] == os.EX_UNAVAILABLE


# ---- URLs, proxies, and what is printed


@pytest.mark.parametrize(
    "url",
    [
        "", "secret", "/secret", "file:///etc/secret", "ftp://127.0.0.1/secret", "http:///secret",
        "http:secret", "http://:80/secret", "http://127.0.0.1:99999/secret", "http://[::1/secret",
        "http://u:secret@/x", "http://127.0.0.1:x/secret", "http://a b/secret", "http://a..b/secret",
        "http://127.0.0.1\r\nX: y/secret", "http://%31/secret", "http://127.0.0.1/\udcffsecret",
        "http://secret\u2100@127.0.0.1/", "javascript:secret", "http://127.0.0.1:0/secret",
    ],
)  # fmt: skip
def test_no_http_url(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert send(url) == os.EX_DATAERR
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "ping: the URL is no http or https URL\n")


def test_control_characters_cannot_add_a_header() -> None:
    with server.http_server() as there:
        assert send(there.url("/a\x00\x7f b\tX-Added: 1")) == 0
    (received,) = there.received
    assert received.path == "/a%00%7F%20bX-Added:%201"
    assert "X-Added" not in received.headers


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with server.http_server() as proxy:
        monkeypatch.setenv("http_proxy", f"http://{proxy.address}")
        assert send("http://check.invalid/check") == 0
    assert proxy.received[0].target.startswith("http://check.invalid/check?rid=")


def test_a_proxy_that_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    assert send("http://check.invalid/secret") == os.EX_TEMPFAIL
    assert capsys.readouterr().err == "ping check.invalid: not sent (URLError) (3 tries)\n"


SECRETS = st.text(string.ascii_letters + string.digits, min_size=12, max_size=20)
ODD = st.text(st.characters(exclude_characters="/?#@[]\\"), max_size=5)
ANSWERS = st.sampled_from([
    server.status(200), server.status(404), server.status(500), server.close, server.garbage,
    server.redirect(302, "/on"), server.redirect(307, "file:///etc/passwd"),
])  # fmt: skip


@settings(max_examples=number_of(60, 600))
@given(SECRETS, SECRETS, SECRETS, SECRETS, ODD, ANSWERS, st.booleans())
def test_nothing_that_is_secret_is_printed(
    user: str, password: str, token: str, value: str, odd: str, answer: Answer, served: bool
) -> None:
    printed = io.StringIO()
    with (
        server.http_server(answer) as there,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        address = there.address if served else unused_address()
        exit_status = send(f"http://{user}:{password}@{address}/{odd}{token}?{odd}key={value}{odd}")
    assert exit_status in (0, os.EX_TEMPFAIL, os.EX_UNAVAILABLE, os.EX_DATAERR)
    assert printed.getvalue().count("\n") == 1
    for secret in (user, password, token, value):
        assert secret not in printed.getvalue()


@pytest.mark.parametrize(
    ("answer", "exit_status", "printed"),
    [
        (server.status(200), 0, "ping 127.0.0.1: HTTP status 200\n"),
        (server.status(404), 69, "ping 127.0.0.1: HTTP status 404\n"),
        (server.garbage, 75, "ping 127.0.0.1: the server gave no valid answer (3 tries)\n"),
    ],
)
def test_the_program_needs_the_standard_library_only(
    answer: Answer, exit_status: int, printed: str
) -> None:
    with server.http_server(answer) as there:
        done = subprocess.run(
            [sys.executable, "-S", "-s", "-P", "-c", PROGRAM],
            input=json.dumps(request(f"http://u:secret@{there.address}/token", facts())),
            env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (exit_status, printed)
