"""`pycron web`: logging in, what programs get, and what the daemon notices of it."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("jinja2")

from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route

from pycron.cli.errors import Failed
from pycron.cli.verbs import web as web_verb
from pycron.web import api
from tests.support.operated_daemon import (
    OWN_NAME,
    OperatedDaemon,
    operated_daemon,
    waiting_for_gate,
)
from tests.support.running_daemon import run
from tests.support.waiting import until
from tests.support.web_page import Browser, WebPage, new_token, web_page

API = "/api/v1"
# Of JSON Schema.
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,),
    "null": (type(None),),
}  # fmt: skip


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    """Jobs that have succeeded, failed, and run still; one is paused, one is a dead letter."""
    directory = tmp_path_factory.mktemp("web")
    table = (
        "CRON_NAME=good @yearly echo fine\n"
        "CRON_NAME=bad CRON_RETRIES=1 CRON_RETRY_DELAY=1s @yearly echo oops; exit 3\n"
        f"CRON_NAME=long @yearly {waiting_for_gate(directory)}\n"
        "CRON_NAME=soon */5 * * * * true\n"
        "CRON_NAME=odd @yearly printf '\udcff' \udcff\n"
    )
    with operated_daemon(directory, "@yearly true\n") as op:
        (directory / "table").write_bytes(table.encode("utf-8", "surrogateescape"))
        assert op.run("reload").returncode == 0
        for job in ("good", "bad", "odd"):
            op.start(job)
            op.daemon.wait_for("attempt_ended", job=job, count=2 if job == "bad" else 1)
        op.start("long")
        op.daemon.wait_for("attempt_started", job="long")
        op.row("pause", "soon")
        yield op


@pytest.fixture(scope="module")
def page(op: OperatedDaemon) -> Iterator[WebPage]:
    with web_page(op.state) as page:
        yield page


@pytest.fixture(scope="module")
def reader(op: OperatedDaemon, page: WebPage) -> Browser:
    return page.with_token(new_token(op.state, "reader"))


@pytest.fixture(scope="module")
def operator(op: OperatedDaemon, page: WebPage) -> Browser:
    return page.with_token(new_token(op.state, "operator", "--operate"))


# ---- logging in


def test_the_first_line_is_a_link_that_logs_in_once(op: OperatedDaemon) -> None:
    with web_page(op.state) as page:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/login/[\w-]{43}", page.link)
        browser = page.browser()
        assert browser.get("/").status == 303
        link = page.link.removeprefix(page.url)
        assert browser.request("HEAD", link).status == 200  # what a preview of links does
        answer = browser.get(link)
        assert answer.status == 200
        cookie = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
        assert browser.get("/").status == 200
        assert page.browser().get(link).status == 403
        assert browser.post("/logout").status == 200
        assert browser.get("/").status == 303


@pytest.mark.slow
def test_a_page_at_a_unix_socket(op: OperatedDaemon, tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    with web_page(op.state, listen=str(path)) as page:
        assert page.link.startswith("http+unix://%2F")
        assert path.stat().st_mode & 0o777 == 0o660
        assert page.logged_in().get("/").status == 200


@pytest.mark.slow
def test_a_socket_of_systemd(op: OperatedDaemon) -> None:
    """As systemd.socket(5) hands it over: descriptor 3, with LISTEN_PID and LISTEN_FDS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        number = listener.fileno()
        script = f'exec 3<&{number}; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"'
        prefix = ("bash", "-c", script, "bash")
        with web_page(op.state, prefix=prefix, listen="/none", pass_fds=(number,)) as page:
            assert page.url == f"http://127.0.0.1:{listener.getsockname()[1]}"
            assert page.logged_in().get("/").status == 200


def test_a_login_with_a_token_leads_to_where_one_wanted_to_go(
    op: OperatedDaemon, page: WebPage
) -> None:
    token = new_token(op.state, "laptop", "--operate")
    browser = page.browser()
    wanted = browser.get("/runs?job=good")
    assert wanted.headers["Location"] == "/login?next=%2Fruns%3Fjob%3Dgood"
    form = browser.get(wanted.headers["Location"])
    assert 'value="/runs?job=good"' in form.text
    assert browser.post("/login", {"token": token + "x", "next": "/"}).status == 403
    answer = browser.post("/login", {"token": f" {token}\n", "next": "/runs?job=good"})
    assert answer.status == 200
    assert 'content="0;url=/runs?job=good"' in answer.text
    assert browser.get("/").status == 200

    done = op.run("web", "--tokens", "revoke", "--name", "laptop")
    assert (done.returncode, done.stderr) == (0, "")
    assert browser.get("/").status == 303


def test_only_the_user_of_the_page_can_log_in_to_it(op: OperatedDaemon, page: WebPage) -> None:
    token = new_token(op.state, "of-nobody", "--of", "nobody", "--operate")
    assert page.browser().post("/login", {"token": token}).status == 403
    assert page.with_token(token).get(f"{API}/status").status == 401


def test_tokens_are_listed(op: OperatedDaemon) -> None:
    new_token(op.state, "listed")
    rows = {row["name"]: row for row in op.rows("web", "--tokens", "list")}
    assert rows["listed"].keys() == {"name", "user", "may_change", "made"}
    assert (rows["listed"]["user"], rows["listed"]["may_change"]) == (OWN_NAME, False)
    assert re.search(rf"listed +{OWN_NAME} +read ", op.run("web", "--tokens", "list").stdout)
    assert op.run("web", "--tokens", "add").returncode == 2
    assert op.run("web", "--name", "x").returncode == 2


@pytest.mark.slow
def test_a_proxy_names_the_user(op: OperatedDaemon, tmp_path: Path) -> None:
    path = tmp_path / "page.sock"
    with web_page(op.state, "--remote-user-from", OWN_NAME, listen=str(path)) as page:
        assert page.browser(Remote_User=OWN_NAME).get("/").status == 200
        assert page.browser(Remote_User="nobody").get("/").status == 303
        assert page.browser(Remote_User="").get("/").status == 303
        assert page.browser().get("/").status == 303
    with web_page(op.state, "--remote-user-from", "192.0.2.1") as page:
        assert page.browser(Remote_User=OWN_NAME).get("/").status == 303


def test_a_proxy_with_tls_makes_the_cookie_secure(op: OperatedDaemon, page: WebPage) -> None:
    token = new_token(op.state, "behind-tls")
    browser = page.browser(X_Forwarded_Proto="https")
    cookie = browser.post("/login", {"token": token}).headers["Set-Cookie"]
    assert cookie.startswith("__Host-pycron=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
    assert browser.get("/").status == 200
    browser.headers.clear()
    assert browser.get("/").status == 303


# ---- what programs get


@pytest.mark.parametrize(
    ("path", "verb"),
    [
        ("/jobs", ["list"]), ("/runs?limit=10", ["runs"]), ("/pauses", ["pause"]),
        ("/dead", ["dead", "list"]), ("/next?count=3", ["next", "--count", "3"]),
        ("/runs?job=bad&outcome=failed", ["runs", "--job", "bad", "--outcome", "failed"]),
        ("/jobs?failed=true", ["list", "--failed"]),
        ("/jobs?match=GOOD", ["list", "--match", "good"]),
        ("/search?text=oops", ["log", "--search", "oops"]),
    ],
    ids=str,
)  # fmt: skip
def test_rows_are_those_of_json(
    op: OperatedDaemon, reader: Browser, path: str, verb: list[str]
) -> None:
    answer = reader.get(API + path)
    assert answer.headers["Content-Type"] == "application/json"
    rows = answer.json["rows"]
    assert rows
    assert rows == op.rows(*verb)


def test_one_run_and_the_status_are_those_of_json(op: OperatedDaemon, reader: Browser) -> None:
    run_id = op.runs("bad")[0]["run_id"]
    assert reader.get(f"{API}/runs/{run_id}").json == op.row("show", run_id)
    found, printed = reader.get(f"{API}/status").json, op.row("status")
    for each in (found, printed):
        del each["processes"]
    assert found == printed


def test_why(op: OperatedDaemon, reader: Browser) -> None:
    (row,) = reader.get(f"{API}/jobs/good/why?time=1772971200").json["rows"]
    assert row == op.row("why", "good", "2026-03-08T12:00:00Z")


def test_jobs_come_page_by_page(op: OperatedDaemon, reader: Browser) -> None:
    names, position = [], 0
    while True:
        answer = reader.get(f"{API}/jobs?limit=2&position={position}").json
        names += [row["job"] for row in answer["rows"]]
        assert len(answer["rows"]) <= 2
        position = answer["position"]
        if not answer["more"]:
            break
    assert names == ["good", "bad", "long", "soon", "odd"]
    filtered = reader.get(f"{API}/jobs?limit=1&outcome=failed,succeeded").json
    assert [row["job"] for row in filtered["rows"]] == ["good"]
    more = reader.get(f"{API}/jobs?outcome=failed&position={filtered['position']}").json
    assert ([row["job"] for row in more["rows"]], more["more"]) == (["bad"], False)


def test_output_is_raw_and_a_download(op: OperatedDaemon, reader: Browser) -> None:
    run_id = op.runs("odd")[0]["run_id"]
    answer = reader.get(f"{API}/runs/{run_id}/output?attempt=1")
    assert answer.body == b"\xff"
    assert answer.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{run_id}-1.log"
    assert reader.get(f"{API}/runs/{run_id}/output?attempt=7").status == 409
    assert reader.get(f"{API}/runs/{run_id}/output?attempt=x").status == 400


@pytest.mark.slow
def test_long_output_is_whole(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "CRON_NAME=long @yearly seq 200000\n") as op:
        run_id = op.start("long")
        op.daemon.wait_for("attempt_ended", run_id=run_id)
        with web_page(op.state) as page:
            reader = page.with_token(new_token(op.state, "ci"))
            body = reader.get(f"{API}/runs/{run_id}/output").body
        printed = op.run("log", run_id).stdout.encode()
    assert len(body) > 2**18
    assert body == printed[: len(body)]
    assert len(printed) - len(body) < 200  # what the verb says about the rest


@pytest.mark.parametrize(("path", "status", "error"), [
    ("/runs?x=1", 400, 'unknown parameter: "x" (known: '),
    ("/runs?limit=x", 400, "bad limit (a whole number)"),
    ("/jobs?failed=1", 400, "bad failed (true or false)"),
    ("/runs?outcome=x", 409, 'unknown outcome: "x"'),
    ("/jobs/nothing/why?time=0", 404, 'no such job: "nothing"'),
    ("/runs/0000000000000000-20260101T000000Z", 404, "no such run"),
    ("/runs/x", 400, "bad run"),
    ("/nothing", 404, "Not Found"),
])  # fmt: skip
def test_errors(reader: Browser, path: str, status: int, error: str) -> None:
    answer = reader.get(API + path)
    assert answer.status == status, answer.text
    assert answer.json["error"].startswith(error)


def test_a_token_for_reading_changes_nothing(op: OperatedDaemon, reader: Browser) -> None:
    for path in ("/jobs/good/start", "/jobs/good/pause", "/runs/x/kill"):
        answer = reader.request("POST", API + path)
        assert answer.status == 403, path
    assert [row["what"] for row in op.rows("pause")] == ["job soon"]


@pytest.mark.slow
def test_a_token_for_operating(op: OperatedDaemon, operator: Browser, page: WebPage) -> None:
    started = operator.request("POST", f"{API}/jobs/good/start").json
    op.daemon.wait_for("attempt_ended", run_id=started["run_id"])
    body = json.dumps({"seconds": 60, "reason": "a test"}).encode()
    kind = {"Content-Type": "application/json"}
    paused = operator.request("POST", f"{API}/jobs/good/pause", body, kind).json["row"]
    assert (paused["what"], paused["reason"]) == ("job good", "a test")
    assert operator.request("POST", f"{API}/jobs/good/resume").status == 200
    dead = op.rows("dead", "list")[0]["run_id"]
    assert operator.request("POST", f"{API}/runs/{dead}/redrive").json["run_id"] == dead
    until(lambda: bool(op.rows("dead", "list")))
    said = page.log.read_text()
    for change in ("start job=good", "pause scope=job job=good seconds=60 reason=a test",
                   f"redrive run_id={dead}"):  # fmt: skip
        assert f"pycron web: {OWN_NAME} (token operator): {change}\n" in said


def test_what_the_body_of_a_change_may_be(operator: Browser) -> None:
    path = f"{API}/jobs/good/pause"
    kind = {"Content-Type": "application/json"}
    for body, status in ((b"[]", 400), (b"{", 400), (b"[" * 60_000, 400), (b'{"x": 1}', 400),
                         (b'{"scope": "all"}', 400), (b'{"seconds": "1"}', 400),
                         (b"x" * 70_000, 413)):  # fmt: skip
        assert operator.request("POST", path, body, kind).status == status, body[:20]
    assert operator.request("POST", path, b"{}", {"Content-Type": "text/plain"}).status == 415


def test_metrics(reader: Browser, page: WebPage) -> None:
    answer = reader.get("/metrics")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"pycron_runs", "pycron_running", "pycron_jobs"} <= names
    assert page.browser().get("/metrics").status == 401


# ---- the OpenAPI document


def test_the_document_has_the_routes(reader: Browser) -> None:
    paths = reader.get(f"{API}/openapi.json").json["paths"]
    documented = {(path, method.upper()) for path, each in paths.items() for method in each}
    routes = [route for route in api.routes() if isinstance(route, Route)]
    served = {
        (route.path, method) for route in routes for method in (route.methods or set()) - {"HEAD"}
    }
    assert documented == served


@pytest.mark.parametrize(
    "path", ["/status", "/jobs", "/runs", "/top", "/next", "/pauses", "/problems", "/dead"]
)
def test_answers_have_the_form_of_the_document(reader: Browser, path: str) -> None:
    document = reader.get(f"{API}/openapi.json").json
    schema = document["paths"][API + path]["get"]["responses"]["200"]["content"]
    check(reader.get(API + path).json, schema["application/json"]["schema"], document)


def check(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> None:
    """Fails unless the value has the form of the schema, as far as this API uses JSON Schema."""
    if name := schema.get("$ref"):
        check(value, document["components"]["schemas"][name.rpartition("/")[2]], document)
    elif options := schema.get("anyOf"):
        assert any(fits(value, option, document) for option in options), (value, schema)
    elif schema["type"] == "array":
        assert isinstance(value, list)
        for each in value:
            check(each, schema["items"], document)
    elif schema["type"] == "object":
        assert isinstance(value, dict)
        known = schema.get("properties", {})
        assert set(schema.get("required", [])) <= set(value)
        others = schema.get("additionalProperties")
        assert others or set(value) <= set(known), set(value) - set(known)
        for key, each in value.items():
            check(each, known.get(key) or others or {}, document)
    else:
        assert isinstance(value, TYPES[schema["type"]]), (value, schema)


def fits(value: Any, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    try:
        check(value, schema, document)
    except AssertionError:
        return False
    return True


# ---- the daemon goes, and comes back


@pytest.mark.slow
def test_a_page_outlives_the_daemon(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "CRON_NAME=x @yearly true\n") as op, web_page(op.state) as page:
        browser = page.logged_in()
        reader = page.with_token(new_token(op.state, "ci"))
        assert browser.get("/").status == 200
        op.daemon.kill()
        assert browser.get("/").status == 503
        assert reader.get(f"{API}/jobs").json["error"].startswith("no pycron daemon answers at ")
        op.kill_daemon()
        until(lambda: browser.get("/").status == 200)


def test_the_daemon_does_not_notice_the_end_of_a_page(tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "CRON_NAME=x @every 1s true\n") as op:
        for _ in range(2):
            with web_page(op.state) as page:
                page.logged_in().get("/")
                page.process.kill()
                page.process.wait()
        count = len(op.daemon.log("attempt_ended"))
        op.daemon.wait_for("attempt_ended", count=count + 2)
        assert not [line for line in op.daemon.log() if line["level"] in ("warning", "error")]
        assert op.row("status")["store_failure"] is None


# ---- where it listens


def certificate(directory: Path) -> tuple[str, str]:
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(cert), str(key)


@pytest.mark.slow
def test_another_address_needs_tls_and_a_login(op: OperatedDaemon, tmp_path: Path) -> None:
    with operated_daemon(tmp_path, "@yearly true\n") as own:
        words = ("web", "--listen", "0.0.0.0:0")
        done = own.run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert "not without TLS" in done.stderr
        cert, key = certificate(tmp_path)
        done = own.run(*words, "--cert", cert, "--key", key)
        assert (done.returncode, done.stdout) == (2, "")
        assert "nobody could log in" in done.stderr
        assert own.run(*words, "--cert", cert).returncode == 2
        token = new_token(own.state, "ci")
        tls = ("--cert", cert, "--key", key)
        with web_page(own.state, *tls, listen="0.0.0.0:0") as page:
            assert re.fullmatch(r"https://0\.0\.0\.0:\d+/", page.link)
            port = page.link.rpartition(":")[2].strip("/")
            browser = Browser(f"https://127.0.0.1:{port}")
            answer = browser.post("/login", {"token": token})
            assert answer.status == 200
            assert answer.headers["Set-Cookie"].startswith("__Host-pycron=")
            assert "Secure" in answer.headers["Set-Cookie"].split("; ")
            assert browser.get("/").status == 200


@pytest.mark.parametrize(("options", "status", "said"), [
    (["--listen", "nowhere"], 2, 'bad address: "nowhere"'),
    (["--listen", "/no/such/directory/x"], 1, "/no/such/directory/x: No such file or directory"),
    (["--listen", "192.0.2.1:80"], 1, "192.0.2.1:80: Cannot assign requested address"),
    (["--cert", "/none", "--key", "/none"], 1, "/none, /none: No such file or directory"),
])  # fmt: skip
def test_what_it_cannot_do(op: OperatedDaemon, options: list[str], status: int, said: str) -> None:
    done = op.run("web", "--listen", "127.0.0.1:0", *options)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(f"pycron: {said}")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_daemon(tmp_path: Path) -> None:
    done = run("pycron", "--state-dir", tmp_path, "web")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no pycron daemon answers" in done.stderr


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from pycron.cli.pycron import parser

    monkeypatch.setattr(web_verb, "find_spec", lambda _: None)
    options = parser().parse_args(["web"])
    with pytest.raises(Failed) as error:
        options.run_verb(options)
    assert str(error.value) == "the page needs more packages: pip install 'pycrond[web]'"
