"""Tells a healthchecks-style URL that a Run has started, or how it ended.

The URL is a secret: only its host is printed.
"""

import os
import time
import uuid
from urllib.parse import SplitResult

from pycron.delivery.http_post import BadRedirect, NoAnswer, parse_url, post
from pycron.delivery.request import PingRequest
from pycron.delivery.words import report
from pycron.model.run import Outcome

_TRIES = 3
_TIME_LIMIT = 5.0  # seconds, for each try
_DELAY = 1.0  # seconds before another try
_BODY_LIMIT = 10_000  # bytes
_LATER = (408, 429)  # statuses that invite another try, as those from 500 on do
_RUNS = uuid.UUID("840db970-7c50-432a-9d45-45a0dd08437e")  # the namespace of run_ids


def send(
    request: PingRequest, output: bytes, time_limit: float = _TIME_LIMIT, delay: float = _DELAY
) -> int:
    """Ping the URL, in three tries at most; returns the exit status."""
    try:
        url = _ping_url(request)
    except ValueError:
        return report("ping: the URL is no http or https URL", os.EX_DATAERR)
    body = output[-_BODY_LIMIT:] if request["with_output"] else b""
    for number in range(1, _TRIES + 1):
        exit_status, what = _try(url, body, time_limit)
        if exit_status != os.EX_TEMPFAIL or number == _TRIES:
            break
        time.sleep(delay)
    tries = f" ({number} tries)" if number > 1 else ""
    return report(f"ping {url.hostname}: {what}{tries}", exit_status)


def _ping_url(request: PingRequest) -> SplitResult:
    """The URL with what is to be said. `rid` is the same for the start and the end of a Run."""
    url = parse_url(request["url"])
    suffix = _suffix(request)
    rid = f"rid={uuid.uuid5(_RUNS, request['run']['run_id'])}"  # healthchecks accepts UUIDs only
    return url._replace(
        path=url.path.rstrip("/") + suffix if suffix else url.path,
        query=f"{url.query}&{rid}" if url.query else rid,
    )


def _suffix(request: PingRequest) -> str:
    """What the path ends with. Nothing, or an exit status of 0, would tell of a success."""
    run = request["run"]
    if request["occasion"] == "started":
        return "/start"
    if run["outcome"] == Outcome.SUCCEEDED:
        return ""
    if run["outcome"] == Outcome.FAILED and run["exit_status"] in range(1, 256):
        return f"/{run['exit_status']}"
    return "/fail"


def _try(url: SplitResult, body: bytes, time_limit: float) -> tuple[int, str]:
    """The exit status after one try, and what happened."""
    try:
        status = post(url, body, time_limit)
    except NoAnswer as error:
        return os.EX_TEMPFAIL, str(error)
    except BadRedirect as error:
        return os.EX_UNAVAILABLE, str(error)
    return _exit_status(status), f"HTTP status {status}"


def _exit_status(status: int) -> int:
    if 200 <= status < 300:
        return os.EX_OK
    return os.EX_TEMPFAIL if status >= 500 or status in _LATER else os.EX_UNAVAILABLE
