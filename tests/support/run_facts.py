"""The facts of a Run, as a delivery reads them."""

from typing import Any, cast

from pycron.delivery.request import NotifyRequest, PingRequest, RunFacts

RUN_ID = "0123456789abcdef-20260308T070000Z"


def facts(outcome: str | None = "succeeded", **changes: Any) -> RunFacts:
    run: dict[str, Any] = {
        "run_id": RUN_ID,
        "job": "nightly",
        "command": "/usr/local/bin/nightly",
        "user": "deploy",
        "host": "mill",
        "fire_time": 1_772_953_200,
        "outcome": outcome,
        "exit_status": {"succeeded": 0, "failed": 7}.get(outcome or ""),
        "signal": 9 if outcome == "killed" else None,
        "attempts": 3,
        "duration": 12.34,
        "reason": None,
        "printed": 0,
        "kept": 0,
    }
    return cast("RunFacts", run | changes)


def ping(url: str, run: RunFacts, occasion: str = "ended", with_output: bool = True) -> PingRequest:
    return {
        "kind": "ping", "occasion": occasion, "run": run, "url": url, "with_output": with_output,
    }  # fmt: skip


def notification(*urls: str, run: RunFacts, occasion: str = "failed") -> NotifyRequest:
    return {
        "kind": "notify", "occasion": occasion, "run": run, "name": "ops", "urls": list(urls),
    }  # fmt: skip
