"""The recorded Runs of Jobs, as the daemon answers them for statistics."""

from collections.abc import Iterator
from dataclasses import replace

from pycron.analysis.statistics import Sample
from pycron.control.client import ControlClient
from pycron.model.run import Outcome
from pycron.protocol.question_answers import SampleRow
from pycron.protocol.question_messages import SamplesRequest


def read_samples(client: ControlClient, wanted: SamplesRequest) -> Iterator[SampleRow]:
    """Each Job that has Runs which the request selects."""
    after: int | None = 0
    while after is not None:
        answer = client.request(replace(wanted, after=after))
        yield from answer["rows"]
        after = answer["after"]


def samples_of(row: SampleRow) -> list[Sample]:
    """The Runs of a row, the oldest first."""
    facts = zip(row["fire_times"], row["outcomes"], row["seconds"], row["lateness_ms"], strict=True)
    return [
        Sample(fire, Outcome(outcome), seconds, None if late is None else late / 1000)
        for fire, outcome, seconds, late in facts
    ]
