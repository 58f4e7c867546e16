"""Views of the page over HTTP: who may do what there, choices, lists in pages, live output."""

import contextlib
import http.client
import json
import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

pytest.importorskip("starlette")

from tests.support.operated_daemon import OWN_NAME
from tests.support.running_daemon import RunningDaemon, foreground
from tests.support.waiting import until
from tests.support.web_page import Browser, WebPage, new_token, web_page

TABLE = r"""
CRON_NAME=good @every 1s printf '\033[32mgreen\033[0m\n'
CRON_NAME=talk @yearly until [ -e gate ]; do sleep .1; done; echo the end
CRON_NAME=flood @yearly head -c 30000000 /dev/zero | tr '\0' x | fold -w 999; echo done
"""

Event = tuple[str, str, object]  # id, kind and data of an event of a stream


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("views")


@pytest.fixture(scope="module")
def daemon(directory: Path) -> Iterator[RunningDaemon]:
    with foreground(TABLE, directory, cwd=directory) as running:
        running.wait_for("attempt_ended", job="good", count=2)
        yield running


@pytest.fixture(scope="module")
def page(directory: Path, daemon: RunningDaemon) -> Iterator[WebPage]:
    with web_page(directory / "state") as opened:
        yield opened


@pytest.fixture(scope="module")
def viewer(page: WebPage) -> Browser:
    """A browser that may change things."""
    return page.logged_in()


def id_of(viewer: Browser, name: str) -> str:
    found = re.search(rf'href="/jobs/([0-9a-f]{{16}})">{name}<', viewer.get(f"/jobs?q={name}").text)
    assert found
    return found[1]


def start(viewer: Browser, daemon: RunningDaemon, name: str) -> str:
    """Start a Job by its page; its run_id, when it runs."""
    answer = viewer.post(f"/jobs/{id_of(viewer, name)}/start")
    assert answer.status == 303
    run_id = answer.headers["Location"].split("/")[-1].partition("?")[0]
    daemon.wait_for("attempt_started", run_id=run_id)
    return run_id


# ---- who may do what


def test_a_reader_sees_everything_and_changes_nothing(
    directory: Path, page: WebPage, viewer: Browser
) -> None:
    token = new_token(directory / "state", "reader")
    reader = page.browser()
    assert reader.post("/login", {"token": token, "next": "/"}).status == 200
    job = id_of(viewer, "talk")
    for path in ("/", "/jobs", f"/jobs/{job}", "/runs", "/dead", "/day"):
        answer = reader.get(path)
        assert answer.status == 200
        assert f"/jobs/{job}/start" not in answer.text
        assert "/pause?" not in answer.text
    for path in (f"/jobs/{job}/start", f"/pause?scope=job:{job}", "/resume?scope=all"):
        assert reader.get(path).status == 403
        assert reader.post(path).status == 403
    assert f'href="/jobs/{job}/why"' in reader.get(f"/jobs/{job}").text
    assert reader.get("/preferences?theme=dark&next=/jobs").status == 303


def test_a_get_changes_nothing(daemon: RunningDaemon, viewer: Browser) -> None:
    before = len(daemon.log("attempt_started", job="talk"))
    answer = viewer.get(f"/jobs/{id_of(viewer, 'talk')}/start")
    assert (answer.status, "The command is started now" in answer.text) == (200, True)
    assert len(daemon.log("attempt_started", job="talk")) == before


@pytest.mark.parametrize("scope", ["", "job", "job:", "nonsense:x", "all:x"])
def test_a_bad_scope(viewer: Browser, scope: str) -> None:
    assert viewer.get(f"/pause?scope={scope}").status == 400


def test_a_kill_of_what_has_ended(viewer: Browser) -> None:
    found = re.search(r'href="(/runs/[^"]+)"', viewer.get("/runs?outcome=succeeded").text)
    assert found
    answer = viewer.get(f"{found[1]}/kill")
    assert (answer.status, "has ended: succeeded" in answer.text) == (409, True)


# ---- choices


@pytest.mark.parametrize("place", ["//evil.example", "https://evil.example/", "/\\evil.example"])
def test_choices_lead_nowhere_else(viewer: Browser, place: str) -> None:
    assert viewer.get(f"/preferences?theme=dark&next={place}").headers["Location"] == "/"
    viewer.get("/preferences?theme=auto")


def test_choices_are_kept_in_strict_cookies(viewer: Browser) -> None:
    answer = viewer.get("/preferences?times=utc&theme=dark&ansi=plain&other=x&next=/jobs")
    cookies = answer.headers.get_all("Set-Cookie", [])
    assert {each.partition("=")[0] for each in cookies} == {"times", "theme", "ansi"}
    assert all("SameSite=strict" in each and "HttpOnly" in each for each in cookies)
    shown = viewer.get("/jobs").text
    assert 'data-theme="dark"' in shown
    assert "Times in UTC" in shown
    viewer.get("/preferences?times=local&theme=auto&ansi=shown")


def test_nonsense_in_a_query_is_no_fault_of_the_page(viewer: Browser) -> None:
    for path in ("/jobs?position=x", "/jobs?position=99999999999999", "/runs?before=-1",
                 "/day?date=2026-99-99", "/day?date=0001-01-01", "/day?date=9999-12-31",
                 "/runs?since=0001-01-01T00:00", "/runs?since=x", "/runs?outcome=x",
                 "/search?q=a%0Ab", "/jobs/%F0%9F%98%80", "/runs/x", "/runs/x/stream",
                 "/jobs?q=" + "x" * 900, "/failures?before=1",
                 "/jobs/x/why?time=9999-01-01"):  # fmt: skip
        answer = viewer.get(path)
        assert answer.status in (200, 400, 404, 409), path
        assert "Internal" not in answer.text


# ---- lists


def test_the_exact_name_of_a_job_is_found_among_many(tmp_path: Path) -> None:
    """Also if a search would have to look at more Jobs than one page does."""
    table = "".join(f"{n % 60} 3 * * * job {n}\n" for n in range(30_000))
    with (
        foreground(table + "CRON_NAME=last 0 3 * * * true\n", tmp_path),
        web_page(tmp_path / "state") as page,
    ):
        viewer = page.logged_in()
        assert ">last</a>" in viewer.get("/jobs?q=last").text
        first = viewer.get("/jobs").text
        assert first.count('class="open"') == 50
        following = re.search(r'href="(/jobs\?position=\d+)" rel="next"', first)
        assert following
        second = viewer.get(following[1]).text
        ids = [re.findall(r'class="open" href="/jobs/(\w+)"', each) for each in (first, second)]
        assert len(ids[1]) == 50
        assert not set(ids[0]) & set(ids[1])


# ---- live output


def _stream(
    viewer: Browser, path: str, **headers: str
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(urlsplit(viewer.url).netloc, timeout=60)
    cookies = "; ".join(f"{name}={value}" for name, value in viewer.cookies.items())
    connection.request("GET", path, headers={"Cookie": cookies, **headers})
    return connection, connection.getresponse()


def events(
    viewer: Browser, path: str, **headers: str
) -> Generator[tuple[str, str, object], None, None]:
    connection, answer = _stream(viewer, path, **headers)
    assert answer.status == 200, answer.read()
    found: dict[str, str] = {}
    with contextlib.closing(connection), answer:
        while line := answer.readline().decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if name:
                found[name] = value
            elif "event" in found:
                yield found["id"], found["event"], json.loads(found["data"])
                found = {}


def test_a_stream_goes_on_where_it_was_cut(
    directory: Path, daemon: RunningDaemon, viewer: Browser
) -> None:
    (directory / "gate").unlink(missing_ok=True)
    run_id = start(viewer, daemon, "talk")
    (directory / "gate").touch()
    whole = list(events(viewer, f"/runs/{run_id}/stream"))
    assert [kind for _, kind, _ in whole if kind != "output"] == ["ended", "over"]
    assert _text(whole) == "the end\n"
    assert whole[-1][0] == "1.8"
    rest = list(events(viewer, f"/runs/{run_id}/stream", **{"Last-Event-ID": "1.4"}))
    assert _text(rest) == "end\n"


def _text(found: list[Event]) -> str:
    outputs = (data for _, kind, data in found if kind == "output")
    return "".join(text for data in outputs if isinstance(data, list) for _, text in data)


@pytest.mark.slow
def test_who_does_not_read_a_flood_fills_nothing(
    daemon: RunningDaemon, page: WebPage, viewer: Browser
) -> None:
    """The stream stops asking the daemon when the browser stops reading."""
    run_id = start(viewer, daemon, "flood")
    streams = [events(viewer, f"/runs/{run_id}/stream?offset=0") for _ in range(8)]
    for each in streams:
        next(each)
    until(lambda: daemon.log("attempt_ended", run_id=run_id), 90)
    began = time.monotonic()
    assert viewer.get("/").status == 200
    assert time.monotonic() - began < 5
    assert psutil.Process(page.pid).memory_info().rss < 200 * 2**20
    for each in streams:
        each.close()


def test_streams_are_bounded(directory: Path, daemon: RunningDaemon, viewer: Browser) -> None:
    """Sixteen of one user; the next one is refused, and the page can be read all the same."""
    (directory / "gate").unlink(missing_ok=True)
    run_id = start(viewer, daemon, "talk")
    with contextlib.ExitStack() as opened:
        statuses = []
        for _ in range(17):
            connection, answer = _stream(viewer, f"/runs/{run_id}/stream")
            opened.callback(connection.close)
            statuses.append(answer.status)
        assert statuses == 16 * [200] + [503]
        assert viewer.get(f"/runs/{run_id}").status == 200
    (directory / "gate").touch()
    until(lambda: viewer.get(f"/runs/{run_id}/stream").status == 200)


def test_the_owner_of_the_page_is_named(viewer: Browser) -> None:
    assert f">{OWN_NAME}</span>" in viewer.get("/").text


def test_output_is_a_download(viewer: Browser) -> None:
    found = re.search(r'href="/runs/([^"]+)"', viewer.get("/runs?job=good&outcome=succeeded").text)
    assert found
    answer = viewer.get(f"/runs/{found[1]}/output")
    assert answer.body == b"\x1b[32mgreen\x1b[0m\n"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
