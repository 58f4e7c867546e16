"""Attacks on the page: forged requests, stolen logins, slow and many connections."""

import contextlib
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("jinja2")

from tests.support.operated_daemon import OperatedDaemon, operated_daemon
from tests.support.running_daemon import run
from tests.support.waiting import until
from tests.support.web_page import Browser, WebPage, new_token, web_page

START = "/api/v1/jobs/victim/start"


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    with operated_daemon(
        tmp_path_factory.mktemp("web"), "CRON_NAME=victim @yearly true\n@every 1s true\n"
    ) as op:
        yield op


@pytest.fixture(scope="module")
def page(op: OperatedDaemon) -> Iterator[WebPage]:
    with web_page(op.state) as page:
        yield page


@pytest.fixture(scope="module")
def browser(page: WebPage) -> Browser:
    return page.logged_in()


def starts(op: OperatedDaemon) -> int:
    return len(op.daemon.log("run_by_hand", job="victim"))


# ---- requests of other sites


@pytest.mark.parametrize("headers", [
    {},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "http://127.0.0.1"},  # another port is another site
    {"Origin": "OWN.evil.example"},
    {"Origin": "OWN", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "OWN", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Referer": "OWN/"},
    {"Origin": "OWN", "X-HTTP-Method-Override": "GET", "Sec-Fetch-Site": "cross-site"},
], ids=str)  # fmt: skip
def test_another_site_changes_nothing(
    op: OperatedDaemon, browser: Browser, headers: dict[str, str]
) -> None:
    before = starts(op)
    sent = {name: value.replace("OWN", browser.origin) for name, value in headers.items()}
    for path in (START, "/logout", "/login"):
        assert browser.request("POST", path, b"", sent).status == 403, path
    assert browser.get("/").status == 200  # it is still logged in
    assert starts(op) == before


@pytest.mark.parametrize("headers", [
    {"Origin": "OWN"}, {"Sec-Fetch-Site": "same-origin"},
    {"Origin": "OWN", "Sec-Fetch-Site": "same-origin"},
], ids=str)  # fmt: skip
def test_the_page_itself_may(op: OperatedDaemon, browser: Browser, headers: dict[str, str]) -> None:
    before = starts(op)
    sent = {name: value.replace("OWN", browser.origin) for name, value in headers.items()}
    assert browser.request("POST", START, b"", sent).status == 200
    until(lambda: starts(op) == before + 1)


def test_a_get_changes_nothing(op: OperatedDaemon, browser: Browser) -> None:
    before = starts(op)
    for path in (START, "/logout", f"{START}?_method=POST"):
        for method in ("GET", "HEAD"):
            assert browser.request(method, path).status in (404, 405), path
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "X"):
        assert browser.request(method, START).status == 405
    assert browser.get("/").status == 200
    assert starts(op) == before


def test_a_token_in_a_cookie_or_in_the_address_is_none(op: OperatedDaemon, page: WebPage) -> None:
    token = new_token(op.state, "elsewhere", "--operate")
    browser = page.browser()
    browser.cookies = {"pycron": token}
    assert browser.get("/").status == 303
    assert page.browser().get(f"/api/v1/status?token={token}").status == 401
    assert page.browser().get(f"/login/{token}").status == 403
    assert page.with_token(token).get("/").status == 303  # only for /api and /metrics


# ---- names that lead here


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:80", "localhost.evil.example", "169.254.169.254", "",
    "localhost evil.example", "evil.example/localhost",
])  # fmt: skip
def test_a_forged_host(page: WebPage, browser: Browser, host: str) -> None:
    for path in ("/", "/login", "/static/page.css", "/api/v1/status", "/metrics"):
        answer = browser.get(path, Host=host)
        assert answer.status in (400, 421), path
        assert "evil" not in answer.text
    link = page.browser().get("/login/x", Host=host)
    assert link.status in (400, 421)


def test_a_name_that_was_given_is_known(op: OperatedDaemon) -> None:
    with web_page(op.state, "--host", "cron.example.org") as page:
        browser = page.logged_in()
        assert browser.get("/", Host="cron.example.org").status == 200
        ours, theirs = "https://cron.example.org", "https://cron.example.com"
        sent = {"Host": "cron.example.org", "Origin": theirs}
        assert browser.request("POST", START, b"", sent).status == 403
        assert browser.request("POST", START, b"", {**sent, "Origin": ours}).status == 200


# ---- what every answer says to the browser


@pytest.mark.parametrize(("path", "status"), [
    ("/", 200), ("/login", 200), ("/nothing", 404), ("/static/page.css", 200), ("/login/x", 403),
    ("/api/v1/status", 200), ("/api/v1/runs?x=1", 400), ("/logout", 405), ("/static/none", 404),
])  # fmt: skip
def test_every_answer_forbids_frames_foreign_code_and_copies(
    browser: Browser, path: str, status: int
) -> None:
    answer = browser.get(path)
    assert answer.status == status
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";")
    )
    assert policy == {
        "default-src": "'self'", "base-uri": "'none'", "form-action": "'self'",
        "frame-ancestors": "'none'", "object-src": "'none'",
    }  # fmt: skip
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    kept = "no-cache" if path.startswith("/static/") else "no-store"
    assert answer.headers["Cache-Control"] == kept
    assert "Server" not in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_refusals_say_it_too(page: WebPage, browser: Browser) -> None:
    for answer in (browser.get("/", Host="evil.example"), page.browser().get("/"),
                   browser.request("POST", START), browser.request("PUT", "/")):  # fmt: skip
        assert answer.status in (421, 303, 403, 405)
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize("text", ['"><script>alert(1)</script>', "<img src=x onerror=alert(1)>"])
def test_what_a_request_contains_is_text(page: WebPage, browser: Browser, text: str) -> None:
    from urllib.parse import quote

    for path in ("/login?next=/" + quote(text), "/" + quote(text), "/login/" + quote(text, safe=""),
                 "/api/v1/runs/" + quote(text, safe="")):  # fmt: skip
        for each in (browser, page.browser()):
            answer = each.get(path)
            is_page = answer.headers.get("Content-Type", "").startswith("text/html")
            assert not is_page or text not in answer.text, path


# ---- paths


@pytest.mark.parametrize("path", [
    "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/....//app.py",
    "/static//etc/passwd", "/static/%2fetc%2fpasswd", "/static/..\\app.py", "/static/%00",
    "/static/page.css%00.html", "/../../../../etc/passwd", "/static/", "/static",
    "/static/../templates/login.html", "//evil.example/", "/static/%5c..%5capp.py",
])  # fmt: skip
def test_no_path_leads_out_of_the_static_files(browser: Browser, path: str) -> None:
    answer = browser.get(path)
    assert answer.status in (400, 404, 307, 303), answer.status
    assert "evil" not in answer.headers.get("Location", "")
    assert "root:" not in answer.text
    assert "import" not in answer.text


def test_a_name_of_a_file_is_no_header(browser: Browser) -> None:
    answer = browser.get("/api/v1/runs/x%0d%0aSet-Cookie:%20a=b/output")
    assert answer.status in (400, 404, 409)
    assert "Set-Cookie" not in answer.headers


# ---- sessions and secrets


def test_a_session_of_an_attacker_is_not_taken_over(op: OperatedDaemon, page: WebPage) -> None:
    """Session fixation: the cookie that a browser brings to its login means nothing."""
    token = new_token(op.state, "fixed")
    victim = page.browser()
    victim.cookies = {"pycron": "chosen-by-the-attacker"}
    assert victim.post("/login", {"token": token}).status == 200
    assert victim.cookies["pycron"] != "chosen-by-the-attacker"
    first = victim.cookies["pycron"]
    assert victim.post("/login", {"token": token}).status == 200
    assert victim.cookies["pycron"] != first
    for old in ("chosen-by-the-attacker", first):
        attacker = page.browser()
        attacker.cookies = {"pycron": old}
        assert attacker.get("/").status == 303


def test_no_secret_is_in_the_log_or_in_an_error(op: OperatedDaemon) -> None:
    with web_page(op.state) as page:
        link = page.link.removeprefix(page.url)
        token = new_token(op.state, "secret")
        browser = page.browser()
        answers = [browser.get(link), browser.get(link), browser.post("/login", {"token": token})]
        answers += [browser.post("/login", {"token": token + "x", "password": "Pa55word"})]
        answers += [browser.post("/login", {"user": "anna", "password": "Pa55word"})]
        answers += [page.with_token(token + "x").get("/api/v1/status")]
        answers += [page.with_token(token).get(f"/api/v1/jobs/{token[:5]}/why?time=x")]
        assert browser.get("/nothing").status == 404
        log = page.log.read_text()
        assert "login: " in log
        assert "login refused: anna from 127.0.0.1" in log
        texts = [log, *(answer.text for answer in answers)]
        for secret in (link.rpartition("/")[2], token.split("_", 2)[2], "Pa55word",
                       *browser.cookies.values()):  # fmt: skip
            assert not [text for text in texts if secret in text], secret
        assert token not in " ".join(psutil.Process(page.pid).cmdline())


def test_a_log_line_cannot_be_forged(op: OperatedDaemon, page: WebPage) -> None:
    page.browser().post("/login", {"user": "x\npycron web: login: root (link)", "password": "x"})
    lines = page.log.read_text().splitlines()
    assert [line for line in lines if line.startswith("pycron web: login refused: x")]
    assert "pycron web: login: root (link)" not in lines


def test_a_proxy_that_passes_on_the_header_of_a_browser(op: OperatedDaemon, tmp_path: Path) -> None:
    import pwd

    own = pwd.getpwuid(os.geteuid()).pw_name
    with web_page(op.state, "--remote-user-from", own, listen=str(tmp_path / "page.sock")) as page:
        head = f"GET / HTTP/1.1\r\nHost: localhost\r\nRemote-User: x\r\nRemote-User: {own}\r\n\r\n"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(tmp_path / "page.sock"))
            connection.sendall(head.encode())
            assert b" 303 " in connection.recv(100)
        del page


# ---- slow and many connections


def connections(page: WebPage, count: int) -> list[socket.socket]:
    """So many; a connection that the kernel or the page refuses is left out."""
    parts = urlsplit(page.url)
    found = []
    for _ in range(count):
        connection = socket.socket()
        connection.settimeout(5)
        with contextlib.suppress(OSError):
            connection.connect((parts.hostname, parts.port))
            found.append(connection)
    return found


def check_that_all_is_well(op: OperatedDaemon, browser: Browser) -> None:
    """The page answers, and so does the daemon, which starts what is due."""
    assert browser.get("/").status == 200
    assert op.run("status").returncode == 0
    op.daemon.wait_for("attempt_ended", count=len(op.daemon.log("attempt_ended")) + 1)


@pytest.mark.parametrize("head", [
    b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: ",
    b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nx",
])  # fmt: skip
def test_who_only_begins_requests_keeps_nobody_out(
    op: OperatedDaemon, page: WebPage, browser: Browser, head: bytes
) -> None:
    slow = connections(page, 400)
    for connection in slow:
        with contextlib.suppress(OSError):
            connection.sendall(head)
    check_that_all_is_well(op, browser)
    assert len(psutil.Process(page.pid).net_connections("tcp")) < 300
    for connection in slow:
        connection.close()


@pytest.mark.slow
def test_ten_thousand_connections(op: OperatedDaemon, page: WebPage, browser: Browser) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 11_000:
        pytest.skip("this process may not open so many files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (11_000, hard))
    try:
        many = connections(page, 10_000)
        assert len(many) > 9000
        check_that_all_is_well(op, browser)
        for connection in many:
            connection.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    check_that_all_is_well(op, browser)
    assert psutil.Process(page.pid).memory_info().rss < 200e6


def test_a_head_without_an_end(op: OperatedDaemon, page: WebPage, browser: Browser) -> None:
    (connection,) = connections(page, 1)
    with contextlib.suppress(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000)
        assert b" 400 " in connection.recv(100)
    connection.close()
    check_that_all_is_well(op, browser)


# ---- the page fails


def test_a_page_without_memory(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "@every 1s true\n") as op, web_page(op.state) as page:
        browser = page.logged_in()
        now = psutil.Process(page.pid).memory_info().vms
        resource.prlimit(page.pid, resource.RLIMIT_AS, (now, now))
        for _ in range(20):
            with contextlib.suppress(OSError):
                browser.get("/api/v1/openapi.json")
        op.daemon.wait_for("attempt_ended", count=len(op.daemon.log("attempt_ended")) + 2)
        assert op.run("status", "--health").returncode == 0
        assert not [line for line in op.daemon.log() if line["level"] != "info"]


def test_a_page_that_stands_still(tmp_path: Path) -> None:
    """Stopped in the middle of its questions, it holds a few connections of the daemon."""
    with operated_daemon(tmp_path, "@every 1s true\n") as op, web_page(op.state) as page:
        page.logged_in()
        os.kill(page.pid, signal.SIGSTOP)
        try:
            op.daemon.wait_for("attempt_ended", count=len(op.daemon.log("attempt_ended")) + 2)
            assert run("pycron", "--state-dir", op.state, "status", "--health").returncode == 0
        finally:
            os.kill(page.pid, signal.SIGCONT)


def test_streams_are_few() -> None:
    from pycron.web.daemon import Busy
    from pycron.web.streams import Streams

    streams: Any = Streams()
    for _ in range(16):
        streams.take("anna")
    with pytest.raises(Busy):
        streams.take("anna")
    for user in ("bob", "carol", "dave"):
        for _ in range(16):
            streams.take(user)
    with pytest.raises(Busy):
        streams.take("eve")
    streams.give_back("anna")
    streams.take("eve")
