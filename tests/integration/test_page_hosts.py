"""The view of the page that shows the hosts of a cluster: real hosts, and a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette")
pytest.importorskip("psycopg")

from tests.support.cluster_hosts import Host, hosts
from tests.support.postgres import is_here, running_postgres
from tests.support.running_daemon import run
from tests.support.waiting import until
from tests.support.web_page import Browser, web_page

pytestmark = [
    pytest.mark.skipif(not is_here(), reason="needs PostgreSQL"),
    pytest.mark.xdist_group("shared_jobs"),
]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Host]]:
    with running_postgres() as server, hosts(tmp_path, server, 2, "@yearly true") as both:
        yield both


@pytest.fixture
def viewer(two: list[Host]) -> Iterator[Browser]:
    with web_page(two[0].state) as page:
        yield page.logged_in()


@pytest.mark.slow
def test_the_page_shows_live_and_drained_hosts(two: list[Host], viewer: Browser) -> None:
    until(lambda: viewer.get("/hosts").text.count("live</span>") == 2, patience=30)
    shown = viewer.get("/hosts").text
    assert 'host1 <span class="dim">(this host)</span>' in shown
    assert ">host2<" in shown
    drained = run("pycron", "cluster", "drain", "host1", "--config", two[0].config)
    assert drained.returncode == 0, drained.stderr
    until(lambda: "drained: it gets no new Runs" in viewer.get("/hosts").text, patience=30)
    assert viewer.get("/hosts").text.count("live</span>") == 1
