"""Deliveries: which Runs are told, to whom, on which occasion, how often and when."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from pycron.crontab.reader import ReaderContext, parse
from pycron.engine.actions import (
    Action,
    Log,
    Record,
    RecordDiscarded,
    RecordEnded,
    RecordFailing,
    RecordNotStarted,
    RecordRun,
)
from pycron.engine.cursor import Cursor
from pycron.engine.deliveries import DeliveryState
from pycron.engine.delivery_jobs import MAIL_POOL, mail_of
from pycron.engine.delivery_rules import DeliveryRules, NotificationRule
from pycron.engine.engine import Engine
from pycron.engine.events import (
    CancelledByHand,
    ConfigChanged,
    Ended,
    InputEvent,
    Lost,
    MailTransport,
    PauseBegan,
    Redriven,
    Refused,
    Resumed,
    Started,
    StartedByHand,
    StopStarting,
    TableLoaded,
    TableRemoved,
    Tick,
)
from pycron.engine.limits import UNLIMITED, Limits, PressureLimits
from pycron.engine.log_events import Event
from pycron.engine.mail_hours import MailHour
from pycron.engine.states import State
from pycron.model.delivery import Mail, Notification, Occasion
from pycron.model.job import Job, Source
from pycron.model.pause import ALL, Pause
from pycron.model.run import AttemptKey, Cause, Ending, Outcome, RunKey
from pycron.storage.store import Store
from tests.unit.test_engine import START, Sim, begun, ending, table, zone_of

ALL_OCCASIONS = frozenset({Occasion.FAILED, Occasion.RECOVERED, Occasion.LATE})
OPS = {"ops": NotificationRule(ALL_OCCASIONS)}
RULES = DeliveryRules(mail=True, notifications=OPS)
HOUR = 3600
PING = "CRON_PING_URL=https://example.org/ping"
LATE = "CRON_EXPECT_WITHIN=5m"
RETRY = "CRON_RETRIES=1 CRON_RETRY_DELAY=10s CRON_RETRY_JITTER=0 CRON_RETRY_UNTIL=never"


def new_deliveries(actions: Iterable[Action]) -> list[RecordRun]:
    """The records of Runs that are deliveries."""
    return [each for each in actions if isinstance(each, RecordRun) and each.job.delivery]


def words(actions: Iterable[Action]) -> list[str]:
    """The kind and the occasion of each new delivery."""
    found = (record.job.delivery for record in new_deliveries(actions))
    return [f"{delivery.kind} {delivery.occasion}" for delivery in found if delivery]


def not_started(actions: Iterable[Action]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, RecordNotStarted)]


def logged(actions: Iterable[Action], event: Event) -> list[Log]:
    return [action for action in actions if isinstance(action, Log) and action.event is event]


def printing(exit_status: int | None, printed: int, signal: int | None = None) -> Ending:
    return replace(ending(exit_status, signal), output_bytes=printed)


class Case:
    """A Job, the first one of these lines, and an engine that tells about its Runs.

    A test says that the Job is due each minute, or starts it by hand. Nothing ends the Attempts of
    deliveries but finish().
    """

    def __init__(
        self,
        *lines: str,
        rules: DeliveryRules = RULES,
        limits: Limits = UNLIMITED,
        failing: frozenset[str] = frozenset(),
    ) -> None:
        self.sim = Sim(*lines, limits=limits, deliveries=DeliveryState(rules, failing))
        self.job: Job = self.sim.engine.jobs()[0]

    def wait(self, seconds: float) -> list[Action]:
        return self.sim.tell(Tick(), seconds)

    def minute(self) -> list[Action]:
        return self.wait(60 - self.sim.wall % 60)

    def begin(self) -> AttemptKey:
        """The next minute, in which the Job is due, comes: the new Attempt, not yet started."""
        starts = begun(self.minute())
        (attempt,) = (start.attempt for start in starts if start.job.id == self.job.id)
        return attempt

    def began(self, attempt: AttemptKey) -> list[Action]:
        return self.sim.tell(Started(attempt, 4242, self.sim.wall))

    def end(self, attempt: AttemptKey, exit_status: int = 0, printed: int = 0) -> list[Action]:
        return self.sim.tell(Ended(attempt, printing(exit_status, printed)))

    def retry(self, run: RunKey) -> AttemptKey:
        """The time of the next Attempt of a Run comes: that Attempt."""
        live = self.sim.engine.find(run)
        assert live is not None
        self.wait(live.planned - self.sim.wall)
        return self.attempt(run)

    def attempt(self, run: RunKey) -> AttemptKey:
        """The current Attempt of a Run, which was handed to the runner."""
        (attempt,) = (live.attempt for live in self.sim.engine.attempts if live.run == run)
        return attempt

    def run(self, exit_status: int = 0, printed: int = 0) -> list[Action]:
        """One Run of the Job, from its minute to its end; what its end leads to."""
        return self.end(self.begin(), exit_status, printed)

    def run_both(self) -> list[Action]:
        """The next minute's Runs of all Jobs, each of which prints something."""
        starts = [start for start in begun(self.minute()) if not start.job.delivery]
        return [action for start in starts for action in self.end(start.attempt, 0, 9)]

    def finish(self, run: RunKey, exit_status: int = 0) -> list[Action]:
        """The current Attempt of a delivery ends."""
        live = self.sim.engine.find(run)
        assert live is not None
        return self.sim.tell(Ended(live.attempt, printing(exit_status, 0)))

    def state(self, run: RunKey) -> State | None:
        live = self.sim.engine.find(run)
        return None if live is None else live.state


def case(entry: str = "* * * * * a", *more: str, rules: DeliveryRules = RULES) -> Case:
    """The Job of an entry that is due each minute; `more`: the lines before it."""
    return Case(*more, entry, rules=rules)


# ---- CRON_MAIL_ON

_RUNS = {"ok": (0, 0), "ok+": (0, 9), "bad": (1, 0), "bad+": (1, 9)}  # exit status, bytes printed


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        # Which mail each of these Runs leads to:
        #                         ok     ok+    bad    bad+   ok        ok+
        ("", "                    -      output -      failed -         output"),
        ("CRON_MAIL_ON=output", " -      output -      failed -         output"),
        ("CRON_MAIL_ON=failure", "-      -      failed failed -         -"),
        ("CRON_MAIL_ON=change", " -      -      failed -      recovered -"),
        ("CRON_MAIL_ON=always", " output output failed failed output    output"),
        ("CRON_MAIL_ON=never", "  -      -      -      -      -         -"),
    ],
)
def test_which_run_is_mailed(entry: str, expected: str) -> None:
    found = case(f"{entry} * * * * * a".strip())
    mailed = [words(found.run(*_RUNS[each])) for each in ("ok", "ok+", "bad", "bad+", "ok", "ok+")]
    assert mailed == [[] if word == "-" else [f"mail {word}"] for word in expected.split()]


def test_with_n_a_success_is_not_mailed() -> None:
    found = case("* * * * * -n a")
    assert [words(found.run(status, 9)) for status in (0, 1, 0)] == [[], ["mail failed"], []]


_ENDS: dict[str, Callable[[AttemptKey], InputEvent]] = {
    "a signal": lambda attempt: Ended(attempt, ending(None, signal=9)),
    "time-out": lambda attempt: Ended(attempt, replace(ending(143), cause=Cause.TIMEOUT)),
    "memory": lambda attempt: Ended(attempt, replace(ending(137), cause=Cause.MEMORY)),
    "lost": lambda attempt: Lost(attempt, "the runner died"),
    "refused": lambda attempt: Refused(attempt, "cannot fork"),
}


@pytest.mark.parametrize("mail_on", ["failure", "change", "always"])
@pytest.mark.parametrize("how", _ENDS)
def test_every_bad_end_is_a_failure(mail_on: str, how: str) -> None:
    found = case(f"CRON_MAIL_ON={mail_on} * * * * * a")
    assert words(found.sim.tell(_ENDS[how](found.begin()))) == ["mail failed"]


@pytest.mark.parametrize(
    ("mail_on", "expected"),
    [("output", ["mail output"]), ("failure", []), ("change", []), ("always", ["mail output"])],
)
def test_a_cancelled_run_is_no_failure(mail_on: str, expected: list[str]) -> None:
    found = case(f"CRON_MAIL_ON={mail_on} CRON_ON_FAILURE=oops * * * * * a")
    attempt = found.begin()
    found.began(attempt)
    found.sim.tell(CancelledByHand(attempt.run, "alice"))
    cancelled = replace(printing(143, 9), cause=Cause.CANCELLED)
    assert words(found.sim.tell(Ended(attempt, cancelled))) == expected


def test_a_skipped_or_cancelled_run_changes_nothing() -> None:
    """Neither turns success to failure, or back."""
    found = case("CRON_MAIL_ON=change * * * * * a")
    assert words(found.run(1)) == ["mail failed"]
    attempt = found.begin()
    cancelled = replace(ending(None, 15), cause=Cause.CANCELLED)
    assert words(found.sim.tell(Ended(attempt, cancelled))) == []
    assert words(found.run(1)) == []
    assert words(found.run(0)) == ["mail recovered"]


def test_a_turn_is_recorded_for_the_next_daemon() -> None:
    found = case("CRON_MAIL_ON=change * * * * * a")
    turns = [
        [each for each in found.run(status) if isinstance(each, RecordFailing)]
        for status in (0, 1, 1, 0)
    ]
    job_id = found.job.id
    assert turns == [[], [RecordFailing(job_id, True)], [], [RecordFailing(job_id, False)]]


def test_a_turn_is_not_recorded_if_nobody_wants_to_know() -> None:
    found = case()
    assert not [each for each in found.run(1) if isinstance(each, RecordFailing)]


@pytest.mark.parametrize(
    ("failing", "exit_status", "expected"),
    [
        (True, 0, ["mail recovered"]),
        (True, 1, []),
        (False, 0, []),
        (False, 1, ["mail failed"]),
    ],
)
def test_whether_a_job_fails_is_known_after_a_restart(
    failing: bool, exit_status: int, expected: list[str]
) -> None:
    entry = "CRON_MAIL_ON=change * * * * * a"
    (job,) = table(entry).jobs
    found = Case(entry, failing=frozenset({job.id} if failing else ()))
    assert words(found.run(exit_status)) == expected


# ---- MAILTO and MAILFROM


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], Mail(("alice",), "alice")),
        (['MAILTO=""'], None),
        (["MAILTO="], None),
        (["MAILTO=root"], Mail(("root",), "alice")),
        (["MAILTO=a@x.org,b@x.org, a@x.org"], Mail(("a@x.org", "b@x.org"), "alice")),
        (["MAILTO=$USER@x.org,${LOGNAME}"], Mail(("alice@x.org", "alice"), "alice")),
        (["MAILTO=$USERS@x.org"], Mail(("alice",), "alice")),  # no variable, and no address
        (["MAILTO=-oQ/tmp,bob"], Mail(("alice", "bob"), "alice")),
        (["MAILFROM=cron@x.org"], Mail(("alice",), "cron@x.org")),
        (["MAILFROM=-f"], Mail(("alice",), "alice")),
        (["MAILTO=bob", "MAILTO=carol"], Mail(("carol",), "alice")),
        (["CONTENT_TYPE=text/html"], Mail(("alice",), "alice", "text/html")),
        (["CONTENT_TRANSFER_ENCODING=base64"], Mail(("alice",), "alice", None, "base64")),
    ],
)
def test_where_a_mail_goes(lines: list[str], expected: Mail | None) -> None:
    text = "".join(f"{line}\n" for line in [*lines, "* * * * * a"])
    (job,) = parse(text, Source("alice", "alice"), ReaderContext()).jobs
    assert mail_of(job, to_owner=True) == expected
    set_here = any(line.startswith("MAILTO") for line in lines)
    assert mail_of(job, to_owner=False) == (expected if set_here else None)


def test_the_mail_goes_where_the_entry_says() -> None:
    """A MAILTO is that of the entries below it."""
    found = Case("* * * * * a", "MAILTO=bob", "* * * * * b", 'MAILTO=""', "* * * * * c")
    starts = begun(found.minute())
    actions = [found.end(start.attempt, 0, 9) for start in starts]
    targets = [[each.job.delivery.target for each in new_deliveries(said) if each.job.delivery]
               for said in actions]  # fmt: skip
    assert targets == [[Mail(("alice",), "alice")], [Mail(("bob",), "alice")], []]


@pytest.mark.parametrize(
    ("line", "expected"), [([], []), (["MAILTO=bob"], ["mail output"]), (["MAILTO="], [])]
)
def test_an_owner_gets_no_mail_unless_the_rules_say_so(
    line: list[str], expected: list[str]
) -> None:
    rules = replace(RULES, to_owner=False)
    assert words(case("* * * * * a", *line, rules=rules).run(0, 9)) == expected


def test_without_mail_nothing_is_mailed_and_the_rest_is_told() -> None:
    entry = f"CRON_MAIL_ON=always CRON_NOTIFY=ops {LATE} {PING} * * * * * a"
    found = case(entry, "MAILTO=bob", rules=replace(RULES, mail=False))
    assert words(found.minute()) == ["notification late"]
    attempt = found.attempt(RunKey(found.job.id, START + 60))
    assert words(found.end(attempt, 1, 9)) == ["ping failed", "notification failed"]


# ---- the Run of a delivery


def test_a_delivery_has_the_fire_time_and_the_pass_of_the_run_that_it_tells_about() -> None:
    found = case()
    (start,) = begun(found.sim.tell(StartedByHand(found.job, "alice", 1003)))
    (record,) = new_deliveries(found.end(start.attempt, 0, 9))
    assert record.run == start.attempt.run._replace(job_id=record.job.id)
    assert record.job.delivery is not None
    assert (record.job.delivery.job_id, record.job.delivery.job_name) == (
        found.job.id, found.job.name
    )  # fmt: skip
    assert (record.job.user, record.job.name) == ("alice", f"{found.job.name}:mail")


def test_a_mail_starts_a_second_later() -> None:
    found = case()
    (record,) = new_deliveries(found.run(0, 9))
    assert record.planned == found.sim.wall + 1
    assert begun(found.wait(0.9)) == []
    (sent,) = begun(found.wait(0.1))
    assert sent.attempt == AttemptKey(record.run, 1)


def test_a_mail_takes_no_place_from_a_command() -> None:
    """The limits of commands do not count mails, and do not delay them."""
    found = Case("* * * * * a", "2 12 * * * b", limits=Limits(running=1, user_running=1))
    found.run()
    (mail,) = new_deliveries(found.run(0, 9))
    assert found.sim.engine.admission.running == 1  # the other Job, which waited for the limit
    (sent,) = begun(found.wait(1))
    assert sent.attempt == AttemptKey(mail.run, 1)
    assert found.sim.engine.admission.running == 1


def test_a_mail_is_tried_again_six_times_and_then_logged() -> None:
    found = case("0 0 1 1 * a")
    (start,) = begun(found.sim.tell(StartedByHand(found.job, "alice", 1000)))
    (record,) = new_deliveries(found.end(start.attempt, 0, 9))
    found.wait(1)
    waits = []
    for _ in range(6):
        found.finish(record.run, 75)
        live = found.sim.engine.find(record.run)
        assert live is not None
        waits.append(live.planned - found.sim.wall)
        found.wait(waits[-1])
    for waited, minutes in zip(waits, (1, 4, 16, 64, 256, 360), strict=True):
        assert 60 * minutes <= waited < 90 * minutes
    actions = found.finish(record.run, 75)
    (end,) = (each for each in actions if isinstance(each, RecordEnded))
    assert (end.run_outcome, end.dead) == (Outcome.FAILED, True)
    assert len(logged(actions, Event.DELIVERY_FAILED)) == 1
    assert words(actions) == []  # nobody is told about a delivery


@pytest.mark.parametrize("status", [64, 65, 67])
def test_a_mail_that_nobody_will_ever_take_is_not_tried_again(status: int) -> None:
    found = case()
    (record,) = new_deliveries(found.run(0, 9))
    found.wait(1)
    found.finish(record.run, status)
    assert found.state(record.run) is None


def test_a_mail_about_a_run_of_two_days_is_tried_again() -> None:
    """Its fire time is that of the Run, and says nothing about the age of the mail."""
    found = case("0 0 1 1 * a")
    (start,) = begun(found.sim.tell(StartedByHand(found.job, "alice", 1000)))
    found.wait(2 * 24 * HOUR)
    (record,) = new_deliveries(found.end(start.attempt, 0, 9))
    found.wait(1)
    found.finish(record.run, 75)
    assert found.state(record.run) is State.WAITING


def test_a_delivery_waits_in_the_store_while_the_daemon_stops() -> None:
    entry = f"{PING} CRON_ON_FAILURE=oops CRON_NOTIFY=ops * * * * * a"
    found = case(entry)
    attempt = found.begin()
    found.began(attempt)
    found.sim.tell(StopStarting())
    actions = found.end(attempt, 1, 9)
    assert words(actions) == ["hook failed", "ping failed", "notification failed", "mail failed"]
    assert begun([*actions, *found.wait(60)]) == []
    assert found.sim.engine.idle


def test_a_pause_does_not_keep_a_mail_from_starting() -> None:
    found = case()
    attempt = found.begin()
    found.sim.tell(PauseBegan(Pause(ALL, found.sim.wall, None, "alice")))
    (record,) = new_deliveries(found.end(attempt, 0, 9))
    assert [start.attempt.run for start in begun(found.wait(1))] == [record.run]


def test_mails_that_wait_leave_the_queue_to_commands() -> None:
    """A mail server that takes nothing must not keep the commands of a user from starting."""
    limits = Limits(running=1, waiting=4, user_waiting=4, pools={MAIL_POOL: 0})
    found = Case("* * * * * a", "5 12 * * * b", limits=limits)
    for _ in range(4):
        found.run(0, 9)
    actions = found.minute()
    assert [start.job.command for start in begun(actions)] == ["a"]
    assert not_started(actions) == []
    (waits,) = [live for live in found.sim.engine.waiting if not live.job.delivery]
    assert (waits.job.command, waits.state) == ("b", State.QUEUED)
    assert found.sim.engine.admission.waiting == 1


def test_a_user_whose_mails_hang_leaves_places_to_others() -> None:
    found = Case("* * * * * a", limits=Limits(pools={MAIL_POOL: 4}))
    for _ in range(4):
        found.run(0, 9)
    found.wait(1)
    assert found.sim.engine.admission.pools()[MAIL_POOL] == (2, 4)
    waiting = [live for live in found.sim.engine.waiting if live.job.is_message]
    assert {live.why for live in waiting} == {"half of mail.running, which is 4"}
    assert len(waiting) == 2


def test_a_mail_that_never_started_can_be_redriven() -> None:
    found = Case("* * * * * a")
    (record,) = new_deliveries(found.run(0, 9))
    found.sim.tell(CancelledByHand(record.run, "alice"))
    (sent,) = begun(found.sim.tell(Redriven(AttemptKey(record.run, 0), record.job)))
    assert sent.attempt == AttemptKey(record.run, 1)


def test_the_queue_of_mails_has_an_end() -> None:
    found = Case("* * * * * a", limits=Limits(user_waiting=4, pools={MAIL_POOL: 0}))
    for _ in range(4):
        found.run(0, 9)
    (record,) = new_deliveries(found.run(0, 9))
    (end,) = [each for each in found.wait(1) if isinstance(each, RecordNotStarted)]
    assert (end.run, end.outcome) == (record.run, Outcome.MISSED)
    assert end.reason == "the queue of alice is full (limits.user_waiting is 4)"
    assert end.dead  # it can be redriven


# ---- retries and redrives


def test_a_run_is_mailed_once_after_its_last_attempt() -> None:
    found = case(f"{RETRY} * * * * * a")
    attempt = found.begin()
    assert words(found.end(attempt, 1, 9)) == []
    again = found.retry(attempt.run)
    assert words(found.end(again, 1, 9)) == ["mail failed"]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ((1, 9), (0, 0), []),
        ((1, 0), (0, 9), ["mail output"]),
        ((1, 9), (1, 0), []),
        ((1, 0), (1, 9), ["mail failed"]),
    ],
)
def test_the_last_attempt_decides(
    first: tuple[int, int], last: tuple[int, int], expected: list[str]
) -> None:
    found = case(f"{RETRY} * * * * * a")
    attempt = found.begin()
    found.end(attempt, *first)
    again = found.retry(attempt.run)
    assert words(found.end(again, *last)) == expected


def test_a_run_that_is_overtaken_before_its_retry_is_mailed_once() -> None:
    found = case("CRON_RETRIES=1 CRON_RETRY_DELAY=10m CRON_ON_FAILURE=oops * * * * * a")
    assert words(found.end(found.begin(), 1, 9)) == []
    actions = found.minute()
    assert words(actions) == ["hook failed", "mail failed"]


def test_a_run_whose_entry_goes_before_its_retry_is_mailed_once() -> None:
    found = case("CRON_RETRIES=1 CRON_RETRY_DELAY=10m * * * * * a")
    assert words(found.end(found.begin(), 1, 9)) == []
    assert words(found.sim.tell(TableRemoved("alice"))) == ["mail failed"]


def test_a_run_that_is_cancelled_before_its_retry_is_mailed_if_it_has_printed() -> None:
    found = case(f"{RETRY} * * * * * a")
    attempt = found.begin()
    assert words(found.end(attempt, 1, 9)) == []
    assert words(found.sim.tell(CancelledByHand(attempt.run, "alice"))) == ["mail output"]


def redriven(found: Case, run: RunKey, number: int) -> AttemptKey:
    """Redrive a dead letter that has had so many Attempts: its next Attempt."""
    (start,) = begun(found.sim.tell(Redriven(AttemptKey(run, number), found.job)))
    return start.attempt


def test_a_redriven_run_that_fails_again_is_not_told_again() -> None:
    entry = f"{RETRY} {PING} CRON_ON_FAILURE=oops CRON_NOTIFY=ops 1 12 * * * a"
    found = case(entry)
    first = found.begin()
    found.end(first, 1, 9)
    second = found.retry(first.run)
    assert words(found.end(second, 1, 9)) == [
        "hook failed", "ping failed", "notification failed", "mail failed",
    ]  # fmt: skip
    third = redriven(found, first.run, 2)
    assert words(found.began(third)) == []
    assert words(found.end(third, 1, 9)) == []
    fourth = found.retry(third.run)
    assert words(found.end(fourth, 1, 9)) == []


@pytest.mark.parametrize(
    ("mail_on", "expected"),
    [("output", ["mail output"]), ("failure", []), ("change", ["mail recovered"])],
)
def test_a_redriven_run_that_succeeds_is_told(mail_on: str, expected: list[str]) -> None:
    found = case(f"{RETRY} {PING} CRON_MAIL_ON={mail_on} 1 12 * * * a")
    first = found.begin()
    found.end(first, 1, 9)
    second = found.retry(first.run)
    found.end(second, 1, 9)
    third = redriven(found, first.run, 2)
    assert words(found.end(third, 0, 9)) == ["ping succeeded", *expected]


def test_a_redriven_run_that_is_cancelled_before_it_starts_is_not_told_again() -> None:
    entry = f"{RETRY} CRON_MAIL_ON=always CRON_POOL=closed 1 12 * * * a"
    found = Case(entry, limits=Limits(pools={"closed": 0}))
    run = RunKey(found.job.id, START)
    assert begun(found.sim.tell(Redriven(AttemptKey(run, 2), found.job))) == []
    assert words(found.sim.tell(CancelledByHand(run, "alice"))) == []


# ---- several deliveries about one Run


def test_hook_ping_notification_and_mail_of_one_run() -> None:
    found = case(f"{PING} CRON_NOTIFY=ops CRON_ON_FAILURE=oops * * * * * a")
    attempt = found.begin()
    assert words(found.began(attempt)) == ["ping started"]
    actions = found.end(attempt, 3, 9)
    assert words(actions) == ["hook failed", "ping failed", "notification failed", "mail failed"]
    assert [start.job.command for start in begun(actions)] == ["oops"]  # the others a second later
    runs = [record.run for record in new_deliveries(actions)]
    assert len(set(runs)) == 4


def test_a_failure_hook_is_not_told_of() -> None:
    """It prints and fails: it is a delivery itself."""
    found = case(f"CRON_MAIL_ON=always {PING} CRON_ON_FAILURE=oops * * * * * a")
    (hook,) = begun(found.run(1))
    assert words(found.began(hook.attempt)) == []
    assert words(found.end(hook.attempt, 1, 9)) == []


# ---- too many mails within an hour

THREE = replace(RULES, mails_per_hour=3)


def sixty_runs(found: Case) -> list[list[Action]]:
    return [found.run(0, 9) for _ in range(60)]


def test_a_job_that_is_due_each_minute_gets_each_of_its_mails() -> None:
    found = Case("* * * * * a", rules=DeliveryRules(mail=True))
    for _ in range(3):
        assert [words(actions) for actions in sixty_runs(found)] == [["mail output"]] * 60


def test_more_mails_within_an_hour_are_summed_up() -> None:
    found = case(rules=THREE)
    by_run = sixty_runs(found)
    assert [words(actions) for actions in by_run[:3]] == [["mail output"]] * 3
    assert words(by_run[3]) == ["mail summary", "mail output"]
    summary, summed = new_deliveries(by_run[3])
    assert summary.planned == START + 60 + HOUR  # an hour after the first mail
    assert not_started(by_run[3]) == [f"summed up in {summary.run}"]
    for actions in by_run[4:]:
        (mail,) = new_deliveries(actions)
        assert [each for each in actions if isinstance(each, RecordNotStarted)] == [
            RecordNotStarted(mail.run, Outcome.SKIPPED, f"summed up in {summary.run}")
        ]
        assert found.state(mail.run) is None
    assert found.state(summed.run) is None
    actions = found.minute()
    assert summary.run in [start.attempt.run for start in begun(actions)]


def test_the_next_hour_begins_with_the_next_mail() -> None:
    found = case(rules=THREE)
    first = sixty_runs(found)
    found.wait(20 * 60)
    second = sixty_runs(found)
    assert [words(actions) for actions in second] == [words(actions) for actions in first]
    (one, _), (other, _) = new_deliveries(first[3]), new_deliveries(second[3])
    assert one.run != other.run


def test_each_job_has_an_hour_of_its_own() -> None:
    found = Case("* * * * * a", "* * * * * b", rules=replace(RULES, mails_per_hour=1))
    for expected in (["mail output"], ["mail summary", "mail output"]):
        starts = [start for start in begun(found.minute()) if not start.job.delivery]
        assert [words(found.end(start.attempt, 0, 9)) for start in starts] == [expected] * 2


def test_a_late_mail_is_not_summed_up() -> None:
    found = case(f"{LATE} * * * * * a", rules=replace(RULES, mails_per_hour=0))
    (record,) = new_deliveries(found.minute())
    assert [start.attempt.run for start in begun(found.wait(300)) if start.job.delivery] == [
        record.run
    ]


def test_a_summary_that_was_cancelled_sums_up_nothing_more() -> None:
    found = case(rules=THREE)
    for _ in range(3):
        found.run(0, 9)
    first, _ = new_deliveries(found.run(0, 9))
    found.sim.tell(CancelledByHand(first.run, "alice"))
    actions = found.run(0, 9)
    assert words(actions) == ["mail summary", "mail output"]
    second, _ = new_deliveries(actions)
    assert not_started(actions) == [f"summed up in {second.run}"]


def test_a_summary_that_was_sent_sums_up_nothing_more() -> None:
    """The clock was set forward, the summary was sent, and the clock was set back."""
    found = case(rules=THREE)
    for _ in range(3):
        found.run(0, 9)
    first, _ = new_deliveries(found.run(0, 9))
    found.sim.wall += HOUR
    assert first.run in [start.attempt.run for start in begun(found.wait(1))]
    found.sim.wall -= HOUR
    (start,) = begun(found.sim.tell(StartedByHand(found.job, "alice", 1000, force=True)))
    assert words(found.end(start.attempt, 0, 9)) == ["mail summary", "mail output"]


def test_one_summary_is_enough_while_the_daemon_stops() -> None:
    found = case(rules=replace(RULES, mails_per_hour=0))
    attempts = [found.begin() for _ in range(3)]
    for attempt in attempts:
        found.began(attempt)
    found.sim.tell(StopStarting())
    said = [words(found.end(attempt, 0, 9)) for attempt in attempts]
    assert said == [["mail summary", "mail output"], ["mail output"], ["mail output"]]


def test_a_summary_names_the_runs_that_were_due_before_the_first_one(tmp_path: Path) -> None:
    found = case(rules=replace(RULES, mails_per_hour=0))
    decided = [*found.minute(), *found.minute()]
    earlier, later = (AttemptKey(RunKey(found.job.id, START + after), 1) for after in (60, 120))
    decided += [*found.end(later, 0, 9), *found.end(earlier, 0, 9)]
    store = Store(tmp_path / "pycron.db")
    store.write(action for action in decided if isinstance(action, Record))
    summary, *_ = new_deliveries(decided)
    assert store.summed_up_in(summary.run, found.job.id) == [later.run, earlier.run]
    store.close()


class NextDaemon(Case):
    """The engine of the next daemon: a table, what was mailed lately, and the Runs that were left.

    `left`: each with the second at which its Attempt is due.
    """

    def __init__(
        self, now: float, line: str, hours: dict[str, MailHour], *left: tuple[RunKey, Job, float]
    ) -> None:
        self.sim = sim = Sim(line)
        sim.wall = now
        state = DeliveryState(THREE, hours=hours)
        sim.engine = Engine(zone_of, Cursor(int(now), int(now)), deliveries=state)
        sim.tell(TableLoaded(table(line)))
        for run, job, planned in left:
            sim.tell(Resumed(AttemptKey(run, 0), job, None, None, planned))
        sim.tell(Tick())
        self.job = sim.engine.jobs()[0]


def test_the_next_daemon_continues_the_hour() -> None:
    """It knows how many mails the store has of the last hour."""
    (job,) = table("* * * * * a").jobs
    found = NextDaemon(START + 90, "* * * * * a", {job.id: MailHour(START + 60, 2)})
    assert words(found.run(0, 9)) == ["mail output"]
    actions = found.run(0, 9)
    assert words(actions) == ["mail summary", "mail output"]
    assert new_deliveries(actions)[0].planned == START + 60 + HOUR


def test_the_next_daemon_continues_the_mail_that_sums_up() -> None:
    before = case(rules=THREE)
    for _ in range(3):
        before.run(0, 9)
    summary, _ = new_deliveries(before.run(0, 9))
    assert summary.planned is not None
    found = NextDaemon(
        START + 300,
        "* * * * * a",
        {before.job.id: MailHour(START + 60, 3)},
        (summary.run, summary.job, summary.planned),
    )
    actions = found.run(0, 9)
    assert words(actions) == ["mail output"]
    assert not_started(actions) == [f"summed up in {summary.run}"]
    found.wait(summary.planned - found.sim.wall - 1)
    assert found.state(summary.run) is State.WAITING
    assert summary.run in [start.attempt.run for start in begun(found.wait(1))]
    assert words(found.run(0, 9)) == ["mail output"]
    assert not_started(found.run(0, 9)) == []  # the next hour has begun


# ---- notifications


def told(found: Case, *runs: tuple[int, float]) -> list[list[str]]:
    """What Runs with these exit statuses lead to, each these seconds after the last one."""
    said = []
    for status, seconds in runs:
        found.wait(seconds)
        (start,) = [
            each
            for each in begun(found.sim.tell(StartedByHand(found.job, "alice", 1000)))
            if each.job.id == found.job.id
        ]
        said.append(words(found.end(start.attempt, status)))
    return said


QUIET = "CRON_MAIL_ON=never CRON_NOTIFY=ops 0 0 1 1 * a"
FAILED, RECOVERED = ["notification failed"], ["notification recovered"]


def test_a_notification_tells_each_failure_and_the_recovery() -> None:
    runs = [(0, 9.0), (1, 9.0), (1, 9.0), (0, 9.0), (0, 9.0)]
    assert told(case(QUIET), *runs) == [[], FAILED, FAILED, RECOVERED, []]


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        ({Occasion.FAILED}, [FAILED, []]),
        ({Occasion.RECOVERED}, [[], RECOVERED]),
        ({Occasion.LATE}, [[], []]),
    ],
)
def test_a_notification_tells_what_its_section_says(
    on: set[Occasion], expected: list[list[str]]
) -> None:
    rules = replace(RULES, notifications={"ops": NotificationRule(frozenset(on))})
    assert told(case(QUIET, rules=rules), (1, 9.0), (0, 9.0)) == expected


def test_a_notification_is_not_repeated_within_its_cooldown() -> None:
    rules = replace(RULES, notifications={"ops": NotificationRule(ALL_OCCASIONS, cooldown=900)})
    runs = [(1, 9.0), (1, 899.0), (1, 1.0), (0, 5.0), (1, 895.0)]
    assert told(case(QUIET, rules=rules), *runs) == [FAILED, [], FAILED, RECOVERED, FAILED]


def test_a_recovery_is_told_only_if_the_failure_was() -> None:
    rules = replace(RULES, notifications={"ops": NotificationRule(ALL_OCCASIONS, cooldown=900)})
    runs = [(1, 9.0), (0, 9.0), (1, 9.0), (0, 9.0), (1, 9.0), (1, 900.0), (0, 9.0)]
    expected = [FAILED, RECOVERED, [], [], [], FAILED, RECOVERED]
    assert told(case(QUIET, rules=rules), *runs) == expected


def test_a_cooldown_begins_with_a_notification_that_is_sent() -> None:
    """A redriven Run that fails again is not told, and delays nothing."""
    rules = replace(RULES, notifications={"ops": NotificationRule(ALL_OCCASIONS, cooldown=900)})
    entry = f"{RETRY} {QUIET}"
    found = case(entry, rules=rules)
    (start,) = begun(found.sim.tell(StartedByHand(found.job, "alice", 1000)))
    found.end(start.attempt, 1)
    again = found.retry(start.attempt.run)
    assert words(found.end(again, 1)) == FAILED
    found.wait(890)
    third = redriven(found, start.attempt.run, 2)
    found.end(third, 1)
    fourth = found.retry(third.run)
    assert words(found.end(fourth, 1)) == []
    (other,) = begun(found.sim.tell(StartedByHand(found.job, "alice", 1001)))
    found.end(other.attempt, 1)
    assert words(found.end(found.retry(other.attempt.run), 1)) == FAILED


def test_a_notification_names_its_section() -> None:
    rules = replace(RULES, notifications={**OPS, "dev": NotificationRule(ALL_OCCASIONS)})
    found = case("CRON_MAIL_ON=never CRON_NOTIFY=dev,ops,gone * * * * * a", rules=rules)
    sections = [
        record.job.delivery.target
        for record in new_deliveries(found.run(1))
        if record.job.delivery is not None
    ]
    assert sections == [Notification("dev"), Notification("ops")]


@pytest.mark.parametrize(
    ("source", "user", "users", "expected"),
    [
        (Source("alice", "alice"), "alice", None, FAILED),
        (Source("alice", "alice"), "alice", frozenset({"alice"}), FAILED),
        (Source("alice", "alice"), "alice", frozenset({"bob"}), []),
        (Source("alice", "alice"), "alice", frozenset(), []),
        (Source("root", "root"), "root", frozenset(), FAILED),
        (Source("/etc/pycron.d/a", None), "alice", frozenset(), FAILED),  # root wrote it
    ],
)
def test_who_may_use_a_section(
    source: Source, user: str, users: frozenset[str] | None, expected: list[str]
) -> None:
    rules = replace(RULES, notifications={"ops": NotificationRule(ALL_OCCASIONS, users=users)})
    entry = QUIET if source.owner else QUIET.replace("* a", f"* {user} a")
    loaded = parse(f"{entry}\n", source, ReaderContext())
    found = case(rules=rules)
    found.sim.tell(TableRemoved("alice"))
    found.sim.tell(TableLoaded(loaded))
    (found.job,) = found.sim.engine.jobs()
    assert told(found, (1, 9.0)) == [expected]


# ---- CRON_EXPECT_WITHIN

LATE_ENTRY = f"CRON_NOTIFY=ops {LATE} 1 12 * * * a"


def late_runs(actions: Iterable[Action]) -> list[RunKey]:
    found = ((record.run, record.job.delivery) for record in new_deliveries(actions))
    return [run for run, delivery in found if delivery and delivery.occasion is Occasion.LATE]


def discarded(actions: Iterable[Action]) -> list[RunKey]:
    return [action.run for action in actions if isinstance(action, RecordDiscarded)]


def test_a_run_that_does_not_succeed_in_time_is_late_once() -> None:
    found = case(LATE_ENTRY)
    actions = found.minute()
    late = late_runs(actions)
    assert words(actions) == ["notification late", "mail late"]
    assert [record.planned for record in new_deliveries(actions)] == [START + 60 + 300] * 2
    assert begun(found.wait(299)) == []
    assert [start.attempt.run for start in begun(found.wait(1))] == late
    for run in late:
        found.finish(run)
    assert [action for seconds in (60, HOUR) for action in begun(found.wait(seconds))] == []


def test_a_run_that_succeeds_in_time_is_never_said_to_be_late() -> None:
    found = case(LATE_ENTRY)
    begins = found.minute()
    (start,) = begun(begins)
    actions = found.end(start.attempt)
    assert discarded(actions) == late_runs(begins)
    assert words(actions) == []
    assert found.sim.engine.idle
    assert begun(found.wait(HOUR)) == []


def test_a_late_run_that_succeeds_has_recovered() -> None:
    found = case(LATE_ENTRY)
    begins = found.minute()
    (start,) = begun(begins)
    for run in [each.attempt.run for each in begun(found.wait(300))]:
        found.finish(run)
    actions = found.end(start.attempt)
    assert words(actions) == ["notification recovered", "mail recovered"]
    assert discarded(actions) == []


def test_a_late_run_that_has_recovered_while_the_news_was_being_sent() -> None:
    found = case(LATE_ENTRY)
    (start,) = begun(found.minute())
    late = [each.attempt.run for each in begun(found.wait(300))]
    assert words(found.end(start.attempt)) == ["notification recovered", "mail recovered"]
    assert [found.state(run) for run in late] == [State.RECORDED] * 2


def test_a_run_that_fails_is_late_unless_a_retry_succeeds_in_time() -> None:
    entry = f"CRON_MAIL_ON=never CRON_RETRIES=1 CRON_RETRY_DELAY=100s CRON_NOTIFY=ops {LATE}"
    found = case(f"{entry} CRON_RETRY_JITTER=0 1 12 * * * a")
    begins = found.minute()
    (start,) = begun(begins)
    assert discarded(found.end(start.attempt, 1)) == []
    again = found.retry(start.attempt.run)
    assert discarded(found.end(again, 0)) == late_runs(begins)


def test_a_run_that_has_failed_is_late_when_the_time_is_over() -> None:
    found = case(LATE_ENTRY)
    begins = found.minute()
    (start,) = begun(begins)
    assert discarded(found.end(start.attempt, 1)) == []
    found.wait(60)
    assert {start.attempt.run for start in begun(found.wait(240))} == set(late_runs(begins))


def test_a_skipped_run_is_not_late() -> None:
    found = case(f"CRON_CONCURRENCY=forbid {LATE} * * * * * a")
    found.minute()
    actions = found.minute()
    assert not_started(actions) == ["an earlier run still runs (CRON_CONCURRENCY=forbid)"]
    assert discarded(actions) == late_runs(actions) != []


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.WAITING])
def test_a_cancelled_run_is_not_late(state: State) -> None:
    """It is cancelled in the queue, while it runs, or while it waits for its retry."""
    limits = Limits(pools={"one": 0 if state is State.QUEUED else 1})
    found = Case(f"CRON_RETRIES=1 CRON_POOL=one {LATE} 1 12 * * * a", limits=limits)
    actions = found.minute()
    late, run = late_runs(actions), RunKey(found.job.id, START + 60)
    attempt = AttemptKey(run, 1)
    if state is not State.QUEUED:
        found.began(attempt)
    if state is State.WAITING:
        found.end(attempt, 1)
    assert found.state(run) is state
    actions = found.sim.tell(CancelledByHand(run, "alice"))
    if state is State.RUNNING:
        actions = found.sim.tell(Ended(attempt, replace(ending(143), cause=Cause.CANCELLED)))
    assert discarded(actions) == late != []
    assert found.sim.engine.idle


def test_a_run_that_is_missed_is_late() -> None:
    limits = Limits(pools={"closed": 0})
    found = Case(
        f"CRON_START_DEADLINE=1m CRON_POOL=closed {LATE} 1 12 * * * a", limits=limits
    )  # fmt: skip
    late = late_runs(found.minute())
    actions = found.wait(61)
    assert len(not_started(actions)) == 1
    assert discarded(actions) == []
    assert [start.attempt.run for start in begun(found.wait(239))] == late


def test_a_run_that_succeeds_while_the_daemon_stops_is_not_late() -> None:
    found = case(LATE_ENTRY)
    begins = found.minute()
    (start,) = begun(begins)
    found.began(start.attempt)
    found.sim.tell(StopStarting())
    actions = found.end(start.attempt)
    assert discarded(actions) == late_runs(begins)
    assert words(actions) == []


def test_the_entry_says_less_when_the_run_succeeds() -> None:
    """Its MAILTO, CRON_NOTIFY and CRON_EXPECT_WITHIN are gone: the news is not needed, either."""
    found = case(LATE_ENTRY)
    begins = found.minute()
    (start,) = begun(begins)
    found.began(start.attempt)
    found.sim.tell(TableLoaded(table("MAILTO=", "1 12 * * * a")))
    actions = found.end(start.attempt)
    assert discarded(actions) == late_runs(begins) != []


def test_an_expectation_that_came_during_the_run_does_not_make_it_recover() -> None:
    found = case("1 12 * * * a")
    (start,) = begun(found.minute())
    found.began(start.attempt)
    found.sim.tell(TableLoaded(table(LATE_ENTRY)))
    assert words(found.end(start.attempt)) == []


def test_the_next_daemon_discards_what_an_earlier_one_has_recorded() -> None:
    found = case(LATE_ENTRY)
    begins = found.minute()
    (start,) = begun(begins)
    left = [(record.run, record.job, record.planned or 0.0) for record in new_deliveries(begins)]
    after = NextDaemon(START + 90, LATE_ENTRY, {}, *left)
    after.sim.tell(Resumed(start.attempt, found.job, 4242, START + 60.0))
    actions = after.end(start.attempt)
    assert discarded(actions) == late_runs(begins)
    assert words(actions) == []


# ---- pings


def test_the_end_is_pinged_after_the_start() -> None:
    found = case(f"CRON_MAIL_ON=never {PING} * * * * * a")
    attempt = found.begin()
    (start,) = new_deliveries(found.began(attempt))
    (end,) = new_deliveries(found.end(attempt))
    assert [each.attempt.run for each in begun(found.wait(1))] == [start.run]
    for _ in range(3):
        assert begun(found.wait(1)) == []
        assert found.state(end.run) is State.WAITING
    found.finish(start.run)
    assert [each.attempt.run for each in begun(found.wait(1))] == [end.run]


def test_the_start_is_pinged_once_and_never_again() -> None:
    """The end may have been told before a second try, which would look like a second start."""
    found = case(f"CRON_MAIL_ON=never {RETRY} {PING} 1 12 * * * a")
    attempt = found.begin()
    (start,) = new_deliveries(found.began(attempt))
    found.wait(1)
    actions = found.finish(start.run, 75)
    assert found.state(start.run) is None
    assert len(logged(actions, Event.DELIVERY_FAILED)) == 1
    found.end(attempt, 1)
    again = found.retry(attempt.run)
    assert words(found.began(again)) == []
    assert words(found.end(again)) == ["ping succeeded"]


def test_an_attempt_that_could_not_be_started_is_pinged_as_a_failure() -> None:
    found = case(f"CRON_MAIL_ON=never {PING} * * * * * a")
    actions = found.sim.tell(Refused(found.begin(), "cannot fork"))
    assert words(actions) == ["ping failed"]


def test_a_cancelled_run_is_not_pinged_as_a_success() -> None:
    found = case(f"CRON_MAIL_ON=never {PING} * * * * * a")
    ended = Ended(found.begin(), replace(ending(0), cause=Cause.CANCELLED))
    assert words(found.sim.tell(ended)) == ["ping failed"]


def test_pings_of_different_runs_do_not_wait_for_each_other() -> None:
    found = case(f"CRON_MAIL_ON=never {PING} * * * * * a")
    first = found.begin()
    found.began(first)
    found.wait(1)
    second = found.begin()
    (start,) = new_deliveries(found.began(second))
    found.wait(1)
    (end,) = new_deliveries(found.end(second))
    found.finish(start.run)
    assert [each.attempt.run for each in begun(found.wait(1))] == [end.run]


# ---- a machine that can send no mail


def test_a_machine_that_can_send_no_mail_says_so_once() -> None:
    found = Case("* * * * * a", "* * * * * b")
    found.sim.tell(MailTransport("there is no sendmail program"))
    actions = [action for _ in range(2) for action in found.run_both()]
    assert words(actions) == []
    (log,) = logged(actions, Event.MAIL_NOWHERE)
    assert log.fields == {"reason": "there is no sendmail program"}
    found.sim.tell(MailTransport("there is no sendmail program (/usr/lib/sendmail)"))
    assert len(logged(found.run_both(), Event.MAIL_NOWHERE)) == 1
    found.sim.tell(MailTransport(None))
    assert words(found.run_both()) == ["mail output", "mail output"]


@pytest.mark.parametrize("entry", ["CRON_MAIL_ON=never * * * * * a", "* * * * * a"])
def test_nothing_is_said_if_there_is_no_mail_to_send(entry: str) -> None:
    found = case(entry)
    found.sim.tell(MailTransport("there is no sendmail program"))
    assert logged(found.run(0, 0), Event.MAIL_NOWHERE) == []


def test_a_mail_that_is_recorded_is_sent_even_if_there_is_no_way_at_the_moment() -> None:
    found = case()
    (record,) = new_deliveries(found.run(0, 9))
    found.sim.tell(MailTransport("there is no sendmail program"))
    assert [start.attempt.run for start in begun(found.wait(1))] == [record.run]


# ---- the configuration changes


def changed(rules: DeliveryRules) -> ConfigChanged:
    return ConfigChanged(UNLIMITED, PressureLimits(), rules)


def test_mail_that_is_turned_off_and_on() -> None:
    found = case()
    assert words(found.run(0, 9)) == ["mail output"]
    found.sim.tell(changed(replace(RULES, mail=False)))
    assert words(found.run(0, 9)) == []
    found.sim.tell(changed(RULES))
    assert words(found.run(0, 9)) == ["mail output"]


def test_a_recorded_mail_is_sent_although_mail_was_turned_off() -> None:
    found = case()
    (mail,) = new_deliveries(found.run(0, 9))
    found.sim.tell(changed(replace(RULES, mail=False)))
    assert mail.run in [start.attempt.run for start in begun(found.wait(1))]


def test_a_notification_that_is_added_and_removed() -> None:
    found = case("CRON_NOTIFY=ops * * * * * a", rules=replace(RULES, notifications={}))
    assert words(found.run(1)) == []
    found.sim.tell(changed(RULES))
    assert words(found.run(1)) == ["notification failed"]
    found.sim.tell(changed(replace(RULES, notifications={})))
    assert words(found.run(1)) == []


def test_a_cooldown_goes_on_after_a_change() -> None:
    rules = replace(RULES, notifications={"ops": NotificationRule(ALL_OCCASIONS, cooldown=900)})
    found = case("CRON_NOTIFY=ops * * * * * a", rules=rules)
    assert words(found.run(1)) == ["notification failed"]
    found.sim.tell(changed(replace(rules, mails_per_hour=1)))
    assert words(found.run(1)) == []


def test_a_lowered_limit_of_mails_counts_those_that_were_sent() -> None:
    found = case()
    for _ in range(3):
        assert not_started(found.run(0, 9)) == []
    found.sim.tell(changed(replace(RULES, mails_per_hour=3)))
    assert [reason.partition(" ")[0] for reason in not_started(found.run(0, 9))] == ["summed"]
