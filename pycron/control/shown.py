"""What --json prints of an answer, and what /api/v1 of the page answers: the same."""

from pycron import __version__
from pycron.model.instants import rfc3339
from pycron.protocol.control_answers import (
    AttemptRow,
    ClusterRow,
    ConfigRow,
    RunAnswer,
    RunDetails,
    RunRow,
    StatusAnswer,
    StatusRow,
)


class ShownRun(RunDetails):
    """What `pycron show --json` prints."""

    attempt_list: list[AttemptRow]
    delivery_list: list[RunRow]


def shown_run(answer: RunAnswer) -> ShownRun:
    return {
        **answer["row"],
        "attempt_list": answer["attempts"],
        "delivery_list": answer.get("deliveries", []),
    }


class ShownStatus(StatusRow):
    """What `pycron status --json` prints. `installed_version`: that of the program that prints."""

    since: str
    next_fire_time: str | None
    mail: str
    other_crons: list[str]
    config: ConfigRow | None
    cluster: ClusterRow | None
    installed_version: str


def shown_status(answer: StatusAnswer) -> ShownStatus:
    wakeup = answer["next_fire_time"]
    return {  # type: ignore[typeddict-item]  # an older daemon sends no `mail` and no `other_crons`
        **answer,
        "config": answer.get("config"),
        "cluster": answer.get("cluster"),
        "since": rfc3339(answer["since"]),
        "next_fire_time": None if wakeup is None else rfc3339(wakeup),
        "installed_version": __version__,
    }
