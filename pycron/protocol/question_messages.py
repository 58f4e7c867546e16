"""Requests on the control socket from which `pycron stats`, `calendar` and `simulate` compute.

See control_messages.py for the rules. A daemon knows these requests because their handlers import
this module.
"""

from typing import ClassVar

from pycron.protocol.control_messages import request
from pycron.protocol.question_answers import SamplesAnswer, StartsAnswer, TableTextAnswer


@request
class SamplesRequest:
    """What statistics need: of each recorded Job, or of one, the newest `limit` Runs.

    `since` (inclusive) and `until` (exclusive) limit the fire time. `after`: continue a list.
    """

    verb: ClassVar = "samples"
    answer: ClassVar = SamplesAnswer
    limit: int = 100
    after: int = 0
    job: str | None = None
    user: str | None = None
    since: int | None = None
    until: int | None = None


@request
class StartsRequest:
    """How many Runs were started in each minute of [since, until), which are two days at most."""

    verb: ClassVar = "starts"
    answer: ClassVar = StartsAnswer
    since: int = 0
    until: int = 0
    user: str | None = None


@request
class TableTextRequest:
    """The text of loaded table number `number`, of those that the user may read, from a byte on."""

    verb: ClassVar = "table-text"
    answer: ClassVar = TableTextAnswer
    number: int = 0
    first: int = 0
