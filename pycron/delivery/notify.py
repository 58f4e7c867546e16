"""Sends a notification about a Run through apprise, which knows a hundred services.

apprise is the extra `notify`. Its URLs are secrets, and it logs them: nothing that it logs or
prints gets out of here.
"""

import io
import logging
import os
import site
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING

from pycron.delivery.request import NotifyRequest, RunFacts
from pycron.delivery.words import ending, report
from pycron.model.instants import rfc3339
from pycron.model.text import printable

if TYPE_CHECKING:
    from apprise import Apprise

_OUTPUT_LIMIT = 1000  # bytes
_CONTINUATION = bytes(range(0x80, 0xC0))  # bytes with which no UTF-8 character begins
_TYPES = {"failed": "failure", "recovered": "success", "late": "warning"}
_MISSING = "apprise is not installed: pip install 'pycrond[notify]'"


def send(request: NotifyRequest, output: bytes) -> int:
    """Send the notification to all URLs that apprise understands; returns the exit status."""
    try:
        with _silence():
            exit_status, what = _notify(request, output)
    except ImportError:
        exit_status, what = os.EX_UNAVAILABLE, _MISSING
    return report(f"notification {printable(request['name'])}: {what}", exit_status)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing is logged or printed in this context."""
    disabled, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stdout(nowhere), redirect_stderr(nowhere):
            yield
    finally:
        logging.disable(disabled)


def _notify(request: NotifyRequest, output: bytes) -> tuple[int, str]:
    """The exit status, and what happened. A wrong URL does not keep the others from being told."""
    services = _new_apprise()
    urls = request["urls"]
    known = [url for url in urls if _add(services, url)]
    if known and not _tell(services, request, output):
        return os.EX_TEMPFAIL, "not every service has accepted it"
    if not urls or len(known) < len(urls):
        return os.EX_DATAERR, f"apprise understands {len(known)} of {len(urls)} URLs"
    return os.EX_OK, f"sent to {len(urls)}"


def _new_apprise() -> "Apprise":
    """Raises ImportError. With `python -S`, the path to what pip has installed is still missing."""
    if sys.flags.no_site:
        site.main()
    from apprise import Apprise, AppriseAsset

    return Apprise(asset=AppriseAsset(app_id="pycron", app_desc="pycron"))


def _add(services: "Apprise", url: str) -> bool:
    try:
        return services.add(url)
    except Exception:  # noqa: BLE001  its text could show the URL
        return False


def _tell(services: "Apprise", request: NotifyRequest, output: bytes) -> bool:
    try:
        return bool(services.notify(
            title=_title(request), body=_body(request["run"], output), body_format="text",
            notify_type=_TYPES.get(request["occasion"], "info"),
        ))  # fmt: skip
    except Exception:  # noqa: BLE001  its text could show the URL
        return False


def _title(request: NotifyRequest) -> str:
    """One line such as `nightly failed (exit status 7) on mill`."""
    run = request["run"]
    said = {"recovered": "succeeded again", "late": "is late"}
    what = said.get(request["occasion"]) or ending(run)
    return printable(f"{run['job']} {what} on {run['host']}")


def _body(run: RunFacts, output: bytes) -> str:
    """The facts, a line for each, then the end of the output."""
    duration = run["duration"]
    facts = {
        "Job": f"{run['job']} of {run['user']}",
        "Fire time": rfc3339(run["fire_time"]),
        "Outcome": run["outcome"] and ending(run),
        "Attempts": str(run["attempts"]),
        "Duration": None if duration is None else f"{duration:.1f} s",
        "Reason": run["reason"],
        "Run": run["run_id"],
    }
    lines = [printable(f"{name}: {fact}") for name, fact in facts.items() if fact]
    return "\n".join([*lines, *_output_lines(run, output)])


def _output_lines(run: RunFacts, output: bytes) -> list[str]:
    if not output:
        return []
    tail = output
    title = "Output:"
    if len(output) > _OUTPUT_LIMIT:
        tail = output[-_OUTPUT_LIMIT:].lstrip(_CONTINUATION)
        title = f"Output (the end of {run['printed']} bytes):"
    lines = tail.decode(errors="replace").splitlines()
    return ["", title, *(printable(line.expandtabs()) for line in lines)]
