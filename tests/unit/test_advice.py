"""What `pycron why` says at its end: what the exit status means, and what to do."""

from typing import Any

import pytest

from pycron.protocol.control_answers import WhyRow
from pycron.wording.advice import meaning, to_do


def answer(run: dict[str, Any] | None = None, **more: Any) -> WhyRow:
    attempts = {"run_id": "R", "attempts": 1, "exit_status": None, "signal": None}
    row: Any = {"job": "backup", "verdict": "ran", "gone": False, "path": "/usr/bin:/bin",
                "paused": False, "runs": [] if run is None else [{**attempts, **run}]}  # fmt: skip
    row.update(more)
    answered: WhyRow = row
    return answered


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"outcome": "failed", "exit_status": 127}, "not found; PATH was /usr/bin:/bin"),
        ({"outcome": "failed", "exit_status": 126}, "cannot be executed"),
        ({"outcome": "failed", "exit_status": 7}, "7 is the command's own"),
        ({"outcome": "failed", "exit_status": 143}, "ended by SIGTERM"),
        ({"outcome": "failed", "exit_status": 75}, "EX_TEMPFAIL"),
        ({"outcome": "failed", "exit_status": 69}, "a service is not available (EX_UNAVAILABLE)"),
        ({"outcome": "timed_out", "signal": 15}, "CRON_TIMEOUT"),
        ({"outcome": "out_of_memory", "signal": 9}, "CRON_MEMORY_MAX"),
        ({"outcome": "missed"}, "CRON_CATCHUP"),
    ],
)  # fmt: skip
def test_what_an_end_means(run: dict[str, Any], said: str) -> None:
    assert said in (meaning(answer(run)) or "")


@pytest.mark.parametrize("run", [None, {"outcome": "succeeded"}, {"outcome": None}])
def test_what_went_well_has_no_meaning(run: dict[str, Any] | None) -> None:
    assert meaning(answer(run)) is None


def commands(row: WhyRow) -> list[str]:
    return [each.split("    ")[0] for each in to_do(row)]


def test_what_to_do_about_a_run() -> None:
    failed = {"outcome": "failed", "exit_status": 7}
    assert commands(answer(failed)) == ["pycron log R", "pycron start backup"]
    assert commands(answer({**failed, "exit_status": 127}))[1] == "pycron test backup --env"
    assert commands(answer(failed, gone=True)) == ["pycron log R"]
    dead = {**failed, "dead": True}
    assert commands(answer(dead)) == ["pycron log R", "pycron dead redrive R"]
    assert commands(answer({"outcome": "succeeded"})) == ["pycron log R"]
    assert commands(answer({"outcome": None})) == ["pycron log -f R"]
    waits = {"outcome": None, "attempts": 0}
    assert commands(answer(waits)) == ["pycron start --force backup", "pycron top"]


def test_what_to_do_without_a_run() -> None:
    assert commands(answer(verdict="not_due")) == ["pycron next --job backup"]
    assert commands(answer(verdict="will_be_due")) == ["pycron start backup"]
    assert commands(answer(verdict="will_be_due", paused=True))[0] == "pycron resume backup"
    assert commands(answer(verdict="passed_over"))[0] == "pycron start backup"
    assert commands(answer(gone=True)) == ["pycron list"]


def test_a_name_is_quoted_for_the_shell() -> None:
    assert "pycron start 'a b'" in commands(answer(verdict="passed_over", job="a b"))
