"""Captures every view of the page, light and dark, on a phone, a desk and a wide screen.

    python bench/page_captures.py DIRECTORY

Needs chromium and chromium-driver. DIRECTORY gets a picture for each view and size. A view that is
wider than its window, and an error in the console, are errors.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.browser import Browser, browser
from tests.support.running_daemon import foreground, run
from tests.support.web_page import web_page

ROOT = Path(__file__).parents[1]
SIZES = [(360, 740, "light"), (1280, 900, "light"), (1280, 900, "dark"), (2560, 1440, "light")]
TABLE = r"""
CRON_RETRY_DELAY=1s
CRON_RETRY_UNTIL=never
CRON_NAME=backup CRON_TZ=Europe/Berlin @every 7s echo 'begin'; sleep 1; printf '\033[32mok\033[0m'
CRON_NAME=failing CRON_RETRIES=1 @every 11s echo 'no space left on device'; exit 7
CRON_NAME=sync @every 5s sleep 2
CRON_NAME=nightly-report CRON_TZ=Asia/Tokyo 0 9 * * 1-5 /usr/local/bin/report --to board@example.org
CRON_NAME=import @yearly i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo "row $i"; sleep 0.1; done
CRON_NAME=missing-program @every 30s /no/such/program
CRON_NAME=queue CRON_CONCURRENCY=queue @every 9s sleep 14
30 4 * * 0 /usr/local/bin/weekly --prune
@daily certbot renew -q
*/15 * * * * /usr/bin/php /srv/www/cron.php
"""
RUNNING = 40  # seconds of history


def main() -> None:
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    wrong = 0
    for name, table in (("empty", "# nothing\n"), ("full", TABLE)):
        with (
            tempfile.TemporaryDirectory() as scratch,
            foreground(table, Path(scratch), "--allow-empty"),
            web_page(Path(scratch) / "state") as page,
            browser() as chromium,
        ):
            state = Path(scratch) / "state"
            time.sleep(RUNNING if table is TABLE else 0)
            chromium.open(page.link)
            chromium.wait_for("Running")
            for view, path in views(state):
                wrong += capture(chromium, page.url + path, directory / f"{view}-{name}")
    sys.exit(1 if wrong else 0)


def views(state: Path) -> Iterator[tuple[str, str]]:
    """The name and the path of each view."""
    yield from (("now", "/"), ("jobs", "/jobs"), ("runs", "/runs"), ("day", "/day"),
                ("failures", "/failures"), ("late", "/late"), ("dead", "/dead"),
                ("search", "/search?q=space"))  # fmt: skip
    jobs = {row["job"]: row["id"] for row in rows(state, "list")}
    if not jobs:
        return
    yield "job", f"/jobs/{jobs['backup']}"
    yield "why", f"/jobs/{jobs['nightly-report']}/why?time=2026-03-08T09:00"
    yield "confirm", f"/pause?scope=job:{jobs['sync']}"
    (started,) = rows(state, "start", "import")
    yield "live", f"/runs/{started['run_id']}"
    yield "run", f"/runs/{rows(state, 'dead', 'list')[0]['run_id']}"


def rows(state: Path, *words: str) -> list[dict[str, str]]:
    done = run("pycron", "--state-dir", state, *words, "--json")
    return [json.loads(line) for line in done.stdout.splitlines()]


def capture(chromium: Browser, url: str, path: Path) -> int:
    """Write a picture of each size; how many of them are wrong."""
    wrong = 0
    for width, height, scheme in SIZES:
        chromium.prefer(scheme)
        chromium.resize(width, height)
        chromium.open(url)
        time.sleep(1)  # for what comes by itself
        chromium.driver.save_screenshot(f"{path}-{width}-{scheme}.png")
        found = chromium.errors() + (["too wide"] if chromium.is_too_wide() else [])
        for each in found:
            print(f"{path.name}, {width}: {each}")
        wrong += len(found)
    return wrong


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(ROOT)  # for the programs
    main()
