"""The rules of the configuration that say which deliveries there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class DeliveryRules:
    """What the configuration says about deliveries.

    `mail`: whether mail is sent at all. `to_owner`: whether the owner gets the mail of a table
    without MAILTO. `mails_per_hour`: of one Job; further Runs within the hour are summed up.
    """

    mail: bool = False
    to_owner: bool = True
    mails_per_hour: int = 60
    notifications: Mapping[str, NotificationRule] = field(default_factory=dict)
