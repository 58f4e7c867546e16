"""How long a command takes in a simulation: as it took before, or as somebody says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pycron.model.job import Job
from pycron.model.run import RunKey

_MIXER = 2_654_435_761  # a prime near 2^32 divided by the golden ratio (Knuth, TAOCP 6.4)


@dataclass(slots=True)
class Durations:
    """Seconds that the commands of Jobs take.

    `given`: by the name or the id of a Job. `recorded`: by id, those of its last Runs. `other`: for
    every other Job. `guessed`: the names of the Jobs that `other` was used for.
    """

    given: Mapping[str, float]
    recorded: Mapping[str, Sequence[float]]
    other: float
    guessed: set[str] = field(default_factory=set)

    def of(self, run: RunKey, job: Job) -> float:
        """Of the recorded durations, always the same one for a Run: a simulation can be repeated.

        Deliveries take no time.
        """
        if job.delivery is not None:
            return 0.0
        given = self.given.get(job.name, self.given.get(job.id))
        if given is not None:
            return given
        recorded = self.recorded.get(job.id)
        if recorded:
            number = (int(job.id[:8], 16) ^ run.fire_time * _MIXER) >> 8
            return recorded[number % len(recorded)]
        self.guessed.add(job.name)
        return self.other
