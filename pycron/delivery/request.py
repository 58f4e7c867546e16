"""What `python -m pycron.delivery` reads from stdin: one JSON object on a line, then the output.

The request is not in the arguments or in the environment, because it may contain secrets: the URL
of a ping, the password of a mail server. Instants are UTC seconds, durations are seconds, sizes are
bytes.
"""

from typing import Literal, TypedDict


class RunFacts(TypedDict):
    """What is said about a Run.

    `printed`: how many bytes its last Attempt printed. `kept`: how many of them follow the request;
    if there are fewer, pycron has cut the middle, and a line says so there.
    """

    run_id: str
    job: str
    command: str
    user: str
    host: str
    fire_time: int
    outcome: str | None
    exit_status: int | None
    signal: int | None
    attempts: int
    duration: float | None
    reason: str | None
    printed: int
    kept: int


class Sendmail(TypedDict):
    """Hand the message to a sendmail program; `argv` is its command line."""

    kind: Literal["sendmail"]
    argv: list[str]


class Smtp(TypedDict):
    """Hand the message to a mail server. `security`: starttls, tls or none."""

    kind: Literal["smtp"]
    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    user: str | None
    password: str | None


class SummedRun(TypedDict):
    """One of the Runs that a summary stands for."""

    run_id: str
    fire_time: int
    outcome: str | None


class MailRequest(TypedDict):
    """Send one mail.

    `occasion`: output, failed, recovered, late, summary or test. `to`: addresses; one without an
    @ is a mailbox of this machine. `summed`: for a summary, the newest of the `summed_count` Runs.
    `content_type`, `transfer_encoding`: CONTENT_TYPE and CONTENT_TRANSFER_ENCODING of the table.
    """

    kind: Literal["mail"]
    occasion: str
    run: RunFacts
    to: list[str]
    sender: str
    content_type: str | None
    transfer_encoding: str | None
    summed: list[SummedRun]
    summed_count: int
    transport: Sendmail | Smtp


class PingRequest(TypedDict):
    """Tell a healthchecks-style URL that a Run has started (`occasion` started) or how it ended."""

    kind: Literal["ping"]
    occasion: str
    run: RunFacts
    url: str
    with_output: bool


class NotifyRequest(TypedDict):
    """Send a notification through apprise. `urls`: where to; they are secrets."""

    kind: Literal["notify"]
    occasion: str
    run: RunFacts
    name: str
    urls: list[str]


Request = MailRequest | PingRequest | NotifyRequest
