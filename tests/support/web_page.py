"""A real `pycron web` for a test, and browsers that keep cookies."""

import http.client
import json
import re
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from tests.support.running_daemon import program, run
from tests.support.unix_http import UnixConnection


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """Sends requests to the page at a URL, with the cookies that it got. `headers`: in each."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The name and the port of the page."""
        return urlsplit(self.url).netloc if "+unix" not in self.url else "localhost"

    @property
    def origin(self) -> str:
        return f"{urlsplit(self.url).scheme.partition('+')[0]}://{self.host}"

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Answer:
        """As a form of the page sends it."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.origin}
        return self.request("POST", path, urlencode(form or {}).encode(), {**sent, **headers})

    def request(
        self, method: str, path: str, body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        """`headers`: `_` in a name stands for `-`."""
        sent = {**self.headers, **(headers or {})}
        if self.cookies:
            sent.setdefault("Cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items()))
        with closing(self._connection()) as connection:
            connection.request(
                method, path, body, {name.replace("_", "-"): value for name, value in sent.items()}
            )
            found = connection.getresponse()
            answer = Answer(found.status, found.headers, found.read())
        for each in answer.headers.get_all("Set-Cookie", []):
            name, _, value = each.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        if parts.scheme.endswith("+unix"):
            return UnixConnection(unquote(parts.netloc))
        assert parts.hostname
        if parts.scheme == "https":
            unchecked = ssl._create_unverified_context()
            return http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=30, context=unchecked
            )
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)


@dataclass
class WebPage:
    """`link`: the first line that the page has printed."""

    process: subprocess.Popen[str]
    link: str
    log: Path

    @property
    def url(self) -> str:
        """Without the one-time link."""
        return re.sub(r"(?<=[^/])/(login/.*)?$", "", self.link)

    @property
    def pid(self) -> int:
        return self.process.pid

    def browser(self, **headers: str) -> Browser:
        return Browser(self.url, {name.replace("_", "-"): each for name, each in headers.items()})

    def logged_in(self) -> Browser:
        """A browser that has used the one-time link."""
        browser = self.browser()
        answer = browser.get(self.link.removeprefix(self.url))
        assert answer.status == 200, answer.text
        return browser

    def with_token(self, token: str) -> Browser:
        return self.browser(Authorization=f"Bearer {token}")


@contextmanager
def web_page(
    state: Path, *options: str, listen: str = "127.0.0.1:0", prefix: tuple[str, ...] = (),
    **more: Any,
) -> Iterator[WebPage]:  # fmt: skip
    """The page of the daemon of a state directory. `prefix`: the command that runs the program."""
    chosen = ["--system"] if str(state) == "system" else ["--state-dir", str(state)]
    directory = more.pop("logs", state)
    log = Path(directory) / "web.log"
    command = [*prefix, *program("pycron", *chosen, "web", "--listen", listen, *options)]
    with log.open("a") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True,
            **more,
        )  # fmt: skip
    assert process.stdout
    try:
        link = process.stdout.readline().strip()
        assert link, log.read_text()
        yield WebPage(process, link, log)
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait(10)
        process.stdout.close()


def new_token(state: Path, name: str, *options: str) -> str:
    done = run("pycron", "--state-dir", state, "web", "--tokens", "add", "--name", name, *options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()
