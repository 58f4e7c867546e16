"""The page for all users: an account without rights, on behalf of those who have logged in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("jinja2")

from starlette.routing import Route

from pycron.system import paths
from pycron.web.views import routes as views
from tests.support.isolated_system import IsolatedSystem, isolated_system
from tests.support.running_runner import needs_root
from tests.support.thoroughness import slow_after
from tests.support.user_accounts import USERS
from tests.support.web_page import Browser, WebPage, web_page

pytestmark = [pytest.mark.root, needs_root]

ALICE, BOB, WEB = USERS
API = "/api/v1"
TABLE = "CRON_NAME=backup @yearly echo of {user}\nCRON_NAME={user}-secret @yearly true\n"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedSystem]:
    """Root, Alice and Bob have a Job of the same name, which has run."""
    with isolated_system(tmp_path_factory.mktemp("system")) as system:
        system.write(paths.SYSTEM_CONFIG, f'[web]\nuser = "{WEB}"\n')
        assert system.run("pycron", "reload").returncode == 0
        for user in ("root", ALICE, BOB):
            table = TABLE.format(user=user)
            assert system.run("pycrontab", "-", user=user, stdin=table).returncode == 0
            (started,) = system.rows("start", "backup", user=user)
            system.daemon.wait_for("attempt_ended", run_id=started["run_id"])
        yield system


@pytest.fixture(scope="module")
def page(system: IsolatedSystem) -> Iterator[WebPage]:
    account = ("setpriv", f"--reuid={WEB}", f"--regid={WEB}", "--init-groups")
    prefix = (*system.inside, *account, "env", f"PYTHONPATH={Path(__file__).parents[2]}")
    with web_page(Path("system"), prefix=prefix, logs=system.directory) as page:
        yield page


def token(system: IsolatedSystem, name: str, user: str, *options: str) -> str:
    words = ("--tokens", "add", "--name", name, "--of", user, *options)
    done = system.run("pycron", "--system", "web", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture(scope="module")
def alice(system: IsolatedSystem, page: WebPage) -> Browser:
    """Alice in a browser."""
    browser = page.browser()
    answer = browser.post("/login", {"token": token(system, "of-alice", ALICE, "--operate")})
    assert answer.status == 200
    return browser


def test_it_prints_no_link_and_its_user_is_nobody(system: IsolatedSystem, page: WebPage) -> None:
    """A link would stand in the journal, and the account of the page has no Jobs."""
    assert page.link.endswith("/")
    assert page.browser().get("/login").text.count("<form") <= 1


def test_only_the_account_of_the_page_and_root_can_read_the_tokens(
    system: IsolatedSystem, page: WebPage
) -> None:
    token(system, "of-bob", BOB)
    path = paths.SYSTEM_STATE / "web-tokens"
    group = system.shell(f"stat -c '%U %G %a' {path}").split()
    assert group == ["root", WEB, "640"]
    done = system.run("pycron", "--system", "web", "--tokens", "list", user=BOB)
    assert (done.returncode, done.stdout) == (1, "")
    done = system.run("pycron", "--system", "web", "--tokens", "add", "--name", "x", user=BOB)
    assert (done.returncode, done.stdout) == (1, "")


def test_a_user_sees_their_own(alice: Browser) -> None:
    rows = alice.get(f"{API}/jobs").json["rows"]
    assert {row["job"] for row in rows} == {"backup", f"{ALICE}-secret"}
    assert {row["user"] for row in alice.get(f"{API}/runs").json["rows"]} == {ALICE}
    assert alice.get(f"{API}/status").json["jobs"] == 2
    assert BOB not in alice.get(f"{API}/top").text
    assert BOB not in alice.get("/metrics").text


GETS = [
    "/runs/RUN", "/runs/RUN/output", "/jobs/NAME/why?time=0", "/jobs/ID/why?time=0",
    "/runs?job=NAME", "/runs?job=ID", "/jobs?job=ID", "/next?job=ID", f"/runs?owner={BOB}",
    "/search?text=of&run_id=RUN",
]  # fmt: skip
POSTS = [
    "/jobs/NAME/start", "/jobs/ID/start", "/jobs/ID/pause", "/jobs/ID/resume", "/runs/RUN/kill",
    "/runs/RUN/redrive", "/runs/RUN/drop",
]  # fmt: skip


def test_every_view_shows_a_user_their_own(alice: Browser) -> None:
    paths_ = [
        route.path for route in views.routes()
        if isinstance(route, Route) and "GET" in (route.methods or ()) and "{" not in route.path
    ]  # fmt: skip
    assert len(paths_) > 5
    for path in paths_:
        answer = alice.get(path)
        assert answer.status in (200, 303, 400), (path, answer.text)
        assert BOB not in answer.text, path


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *slow_after(2, (("GET", path) for path in GETS)),
        *slow_after(2, (("POST", path) for path in POSTS)),
    ],
)
def test_another_users_job_by_url_and_by_id(
    system: IsolatedSystem, alice: Browser, method: str, path: str
) -> None:
    """The answer is the same as for what nobody has, and nothing is changed.

    The name that nobody has is as much like a name of Alice as the one of Bob: she gets a hint.
    """
    (run,) = system.rows("runs", "--job", "backup", user=BOB)
    job = next(row for row in system.rows("list", user=BOB) if row["job"] == f"{BOB}-secret")
    bobs = {"RUN": run["run_id"], "NAME": f"{BOB}-secret", "ID": job["id"]}
    none = {"RUN": "0" * 16 + "-20260308T120000Z", "NAME": f"{BOB}-secrets", "ID": "0" * 16}
    said = [answer_without_names(alice, method, path, names) for names in (bobs, none)]
    assert said[0] == said[1]
    status, text = said[0]
    assert status != 200 or '"rows":[]' in text
    assert len(system.rows("runs", user=BOB)) == 1
    assert system.rows("pause") == []


def answer_without_names(
    browser: Browser, method: str, path: str, names: dict[str, str]
) -> tuple[int, str]:
    """The status and the text of an answer, in which the words of `names` stand for the names."""
    for word, name in names.items():
        path = path.replace(word, name)
    answer = browser.request(method, API + path, None, {"Origin": browser.origin})
    text = answer.text
    for word, name in names.items():
        text = text.replace(name, word)
    return answer.status, text


def test_changes_are_those_of_the_user(
    system: IsolatedSystem, page: WebPage, alice: Browser
) -> None:
    answer = alice.request("POST", f"{API}/jobs/backup/start", None, {"Origin": alice.origin})
    assert answer.status == 200
    row = system.daemon.wait_for("run_by_hand", by=ALICE, job="backup", count=2)
    assert row["user"] == ALICE
    assert f"pycron web: {ALICE} (token of-alice): start job=backup\n" in page.log.read_text()


def test_root_has_no_page(system: IsolatedSystem, page: WebPage) -> None:
    browser = page.with_token(token(system, "of-root", "root", "--operate"))
    for method, path in (("GET", "/jobs"), ("GET", "/status"), ("POST", "/jobs/backup/start")):
        answer = browser.request(method, API + path)
        assert answer.json["error"] == "the page may not act for root (web.root is false)"


def test_a_user_who_is_gone(system: IsolatedSystem, page: WebPage) -> None:
    browser = page.with_token(token(system, "of-none", "no-such-user"))
    assert browser.get(f"{API}/jobs").json["error"] == 'unknown user: "no-such-user"'


def test_a_page_of_another_account_gets_nothing(system: IsolatedSystem, page: WebPage) -> None:
    """The configuration names another account: what asks on behalf of users is refused."""
    browser = page.with_token(token(system, "late", ALICE))
    assert browser.get(f"{API}/jobs").status == 200
    system.write(paths.SYSTEM_CONFIG, f'[web]\nuser = "{BOB}"\n')
    assert system.run("pycron", "reload").returncode == 0
    try:
        answer = browser.get(f"{API}/jobs")
        assert "only the account of the page" in answer.json["error"]
    finally:
        system.write(paths.SYSTEM_CONFIG, f'[web]\nuser = "{WEB}"\n')
        system.run("pycron", "reload")
