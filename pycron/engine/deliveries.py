"""Deliveries: which Runs are told to whom, and when.

A delivery is a Run of its own. It is recorded together with what it tells, so there is exactly one
however often the daemon is killed; then it starts, is retried and ends like any other Run.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pycron.engine import reports
from pycron.engine.actions import RecordDiscarded, RecordFailing, RecordNotStarted, RecordRun
from pycron.engine.delivery_jobs import (
    failure_hook,
    mail_job,
    mail_of,
    ping_job,
    ping_start_id,
)
from pycron.engine.delivery_rules import DeliveryRules
from pycron.engine.live_runs import Live
from pycron.engine.mail_hours import HOUR, MailHour, MailHours
from pycron.engine.notifications import Notifications
from pycron.engine.run_queue import RunQueue
from pycron.engine.states import State, Step
from pycron.engine.workspace import Workspace
from pycron.model.delivery import Delivery, DeliveryKind, Mail, Occasion
from pycron.model.job import Job
from pycron.model.run import DELIBERATE, Outcome, RunKey
from pycron.model.settings import MailOn

_DELAY = 1.0  # seconds until a delivery starts, so that it does not compete with a burst of starts


@dataclass(frozen=True, slots=True)
class DeliveryState:
    """What the engine begins with.

    `failing`: the ids of the Jobs whose last Run failed, as far as a setting asks for that.
    `hours`: by Job id, what an earlier daemon has mailed lately.
    """

    rules: DeliveryRules = field(default_factory=DeliveryRules)
    failing: frozenset[str] = frozenset()
    hours: Mapping[str, MailHour] = field(default_factory=dict)


NO_DELIVERIES = DeliveryState()


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How a Run ended. `printed`: how many bytes its last Attempt printed."""

    outcome: Outcome
    exit_status: int | None
    printed: int

    @property
    def succeeded(self) -> bool:
        return self.outcome is Outcome.SUCCEEDED

    @property
    def failed(self) -> bool:
        return not self.succeeded and self.outcome not in DELIBERATE


class Deliveries:
    """Decides about deliveries, and brings their Runs to life.

    `no_mail`: why no mail can be sent at present.
    """

    def __init__(self, workspace: Workspace, state: DeliveryState, queue: RunQueue) -> None:
        self._space = workspace
        self._live = workspace.live
        self._rules = state.rules
        self._queue = queue
        self._failing = set(state.failing)
        self._hours = MailHours(state.hours)
        # By Run: the deliveries that are to tell that it is late.
        self._late: dict[RunKey, list[RunKey]] = {}
        self._left: set[RunKey] = set()  # deliveries that wait for the next daemon
        self._notifications = Notifications(state.rules.notifications)
        self._no_mail: str | None = None
        self._no_mail_is_logged = False

    @property
    def no_mail(self) -> str | None:
        return self._no_mail

    @no_mail.setter
    def no_mail(self, reason: str | None) -> None:
        self._no_mail, self._no_mail_is_logged = reason, False

    def configure(self, rules: DeliveryRules) -> None:
        """Other rules from now on. What is recorded already is still sent."""
        self._rules = rules
        self._notifications.rules = rules.notifications

    # ---- what happens to a Run

    def came(self, run: RunKey, job: Job) -> None:
        """A Run has come to be. With CRON_EXPECT_WITHIN, the news that it is late waits already."""
        within = job.settings.expect_within
        if within is not None and job.delivery is None:
            for late in self._late_jobs(job):
                key = _key(late, run)
                self._begin(key, late, run.fire_time + within)
                self._late.setdefault(run, []).append(key)

    def started(self, run: RunKey, live: Live) -> None:
        """An Attempt has started."""
        if live.number == 1 and live.job.delivery is None:
            ping = ping_job(live.job, Occasion.STARTED)
            if ping is not None:
                self._begin(_key(ping, run), ping)

    def ended(self, run: RunKey, live: Live, end: RunEnd) -> None:
        """A Run has ended after its last Attempt."""
        if live.job.delivery is not None:
            if end.failed and live.job.is_message:
                self._space.out.logs.append(reports.delivery_failed(run, live.job))
            self._forget_late(run, live.job.delivery)
            return
        again = live.redrive is not None
        if again and end.failed:
            return  # it has been told
        for message in self._wanted(run, live.job, end):
            assert message.delivery is not None
            # The ping of a redriven Run that was cancelled has been sent, too.
            if not (again and message.delivery.occasion is Occasion.FAILED):
                self._tell(run, live.job, message)

    def given_up(self, run: RunKey, job: Job, outcome: Outcome) -> None:
        """A Run has ended without an Attempt."""
        if job.delivery is None:
            self._end_of_wait(run, job, outcome)
        else:
            self._forget_late(run, job.delivery)

    def resumed(self, run: RunKey, live: Live) -> None:
        """An earlier daemon left this Run: a mail that sums up goes on with that."""
        delivery = live.job.delivery
        if delivery is None or live.number:
            return
        if delivery.occasion is Occasion.LATE:
            self._late.setdefault(_told(run, delivery), []).append(run)
        if delivery.occasion is not Occasion.SUMMARY:
            return
        hour = MailHour(live.planned - HOUR, self._rules.mails_per_hour, run)
        self._hours.put(delivery.job_id, hour)

    def left(self, run: RunKey, live: Live) -> None:
        """The daemon stops: this Run waits in the store, and what it tells may still change."""
        if live.job.is_message and not live.number:
            self._left.add(run)

    def waits_for_other(self, run: RunKey, job: Job) -> bool:
        """Whether a Run may not start yet because of another Run.

        The ping of an end waits for that of the start: the other order would mean a second start.
        """
        delivery = job.delivery
        if delivery is None or delivery.kind is not DeliveryKind.PING:
            return False
        start = ping_start_id(delivery.job_id)
        return start != run.job_id and run._replace(job_id=start) in self._live

    # ---- which deliveries

    def _wanted(self, run: RunKey, job: Job, end: RunEnd) -> Iterator[Job]:
        """The deliveries about a Run that has ended."""
        was_late = self._end_of_wait(run, job, end.outcome)
        late_is_over = end.succeeded and was_late
        turn = self._turn(job, end)
        if end.failed and (hook := failure_hook(job, run, end.outcome, end.exit_status)):
            yield hook
        if ping := ping_job(job, Occasion.SUCCEEDED if end.succeeded else Occasion.FAILED):
            yield ping
        recovered = Occasion.RECOVERED if late_is_over else turn
        if told := Occasion.FAILED if end.failed else recovered:
            yield from self._notifications.wanted(job, told, self._space.now.wall)
        occasion = _mail_occasion(job, end, turn, late_is_over=late_is_over)
        if occasion is not None and (mail := self._mail_of(job)):
            yield mail_job(job, occasion, mail)

    def _late_jobs(self, job: Job) -> Iterator[Job]:
        """The deliveries that tell that a Run of this Job is late."""
        yield from self._notifications.wanted(job, Occasion.LATE, self._space.now.wall)
        if job.settings.mail_on is not MailOn.NEVER and (mail := self._mail_of(job)):
            yield mail_job(job, Occasion.LATE, mail)

    def _end_of_wait(self, run: RunKey, job: Job, outcome: Outcome) -> bool:
        """Whether a Run that has ended was said to be late; one that has succeeded is not late.

        Its entry may say something else by now than when the Run came to be.
        """
        waiting = [key for key in self._late.get(run, ()) if self._waits(key)]
        if outcome is Outcome.SUCCEEDED or outcome in DELIBERATE:
            self._late.pop(run, None)
            for key in waiting:
                if key not in self._left:
                    self._live.step(key, Step.GIVEN_UP)
                self._space.out.records.append(RecordDiscarded(key))
        within = job.settings.expect_within
        if waiting or within is None or self._space.now.wall < run.fire_time + within:
            return False
        return any(True for _ in self._late_jobs(job))

    def _waits(self, delivery: RunKey) -> bool:
        """Whether the time of this delivery has not come yet."""
        live = self._live.get(delivery)
        if live is None:
            return delivery in self._left
        return live.state is State.WAITING and not live.number

    def _forget_late(self, run: RunKey, delivery: Delivery) -> None:
        """A delivery has ended."""
        if delivery.occasion is Occasion.LATE:
            self._late.pop(_told(run, delivery), None)

    def _turn(self, job: Job, end: RunEnd) -> Occasion | None:
        """FAILED or RECOVERED if the Job has turned from success to failure, or back."""
        wanted = job.settings.mail_on is MailOn.CHANGE or job.settings.notify
        decided = end.succeeded or end.failed
        if not wanted or not decided or end.failed is (job.id in self._failing):
            return None
        self._space.out.records.append(RecordFailing(job.id, end.failed))
        if end.failed:
            self._failing.add(job.id)
            return Occasion.FAILED
        self._failing.remove(job.id)
        return Occasion.RECOVERED

    def _mail_of(self, job: Job) -> Mail | None:
        """Where a mail goes; None if there is none, or if there is no way to send it."""
        mail = mail_of(job, to_owner=self._rules.to_owner) if self._rules.mail else None
        if mail is not None and self._no_mail:
            if not self._no_mail_is_logged:
                self._space.out.logs.append(reports.mail_nowhere(self._no_mail))
            self._no_mail_is_logged = True
            return None
        return mail

    # ---- their Runs

    def _tell(self, run: RunKey, job: Job, delivery: Job) -> None:
        """Record a delivery about this Run of the Job."""
        key = _key(delivery, run)
        assert delivery.delivery is not None
        match delivery.delivery.kind:
            case DeliveryKind.HOOK:
                self._begin_now(key, delivery)
            case DeliveryKind.MAIL:
                self._mail(run, job, delivery)
            case _:
                self._begin(key, delivery)

    def _begin_now(self, key: RunKey, delivery: Job) -> None:
        """Record a delivery that enters the queue at once; it waits in the store while stopping."""
        self._space.out.records.append(RecordRun(key, delivery))
        if not self._space.stopping:
            self._queue.enqueue(
                key, self._live.enter(key, delivery, self._space.now.wall, Step.DUE)
            )

    def _begin(self, key: RunKey, delivery: Job, planned: float = 0.0) -> None:
        """Record a delivery that starts at a UTC second, or a moment from now."""
        planned = max(planned, self._space.now.wall + _DELAY)
        self._space.out.records.append(RecordRun(key, delivery, planned=planned))
        if self._space.may_begin(planned):
            self._live.enter(key, delivery, planned, Step.DUE)
            self._space.timers.set(planned, key)
        else:
            self._left.add(key)

    def _mail(self, run: RunKey, job: Job, mail: Job) -> None:
        """Record a mail; too many of one Job in an hour are summed up in one that ends the hour."""
        hour = self._hours.of(job.id, self._space.now.wall)
        if hour.count < self._rules.mails_per_hour:
            hour.count += 1
            self._begin(_key(mail, run), mail)
            return
        if hour.summary is None or not self._waits(hour.summary):
            assert mail.delivery is not None
            assert isinstance(mail.delivery.target, Mail)
            summary = mail_job(job, Occasion.SUMMARY, mail.delivery.target)
            hour.summary = _key(summary, run)
            self._begin(hour.summary, summary, hour.end)
        key, reason = _key(mail, run), f"summed up in {hour.summary}"
        records = RecordRun(key, mail), RecordNotStarted(key, Outcome.SKIPPED, reason)
        self._space.out.records += records


def _key(delivery: Job, run: RunKey) -> RunKey:
    """The Run of a delivery that tells about this Run."""
    return run._replace(job_id=delivery.id)


def _told(run: RunKey, delivery: Delivery) -> RunKey:
    """The Run that the Run of a delivery tells about."""
    return run._replace(job_id=delivery.job_id)


def _mail_occasion(
    job: Job, end: RunEnd, turn: Occasion | None, *, late_is_over: bool
) -> Occasion | None:
    """What a mail about a Run that has ended tells; None if there is no mail, by CRON_MAIL_ON.

    The end of a Run that was said to be late is told, too.
    """
    recovered = turn is Occasion.RECOVERED or late_is_over
    told = Occasion.FAILED if end.failed else Occasion.OUTPUT
    match job.settings.mail_on:
        case MailOn.NEVER:
            return None
        case MailOn.ALWAYS:
            wanted = True
        case MailOn.FAILURE:
            wanted = end.failed
        case MailOn.CHANGE:
            wanted = turn is not None
        case MailOn.OUTPUT:
            # The flag -n of OpenBSD and cronie: no mail after a Run that has succeeded.
            wanted = end.printed > 0 and not (end.succeeded and "n" in job.flags)
    if not (wanted or late_is_over):
        return None
    return Occasion.RECOVERED if recovered else told
