"""How many mails each Job has sent within an hour: the Runs beyond the limit are summed up."""

from collections.abc import Mapping
from dataclasses import dataclass

from pycron.model.run import RunKey

HOUR = 3600  # seconds


@dataclass(slots=True)
class MailHour:
    """An hour of one Job: the UTC second of its beginning, its mails, and the mail that sums up."""

    began: float
    count: int
    summary: RunKey | None = None

    @property
    def end(self) -> float:
        return self.began + HOUR


class MailHours:
    """The hours of all Jobs. An hour begins with the first mail; the next mail begins the next."""

    def __init__(self, hours: Mapping[str, MailHour]) -> None:
        """`hours`: by Job id, what an earlier daemon has sent."""
        self._hours = dict(sorted(hours.items(), key=lambda item: item[1].began))

    def of(self, job_id: str, now: float) -> MailHour:
        """The hour of a Job at a UTC second; a new one if the last one is over."""
        hour = self._hours.get(job_id)
        if hour is None or not hour.began <= now < hour.end:
            self._forget(now)
            hour = MailHour(now, 0)
            self._hours.pop(job_id, None)  # so that the oldest hour is always the first
            self._hours[job_id] = hour
        return hour

    def put(self, job_id: str, hour: MailHour) -> None:
        self._hours[job_id] = hour

    def _forget(self, now: float) -> None:
        """Forget the hours that are over."""
        while self._hours:
            first = next(iter(self._hours))
            if self._hours[first].began <= now < self._hours[first].end:
                return
            del self._hours[first]
