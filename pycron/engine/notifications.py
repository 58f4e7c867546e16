"""Notifications: which sections [notify.NAME] tell something about a Job, and how often."""

from collections.abc import Iterator, Mapping

from pycron.engine.delivery_jobs import notification_job
from pycron.engine.delivery_rules import NotificationRule
from pycron.model.delivery import Occasion
from pycron.model.job import Job


class Notifications:
    """Decides whether something is told.

    Within the cooldown after a failure that a section has told, it tells no further failure of the
    Job, nor the recovery from that one. The recovery from a failure that was told is always told.
    """

    def __init__(self, rules: Mapping[str, NotificationRule]) -> None:
        self.rules = rules
        # By Job and section: when a failure was told last; failures that were told, or were not.
        self._last: dict[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()
        self._untold: set[tuple[str, str]] = set()

    def wanted(self, job: Job, occasion: Occasion, now: float) -> Iterator[Job]:
        """The notifications that tell this about a Run of the Job, at a UTC second."""
        for section in job.settings.notify:
            rule = self.rules.get(section)
            if rule is None or not rule.tells(job, occasion):
                continue
            if occasion is Occasion.LATE or self._is_news(job.id, section, occasion, now):
                yield notification_job(job, occasion, section)

    def _is_news(self, job_id: str, section: str, occasion: Occasion, now: float) -> bool:
        """Whether a failure or a recovery is told; remembers the failures that are not."""
        key = job_id, section
        if occasion is Occasion.RECOVERED:
            is_news = key not in self._untold
            self._told.discard(key)
            self._untold.discard(key)
        else:
            last = self._last.get(key)
            is_news = last is None or not last <= now < last + self.rules[section].cooldown
            if is_news:
                self._last[key] = now
                self._told.add(key)
                self._untold.discard(key)
            elif key not in self._told:
                self._untold.add(key)
        return is_news
