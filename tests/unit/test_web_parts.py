"""The parts of the page that decide: sessions, links, tokens, hosts, attempts, parameters."""

import ast
import json
import re
from pathlib import Path

import pytest

pytest.importorskip("starlette")

import pycron.web
from pycron.control.service import FOR_OTHERS
from pycron.protocol.control_messages import REQUESTS
from pycron.web.access.attempts import Attempts
from pycron.web.access.hosts import Hosts, is_loopback
from pycron.web.access.login import own_path
from pycron.web.access.one_time_links import LIFETIME, OneTimeLinks
from pycron.web.access.sessions import IDLE, LONGEST, Sessions
from pycron.web.access.tokens import BadTokens, Tokens, add_token, read_tokens, revoke_token
from pycron.web.access.visitor import Visitor
from pycron.web.endpoints import ENDPOINTS, BadParameter

ANNA = Visitor("anna", may_change=True, login="link")
BOB = Visitor("bob", may_change=False, login="token ci")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


# ---- sessions


def test_each_session_has_an_id_of_its_own() -> None:
    sessions = Sessions(Clock())
    anna, bob = sessions.begin(ANNA), sessions.begin(BOB)
    assert len({anna, bob, sessions.begin(ANNA)}) == 3
    assert (sessions.find(anna), sessions.find(bob)) == (ANNA, BOB)
    sessions.end(anna)
    assert (sessions.find(anna), sessions.find(bob), sessions.find("")) == (None, BOB, None)


def test_a_session_ends_when_it_is_idle() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    session = sessions.begin(ANNA)
    for _ in range(3):
        clock.now += IDLE
        assert sessions.find(session) == ANNA
    clock.now += IDLE
    assert sessions.find(session, used=False) == ANNA
    clock.now += 1
    assert sessions.find(session) is None
    clock.now -= 1
    assert sessions.find(session) is None


def test_a_session_ends_however_much_it_is_used() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    session = sessions.begin(ANNA)
    while clock.now + IDLE <= 1000 + LONGEST:
        clock.now += IDLE
        assert sessions.find(session) == ANNA
    clock.now = 1001 + LONGEST
    assert sessions.find(session) is None


def test_many_sessions_end_the_one_that_was_used_the_longest_time_ago() -> None:
    sessions = Sessions(Clock())
    first, second = sessions.begin(ANNA), sessions.begin(BOB)
    for _ in range(998):
        sessions.begin(BOB)
    assert sessions.find(first) == ANNA
    sessions.begin(BOB)
    assert (sessions.find(first), sessions.find(second)) == (ANNA, None)


# ---- one-time links


def test_a_link_works_once_and_for_some_minutes() -> None:
    clock = Clock()
    links = OneTimeLinks(clock)
    one, two = links.make(ANNA), links.make(BOB)
    assert links.use(one + "x") is None
    assert links.use("") is None
    assert links.use(one) == ANNA
    assert links.use(one) is None
    clock.now += LIFETIME
    assert links.use(two) is None


# ---- tokens


def test_tokens_are_made_found_and_revoked(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    tokens = Tokens(path)
    assert not tokens
    text = add_token(path, "ci", "anna", may_change=False)
    other = add_token(path, "op", "bob", may_change=True)
    found = tokens.named(text)
    assert found
    assert (found.name, found.user, found.may_change) == ("ci", "anna", False)
    assert tokens.has(found.id)
    assert [token.name for token in read_tokens(path)] == ["ci", "op"]
    assert path.stat().st_mode & 0o777 == 0o600
    revoke_token(path, "ci")
    assert (tokens.named(text), tokens.has(found.id)) == (None, False)
    assert tokens.named(other)


def test_the_file_has_no_token_that_could_be_used(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    text = add_token(path, "ci", "anna", may_change=False)
    assert text.split("_", 2)[2] not in path.read_text()
    (row,) = map(json.loads, path.read_text().splitlines())
    assert Tokens(path).named(f"pycron_{row['id']}_{row['hash']}") is None


@pytest.mark.parametrize("change", [
    lambda text: text[:-1], lambda text: text + "A", lambda text: text.replace("pycron", "x"),
    lambda text: text.upper(), lambda _: "", lambda _: "pycron__", lambda _: "_",
    lambda _: "\ud800", lambda text: text.rpartition("_")[0], lambda text: text.rpartition("_")[2],
])  # fmt: skip
def test_what_is_no_token(tmp_path: Path, change: object) -> None:
    text = add_token(tmp_path / "tokens", "ci", "anna", may_change=False)
    assert callable(change)
    assert Tokens(tmp_path / "tokens").named(change(text)) is None


def test_a_name_is_used_once_and_has_to_be_there(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    add_token(path, "ci", "anna", may_change=False)
    with pytest.raises(BadTokens, match="already"):
        add_token(path, "ci", "bob", may_change=False)
    with pytest.raises(BadTokens, match="no such token"):
        revoke_token(path, "cd")


@pytest.mark.parametrize("text", ["x", "{}", "[]", '{"id": 1}', "\xff"])
def test_a_bad_file_is_no_empty_file(tmp_path: Path, text: str) -> None:
    """Else the page would say that nobody can log in, and the next token would replace all."""
    path = tmp_path / "tokens"
    path.write_bytes(text.encode("latin-1"))
    for use in (
        lambda: Tokens(path).named("x"),
        lambda: add_token(path, "a", "b", may_change=True),
    ):
        with pytest.raises(BadTokens, match="tokens"):
            use()
    assert path.read_bytes() == text.encode("latin-1")


def test_a_file_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    text = add_token(path, "ci", "anna", may_change=False)
    path.chmod(0o622)
    with pytest.raises(BadTokens):
        Tokens(path).named(text)


# ---- Host and Origin


HOSTS = Hosts(["localhost", "127.0.0.1", "::1", "Cron.Example.org"])


@pytest.mark.parametrize(("host", "is_known"), [
    ("localhost", True), ("localhost:8753", True), ("127.0.0.1:80", True), ("[::1]:8753", True),
    ("cron.example.org", True), ("CRON.example.org:443", True),
    ("", False), ("evil.example", False), ("localhost.evil.example", False), ("127.0.0.2", False),
    ("evil.example#localhost", False), ("localhost@evil.example", False), ("[::1", False),
    ("cron.example.org.", False), ("localhost:8753:1", False),
])  # fmt: skip
def test_hosts(host: str, is_known: bool) -> None:
    assert HOSTS.knows(host) is is_known


@pytest.mark.parametrize(("origin", "host", "is_own"), [
    ("http://localhost:8753", "localhost:8753", True),
    ("https://cron.example.org", "cron.example.org", True),
    ("https://cron.example.org", "cron.example.org:443", True),
    ("http://[::1]:8753", "[::1]:8753", True),
    ("http://localhost:8754", "localhost:8753", False),
    ("http://localhost", "localhost:8753", False),
    ("https://evil.example", "cron.example.org", False),
    ("https://cron.example.org.evil.example", "cron.example.org", False),
    ("null", "localhost:8753", False), ("", "localhost:8753", False),
    ("file://", "localhost", False), ("http://localhost:8753/", "localhost:8753", False),
    ("http://localhost:x", "localhost:y", False), ("http://[", "[", False),
])  # fmt: skip
def test_origins(origin: str, host: str, is_own: bool) -> None:
    assert HOSTS.is_own_origin(origin, host) is is_own


@pytest.mark.parametrize(("host", "expected"), [
    ("localhost", True), ("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("::", False),
    ("0.0.0.0", False), ("192.0.2.1", False), ("example.org", False), ("", False),
])  # fmt: skip
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# ---- where a login leads


@pytest.mark.parametrize(("wanted", "path"), [
    ("/runs?job=x&before=3", "/runs?job=x&before=3"), ("/", "/"), (None, "/"), ("", "/"),
    ("//evil.example", "/"), ("/\\evil.example", "/"), ("https://evil.example/", "/"),
    ("javascript:alert(1)", "/"), ("/\t/evil.example", "/"), ("\\\\evil.example", "/"),
    ("runs", "/"), ("/\nx", "/"), ("//[", "/"), ("/[", "/["),
])  # fmt: skip
def test_a_login_leads_to_a_path_of_the_page(wanted: str | None, path: str) -> None:
    assert own_path(wanted) == path


# ---- attempts


def test_failures_of_an_address_are_limited_for_a_while() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(10):
        assert attempts.may_try("192.0.2.1")
        attempts.failed("192.0.2.1")
    assert not attempts.may_try("192.0.2.1")
    assert attempts.may_try("192.0.2.2")
    clock.now += 601
    assert attempts.may_try("192.0.2.1")


# ---- parameters of /api/v1


def test_every_endpoint_names_its_path_parameters_and_makes_its_question() -> None:
    for endpoint in ENDPOINTS:
        in_path = re.findall(r"{(\w+)}", endpoint.path)
        assert set(in_path) <= set(endpoint.parameters()), endpoint.path
        given: dict[str, object] = dict.fromkeys(in_path, "x")
        if "time" in endpoint.parameters():
            given["time"] = 0
        question = endpoint.question(given)
        assert type(question) is endpoint.request
        assert all(getattr(question, name) == value for name, value in endpoint.fixed.items())


def test_parameters_that_there_are_not() -> None:
    jobs = next(each for each in ENDPOINTS if each.path == "/jobs")
    for name in ("details", "user", "verb", "on_behalf_of", "x"):
        with pytest.raises(BadParameter, match=f'unknown parameter: "{name}"'):
            jobs.question({name: True})
    why = next(each for each in ENDPOINTS if each.path.endswith("/why"))
    with pytest.raises(BadParameter, match="missing parameter: time"):
        why.question({"job": "x"})


# ---- what the page asks


def test_the_daemon_answers_on_behalf_of_users_all_that_the_page_asks() -> None:
    """And nothing more: whoever controls the page gets no more than the page needs."""
    asked = set()
    for path in Path(pycron.web.__file__).parent.rglob("*.py"):
        names = {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("pycron.protocol")
            for alias in node.names
        }
        asked |= {verb for verb, request in REQUESTS.items() if request.__name__ in names}
    assert asked - {"web", "login", "login-result"} == FOR_OTHERS
