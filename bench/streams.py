"""Whether browsers make starts late: `python bench/streams.py [MINUTES]`, default: 6.

1,000 Jobs are due in each minute. In every second minute, 500 browsers follow the output of a
command that prints all the time: those that get no place ask again after two seconds, as browsers
do. Each minute has a row: how many followed, and how late the last command started.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from pycron.model.instants import parse_rfc3339
from tests.support.running_daemon import RunningDaemon
from tests.support.web_page import WebPage, web_page

ROOT = Path(__file__).parents[1]
JOBS, BROWSERS = 1000, 500
AGAIN = 2.0  # seconds after which a browser that was refused asks again
TABLE = "".join(f"CRON_NAME=job-{n} * * * * * :\n" for n in range(JOBS)) + (
    "CRON_NAME=talk @reboot while :; do date; sleep 0.1; done\n"
)


async def follow(url: str, path: str, cookie: str, end: float, seen: Counter[str]) -> None:
    """One browser, until the UTC second `end`."""
    parts = urlsplit(url)
    head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nCookie: {cookie}\r\n\r\n"
    while time.time() < end:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            async with asyncio.timeout(end - time.time()):
                writer.write(head.encode())
                status = (await reader.readline()).split(b" ", 2)[1:2]
                seen[b"".join(status).decode()] += 1
                while status == [b"200"] and await reader.read(65_536):
                    pass
                await asyncio.sleep(AGAIN)
        except (TimeoutError, ConnectionError):
            seen["ended"] += 1
        finally:
            writer.close()


async def crowd(url: str, path: str, cookie: str, end: float) -> Counter[str]:
    seen: Counter[str] = Counter()
    each = (follow(url, path, cookie, end, seen) for _ in range(BROWSERS))
    await asyncio.gather(*each, return_exceptions=True)
    return seen


def minute(daemon: RunningDaemon, page: WebPage, cookie: str, *, followed: bool) -> str:
    """Wait for the next minute; how many commands started in it, and how late the last one did."""
    begin = int(time.time()) // 60 * 60 + 60
    talk = daemon.log("attempt_started", job="talk")[0]["run_id"]
    time.sleep(max(0.0, begin - 20 - time.time()))
    seen: Counter[str] = Counter()
    if followed:
        seen = asyncio.run(crowd(page.url, f"/runs/{talk}/stream", cookie, begin + 30))
    time.sleep(max(0.0, begin + 30 - time.time()))
    started = [each for each in daemon.log("attempt_started") if each["job"] != "talk"]
    late = [
        each["lateness_ms"] for each in started
        if parse_rfc3339(each["fire_time"]) == begin
    ]  # fmt: skip
    said = f"{seen['200']} followed, {seen['503']} times refused" if followed else "nobody followed"
    return f"{len(late):5} commands started, the last one {max(late, default=0):5} ms late; {said}"


def main() -> None:
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 6
    os.environ["PYTHONPATH"] = str(ROOT)  # for the programs
    with tempfile.TemporaryDirectory() as scratch:
        directory, state = Path(scratch), Path(scratch) / "state"
        state.mkdir(mode=0o700)
        (directory / "table").write_text(TABLE)
        arguments: list[str | Path] = [
            "--foreground",
            "--state-dir",
            state,
            "--table",
            directory / "table",
        ]
        daemon = RunningDaemon(arguments, directory / "log")
        try:
            daemon.wait_for("attempt_started", job="talk")
            with web_page(state) as page:
                browser = page.logged_in()
                cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
                for number in range(minutes):
                    print(minute(daemon, page, cookie, followed=number % 2 == 1), flush=True)
        finally:
            daemon.stop()


if __name__ == "__main__":
    main()
