"""The page in Chromium: every view, every action, live output, keys, dark, and a phone."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("selenium")
pytest.importorskip("starlette")

from tests.support.browser import ENTER, Browser, browser, needs_chromium
from tests.support.operated_daemon import OWN_NAME
from tests.support.running_daemon import RunningDaemon, foreground, run
from tests.support.waiting import until
from tests.support.web_page import WebPage, web_page

pytestmark = [needs_chromium, pytest.mark.slow, pytest.mark.xdist_group("browser")]

# Each command waits for a file or ends by itself, so no test waits for luck.
TABLE = r"""
CRON_NAME=tick1 @every 1s true
CRON_NAME=tick2 @every 1s true
CRON_NAME=tick3 @every 1s true
CRON_NAME=tick4 @every 1s true
CRON_NAME=good @every 1s printf '\033[32mgreen\033[0m <b>bold</b>\n'
CRON_RETRY_DELAY=1s
CRON_RETRY_UNTIL=never
CRON_NAME=bad CRON_RETRIES=1 @every 3s echo broken; exit 7
CRON_NAME=tokyo CRON_TZ=Asia/Tokyo 0 9 * * 1-5 echo "<script>document.title='stolen'</script>"
CRON_NAME=talk @yearly until [ -e gate ]; do echo line $((n+=1)); sleep .2; done; echo the end
CRON_NAME=flood @yearly head -c 100000000 /dev/zero | tr '\0' x | fold -w 999; echo done
CRON_NAME=sleeper @yearly sleep 300
CRON_NAME=a-name-that-is-longer-than-any-column-of-a-phone-or-of-a-table @every 5s exit 1
@yearly true "<img src=x onerror=alert(1)>"
"""
VIEWS = ("/", "/jobs", "/runs", "/day", "/failures", "/late", "/dead", "/hosts", "/search?q=green",
         "/search", "/preferences?next=/jobs")  # fmt: skip
SIZES = ((360, 740), (800, 600), (1280, 900), (2560, 1400))
AXE = Path(os.environ.get("PYCRON_AXE", "axe.min.js"))


@dataclass
class Opened:
    """A browser that has logged in at the page of a daemon."""

    browser: Browser
    page: WebPage
    daemon: RunningDaemon
    directory: Path

    def open(self, path: str) -> Browser:
        self.browser.open(self.page.url + path)
        return self.browser

    def rows(self, *words: str) -> list[dict[str, Any]]:
        import json

        done = run("pycron", "--state-dir", self.directory / "state", *words, "--json")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def id_of(self, name: str) -> str:
        return next(str(row["id"]) for row in self.rows("list") if row["job"] == name)

    def start(self, name: str) -> str:
        """Start a Job in the terminal; its run_id, when it runs."""
        (row,) = self.rows("start", name)
        self.daemon.wait_for("attempt_started", run_id=row["run_id"])
        return str(row["run_id"])


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    directory = tmp_path_factory.mktemp("page")
    with (
        foreground(TABLE, directory, cwd=directory) as daemon,
        web_page(directory / "state") as page,
        browser() as chromium,
    ):
        chromium.open(page.link)
        chromium.wait_for("Running")
        daemon.wait_for("attempt_ended", job="bad", count=2)
        yield Opened(chromium, page, daemon, directory)


@pytest.fixture(autouse=True)
def as_at_first(opened: Opened) -> Iterator[None]:
    """Each test begins with a wide, light page; and none may leave an error in the console."""
    opened.browser.resize(1280, 900)
    opened.browser.prefer("light")
    opened.browser.errors()
    yield
    assert opened.browser.errors() == []


# ---- views


@pytest.mark.parametrize("path", VIEWS)
def test_a_view_fits_every_width(opened: Opened, path: str) -> None:
    page = opened.open(path)
    for width, height in SIZES:
        page.resize(width, height)
        assert not page.is_too_wide(), (path, width)
    assert page.count("h1") == 1


@pytest.mark.parametrize("path", VIEWS)
def test_axe_finds_nothing_serious(opened: Opened, path: str) -> None:
    _check_with_axe(opened.open(path))


def test_axe_finds_nothing_serious_in_other_views(opened: Opened) -> None:
    run_id, job = opened.rows("runs", "--job", "bad")[0]["run_id"], opened.id_of("bad")
    others = (f"/jobs/{job}", f"/runs/{run_id}", f"/jobs/{job}/start", f"/pause?scope=job:{job}",
              f"/jobs/{job}/why?time=2026-03-08T02:30", "/nowhere", "/login")  # fmt: skip
    for path in others:
        for scheme in ("light", "dark"):
            opened.browser.prefer(scheme)
            page = opened.open(path)
            page.resize(360, 740)
            assert not page.is_too_wide(), path
            _check_with_axe(page)
    opened.browser.errors()  # the status 404 is one


def _check_with_axe(page: Browser) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not here (PYCRON_AXE=axe.min.js; npm pack axe-core)")
    page.run(AXE.read_text())
    found = page.driver.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run({resultTypes: ['violations']}).then(result => done(result.violations))"
    )
    serious = [
        (each["id"], [node["html"] for node in each["nodes"]][:3])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []


def test_now_refreshes_itself(opened: Opened) -> None:
    page = opened.open("/")
    run_id = opened.start("sleeper")
    page.wait_for("sleeper")
    until(lambda: page.count(f"#live a[href='/runs/{run_id}']"))
    run("pycron", "--state-dir", opened.directory / "state", "kill", run_id)
    until(lambda: not page.count(f"#live a[href='/runs/{run_id}']"))
    assert "failures in the last day" in page.text
    assert "dead letter" in page.text


def test_the_list_of_jobs_and_its_filters(opened: Opened) -> None:
    page = opened.open("/jobs")
    assert page.count("tbody tr") == 12
    page.find("main input[name=q]").send_keys("TOKYO", ENTER)
    until(lambda: page.count("tbody tr") == 1)
    assert "q=TOKYO" in page.driver.current_url
    assert "has not run yet" in page.text
    page = opened.open("/jobs?failed=1")
    assert page.find("td.main a.open").text == "bad"
    assert page.count("tbody tr") < 8
    page = opened.open("/jobs?q=nothing-is-called-so")
    assert "No Job is like that" in page.text


def test_what_strangers_write_is_text(opened: Opened) -> None:
    page = opened.open("/jobs")
    assert "<img src=x onerror=alert(1)>" in page.text
    opened.open(f"/jobs/{opened.id_of('tokyo')}")
    assert "<script>document.title='stolen'</script>" in page.text
    assert page.driver.title == "tokyo - pycron"
    opened.open("/runs?job=%3Cscript%3Ealert(1)%3C/script%3E")
    assert 'no such job: "<script>alert(1)</script>"' in page.text
    assert page.count("main script, main img, [onerror], [style]") == 0
    page.errors()  # the status 400 is one


def test_a_job(opened: Opened) -> None:
    page = opened.open(f"/jobs/{opened.id_of('tokyo')}")
    for words in ("at 09:00", "Asia/Tokyo", "0 9 * * 1-5", "It has not run yet", "Start now"):
        assert words in page.text
    page = opened.open(f"/jobs/{opened.id_of('bad')}")
    assert "failed, exit status 7" in page.text
    assert page.count("figure svg rect") >= 2


def test_why(opened: Opened) -> None:
    page = opened.open(f"/jobs/{opened.id_of('tokyo')}/why?time=2026-03-08T02:30")
    assert "tokyo: not due" in page.text
    page = opened.open(f"/jobs/{opened.id_of('tokyo')}/why?time=x")
    assert 'bad time: "x"' in page.text
    page.errors()


def test_runs_by_filters_and_by_pages(opened: Opened) -> None:
    succeeded = ("runs", "--outcome", "succeeded", "--limit", "60")
    until(lambda: len(opened.rows(*succeeded)) > 55, 30)
    page = opened.open(f"/runs?owner={OWN_NAME}&outcome=succeeded")
    assert page.count("tbody tr") == 50
    first = page.find("a.open").get_attribute("href")
    page.find("a[rel=next]").click()
    until(lambda: "before=" in page.driver.current_url)
    assert page.find("a.open").get_attribute("href") != first
    assert f"owner={OWN_NAME}" in page.driver.current_url
    assert page.find("select[name=outcome]").get_attribute("value") == "succeeded"
    assert opened.open("/runs?outcome=lost").text.count("No Run is like that") == 1


def test_a_run_shows_colours_or_not(opened: Opened) -> None:
    run_id = opened.rows("runs", "--job", "good", "--outcome", "succeeded")[0]["run_id"]
    page = opened.open(f"/runs/{run_id}")
    assert page.find(".output .fg-green").text == "green"
    assert "<b>bold</b>" in page.find(".output").text
    page.click("Without colours")
    until(lambda: page.count(".output .fg-green") == 0)
    assert page.find(".output").text == "green <b>bold</b>"
    page.click("With colours")
    until(lambda: page.count(".output .fg-green"))


def test_a_heat_map_of_today(opened: Opened) -> None:
    page = opened.open("/day")
    assert "so far" in page.text
    assert page.count("svg rect[class^=level] > title") >= 1
    page.find("td.main a.open").click()
    until(lambda: "/runs?since=" in page.driver.current_url)
    assert page.count("tbody tr") >= 1
    assert "Nothing was started on Monday 2001-01-01" in opened.open("/day?date=2001-01-01").text


def test_search(opened: Opened) -> None:
    page = opened.open("/search?q=green")
    assert page.count("mark") >= 1
    assert "No such line" in opened.open("/search?q=nobody-prints-this&job=bad").text


def test_times_are_in_the_zone_that_the_viewer_wants(opened: Opened) -> None:
    page = opened.open("/jobs?q=tokyo")
    _choose(page, "times", "job")
    until(lambda: "09:00 Asia/Tokyo" in page.text)
    _choose(page, "times", "utc")
    until(lambda: "Times in UTC" in page.text)
    assert "00:00" in page.find("tbody time").text
    _choose(page, "times", "local")


def test_light_and_dark(opened: Opened) -> None:
    def ground() -> object:
        return page.run("return getComputedStyle(document.body).backgroundColor")

    page = opened.open("/")
    light = ground()
    page.prefer("dark")
    dark = ground()
    assert light != dark
    _choose(page, "theme", "light")
    until(lambda: ground() == light)
    _choose(page, "theme", "auto")
    until(lambda: ground() == dark)


def _choose(page: Browser, name: str, value: str) -> None:
    page.run(
        "const select = document.querySelector(`select[name=${arguments[0]}]`);"
        "select.value = arguments[1]; select.dispatchEvent(new Event('change'))", name, value,
    )  # fmt: skip


# ---- keys


def test_keys(opened: Opened) -> None:
    page = opened.open("/jobs")
    page.type("j", "j", "k")
    active = "return document.activeElement.getAttribute('href')"
    first = "return document.querySelector('tbody a.open').getAttribute('href')"
    assert page.run(active) == page.run(first)
    page.type("j", ENTER)
    until(lambda: "/jobs/" in page.driver.current_url)
    page.type("?")
    until(lambda: page.count("dialog[open]"))
    page.type("\ue00c")  # Escape
    until(lambda: not page.count("dialog[open]"))
    page.type("/")
    page.type("tokyo", ENTER)
    until(lambda: "/jobs?q=tokyo" in page.driver.current_url)
    page.type("g", "f")
    until(lambda: page.driver.current_url.endswith("/failures"))


# ---- actions


def test_start_and_live_output(opened: Opened) -> None:
    page = opened.open(f"/jobs/{opened.id_of('talk')}")
    page.click("Start now…")
    assert "The command is started now" in page.text
    page.click("Start it")
    page.wait_for("It was started.")
    page.wait_for("line 3")
    (opened.directory / "gate").touch()
    page.wait_for("the end")
    page.wait_for("It has ended.")
    page.wait_for("succeeded")
    lines = page.find(".output").text.splitlines()
    count = len(lines) - 1
    assert lines == [*(f"line {n + 1}" for n in range(count)), "the end"]


def test_a_flood_of_output_fills_neither_page_nor_process(opened: Opened) -> None:
    run_id = opened.start("flood")
    page = opened.open(f"/runs/{run_id}")
    page.wait_for("succeeded", 90)
    until(lambda: "done" in page.text, 30)
    shown = page.run("return document.querySelector('.output').textContent.length")
    assert shown < 1_500_000
    assert _memory(opened.page.process.pid) < 250 * 2**20


def _memory(pid: int) -> int:
    import psutil

    return int(psutil.Process(pid).memory_info().rss)


def test_kill(opened: Opened) -> None:
    run_id = opened.start("sleeper")
    page = opened.open(f"/runs/{run_id}")
    page.click("Kill…")
    assert "SIGTERM" in page.text
    page.click("Kill it")
    page.wait_for("It was told to end")
    page.wait_for("cancelled")
    assert opened.rows("show", run_id)[0]["outcome"] == "cancelled"


def test_pause_and_resume(opened: Opened) -> None:
    job = opened.id_of("sleeper")
    page = opened.open(f"/jobs/{job}")
    page.click("Pause…")
    page.find("select[name=duration]").send_keys("1 hour")
    page.find("input[name=reason]").send_keys("<i>maintenance</i>")
    page.click("Pause")
    page.wait_for("It is paused")
    assert f"paused by {OWN_NAME}" in page.text
    assert "<i>maintenance</i>" in page.text
    (pause,) = opened.rows("pause")
    assert pause["scope"] == f"job:{job}"
    assert pause["until"]
    assert "<i>maintenance</i>" in opened.open("/").text
    opened.open(f"/jobs/{job}")
    page.click("End the pause…")
    page.click("End the pause")
    page.wait_for("The pause is over")
    assert opened.rows("pause") == []


def test_redrive_and_drop(opened: Opened) -> None:
    page = opened.open("/dead")
    page.find("tbody tr:last-child a[href$='/redrive']").click()
    assert "attempt 3 of the same Run" in page.text
    page.click("Try it again")
    page.wait_for("It is tried again")
    run_id = page.driver.current_url.split("/")[-1].partition("?")[0]
    until(lambda: opened.rows("show", run_id)[0]["attempts"] == 3)
    until(lambda: opened.rows("show", run_id)[0]["dead"], 30)
    opened.open(f"/runs/{run_id}/drop")
    page.click("Give it up")
    page.wait_for("no dead letter any more")
    assert not opened.rows("show", run_id)[0]["dead"]


def test_everything_can_be_read_and_done_without_scripts(opened: Opened) -> None:
    page = opened.browser
    page.without_scripts()
    try:
        opened.open(f"/jobs/{opened.id_of('tokyo')}")
        page.click("Start now…")
        page.click("Start it")
        opened.daemon.wait_for("attempt_ended", job="tokyo")
        opened.open(page.driver.current_url.removeprefix(opened.page.url))
        output = page.driver.find_element("css selector", ".output")
        assert output.text == "<script>document.title='stolen'</script>"
    finally:
        page.without_scripts(False)


def test_a_refusal_says_what_is_wrong(opened: Opened) -> None:
    page = opened.open("/runs/0123456789abcdef-20260101T000000Z")
    assert "no such run" in page.text
    assert page.count("nav a") >= 8
    page.errors()  # the status 404 is one


# ---- a daemon without Jobs


EMPTY: tuple[tuple[str, str], ...] = (
    ("/", "There are no Jobs yet"),
    ("/jobs", "pycrontab -e"),
    ("/runs", "Nothing has run yet"),
    ("/day", "Nothing was started on"),
    ("/failures", "No Run on record has failed"),
    ("/late", "Nothing is late"),
    ("/dead", "There are no dead letters"),
    ("/hosts", "This host is in no cluster"),
    ("/search", "Which text?"),
)


def test_empty_views_say_what_to_do(opened: Opened, tmp_path: Path) -> None:
    with (
        foreground("# nothing\n", tmp_path, "--allow-empty"),
        web_page(tmp_path / "state") as page,
        browser() as chromium,
    ):
        chromium.open(page.link)
        chromium.wait_for("Running")
        for path, words in EMPTY:
            chromium.open(page.url + path)
            assert words in chromium.text, path
        assert chromium.errors() == []
