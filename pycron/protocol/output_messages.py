"""Requests on the control socket for what commands print; see control_messages.py for the rules.

Their handlers import this module, and so a daemon knows these requests.
"""

from typing import ClassVar

from pycron.protocol.control_answers import StartAnswer
from pycron.protocol.control_checks import TABLE_TEXT
from pycron.protocol.control_messages import checked_by, request
from pycron.protocol.output_answers import FollowAnswer, SearchAnswer


@request
class TestRequest:
    """Run the command of an entry now, as a Job of its own that tells nobody.

    `job`: a Job of the daemon; with `text`, an entry of that table (empty: its only one). `system`:
    the table has a user column. `user`: whose table it is (None: of the one who asks).
    `environment`: print the variables of the command instead of running it.
    """

    verb: ClassVar = "test"
    answer: ClassVar = StartAnswer
    job: str = ""
    text: str | None = checked_by(TABLE_TEXT, default=None)
    system: bool = False
    user: str | None = None
    environment: bool = False


@request
class FollowRequest:
    """The Attempts that run, and those that have ended after the end of number `after`.

    `after` None: only those that run.
    """

    verb: ClassVar = "follow"
    answer: ClassVar = FollowAnswer
    after: int | None = None


@request
class SearchRequest:
    """Lines of output that contain `text`, of the newest Runs: at most `limit` lines.

    `job`, `since`, `until` and `before` select Runs as in RunsRequest; `run_id`: only that Run.
    """

    verb: ClassVar = "search"
    answer: ClassVar = SearchAnswer
    text: str = ""
    run_id: str | None = None
    job: str | None = None
    since: int | None = None
    until: int | None = None
    before: int | None = None
    limit: int = 100
