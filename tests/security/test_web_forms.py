"""Which forms are taken: those that the page itself sends, as browsers describe them."""

from pathlib import Path

import pytest

pytest.importorskip("starlette")

from tests.support.running_daemon import foreground
from tests.support.web_page import web_page


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
def test_forms(tmp_path: Path, headers: dict[str, str], status: int) -> None:
    with (
        foreground("CRON_NAME=once @yearly true\n", tmp_path) as daemon,
        web_page(tmp_path / "state") as page,
    ):
        answer = page.logged_in().post("/pause?scope=all", None, **headers)
        paused = [line for line in daemon.log() if "pause" in line["event"]]
    assert answer.status == status
    assert bool(paused) is (status == 303)
