"""Which forms are taken: those that the page itself sends, as browsers describe them."""

from collections.abc import Iterator

import pytest

pytest.importorskip("starlette")

from tests.support.operated_daemon import OperatedDaemon, operated_daemon
from tests.support.web_page import Browser, web_page

pytestmark = pytest.mark.xdist_group("web_forms")


@pytest.fixture(scope="module")
def op(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatedDaemon]:
    table = "CRON_NAME=once @yearly true\n"
    with operated_daemon(tmp_path_factory.mktemp("forms"), table) as op:
        yield op


@pytest.fixture(scope="module")
def browser(op: OperatedDaemon) -> Iterator[Browser]:
    with web_page(op.state) as page:
        yield page.logged_in()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 303),  # the Origin of the page
        ({"Origin": "null", "Sec-Fetch-Site": "same-origin"}, 303),  # Chromium, with no-referrer
        ({"Origin": "null"}, 403),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, 403),  # a page in a sandbox
        ({"Origin": "null", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://localhost.evil.example"}, 403),
    ],
)
def test_forms(op: OperatedDaemon, browser: Browser, headers: dict[str, str], status: int) -> None:
    answer = browser.post("/pause?scope=all", None, **headers)
    assert answer.status == status
    assert bool(op.rows("pause")) is (status == 303)
    op.run("resume", "--all")
