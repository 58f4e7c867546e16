"""Delivery: what makes a Job tell somebody about the Runs of another Job."""

from dataclasses import dataclass
from enum import StrEnum


class DeliveryKind(StrEnum):
    """The ways to tell somebody."""

    HOOK = "hook"
    """The command of CRON_ON_FAILURE."""
    MAIL = "mail"
    NOTIFICATION = "notification"
    PING = "ping"


class Occasion(StrEnum):
    """What a delivery tells."""

    STARTED = "started"
    """The first Attempt of a Run has started."""
    SUCCEEDED = "succeeded"
    OUTPUT = "output"
    """A Run has ended and has printed something, or its output is always wanted."""
    FAILED = "failed"
    """A Run has failed for good."""
    RECOVERED = "recovered"
    """A Run has succeeded after one that had failed, or after it was said to be late."""
    LATE = "late"
    """A Run has not succeeded within CRON_EXPECT_WITHIN."""
    SUMMARY = "summary"
    """Many Runs of one Job within an hour."""
    TEST = "test"
    """A user tries out whether mail arrives."""


@dataclass(frozen=True, slots=True)
class Mail:
    """Where a mail goes, and what the table says about its form."""

    to: tuple[str, ...]
    sender: str
    content_type: str | None = None
    transfer_encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """The name of a [notify.NAME] section of the configuration."""

    section: str


@dataclass(frozen=True, slots=True)
class Ping:
    """A healthchecks-style URL, which is a secret."""

    url: str
    with_output: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a delivery tells, about which Job, and where to.

    The Run of a delivery has the fire time and the pass number of the Run that it tells about. So
    the identity of Runs ensures that each is delivered once. `target` is None for a failure hook.
    """

    kind: DeliveryKind
    occasion: Occasion
    job_id: str
    job_name: str
    target: Mail | Notification | Ping | None = None

    @property
    def is_message(self) -> bool:
        """Whether pycron itself sends it; a failure hook is a command of the user."""
        return self.kind is not DeliveryKind.HOOK
