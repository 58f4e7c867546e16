"""Notifications: which sections [notify.NAME] tell something about a Job, and how often."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pycron.engine.delivery_jobs import notification_job
from pycron.model.delivery import Occasion
from pycron.model.job import Job


@dataclass(frozen=True, slots=True)
class NotificationRule:
    """When the section [notify.NAME] tells something, and at most how often for one Job.

    `users`: those whose tables may use it, besides root and system tables; None: all users.
    """

    on: frozenset[Occasion]
    cooldown: float = 0.0
    users: frozenset[str] | None = None

    def tells(self, job: Job, occasion: Occasion) -> bool:
        return occasion in self.on and (
            self.users is None
            or job.source.owner is None
            or job.user == "root"
            or job.user in self.users
        )


class Notifications:
    """Decides whether something is told.

    Within the cooldown after a failure that a section has told, it tells no further failure of the
    Job, nor the recovery from that one. The recovery from a failure that was told is always told.
    """

    def __init__(self, rules: Mapping[str, NotificationRule]) -> None:
        self._rules = rules
        # By Job and section: when a failure was told last; failures that were told, or were not.
        self._last: dict[tuple[str, str], float] = {}
        self._told: set[tuple[str, str]] = set()
        self._untold: set[tuple[str, str]] = set()

    def wanted(self, job: Job, occasion: Occasion, now: float) -> Iterator[Job]:
        """The notifications that tell this about a Run of the Job, at a UTC second."""
        for section in job.settings.notify:
            rule = self._rules.get(section)
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
            is_news = last is None or not last <= now < last + self._rules[section].cooldown
            if is_news:
                self._last[key] = now
                self._told.add(key)
                self._untold.discard(key)
            elif key not in self._told:
                self._untold.add(key)
        return is_news
