"""Admission: which Runs are admitted, in what order, and that no limit is ever exceeded."""

import math
import random
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest

from pycron.engine.admission import Admission
from pycron.engine.limits import UNLIMITED, Limits, Pressure, PressureLimits
from pycron.model.job import Job, Source
from pycron.model.run import RunKey
from pycron.model.settings import Concurrency, Settings, job_limit
from pycron.schedule.expressions import Reboot
from tests.support.thoroughness import number_of


def job_of(
    name: str = "a",
    user: str = "alice",
    pool: str | None = None,
    priority: int = 0,
    most: int | None = None,
) -> Job:
    settings = Settings(pool=pool, priority=priority, max_running=most)
    return Job(name, name, Source(user, user), 1, user, Reboot(), name, None, (), settings)


class Queue:
    """An Admission with a clock; a Run is known by a number, which is its fire time."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        self.admission = Admission(limits)
        self.steady = 0.0

    def enqueue(self, number: int, job: Job, due: float | None = None) -> RunKey:
        run = RunKey(job.id, number)
        self.admission.enqueue(run, job, number if due is None else due)
        return run

    def admit(self, most: int | None = None) -> list[int]:
        """Admit what may start now; the numbers of these Runs."""
        found: list[int] = []
        while most is None or len(found) < most:
            run = self.admission.admit_next(self.steady)
            if run is None:
                break
            found.append(run.fire_time)
        return found

    def end(self, job: Job, number: int) -> None:
        self.admission.release(RunKey(job.id, number))


# ---- each limit, the reason for waiting, and the end of the wait


A, B = job_of("a"), job_of("b", user="bob")
IN_POOL = job_of("p", pool="db")
ALONE = job_of("one", most=1)


@pytest.mark.parametrize(
    ("limits", "job", "why"),
    [
        (Limits(running=1), A, "limits.running is 1"),
        (Limits(user_running=1), A, "limits.user_running is 1"),
        (Limits(pools={"db": 1}), IN_POOL, "pools.db is 1"),
        (UNLIMITED, ALONE, "as many of this job run as may (1)"),
    ],
)
def test_at_a_limit_the_next_run_waits_until_one_ends(limits: Limits, job: Job, why: str) -> None:
    queue = Queue(limits)
    queue.enqueue(1, job)
    second = queue.enqueue(2, job)
    assert queue.admit() == [1]
    assert queue.admission.waits_for(second) == why
    assert queue.admission.recheck_after() == math.inf
    queue.end(job, 1)
    assert queue.admit() == [2]
    assert (queue.admission.running, queue.admission.waiting) == (1, 0)


@pytest.mark.parametrize(
    ("limits", "other"),
    [
        (Limits(user_running=1), B),
        (Limits(pools={"db": 1}), A),
        (Limits(pools={"db": 1, "net": 1}), job_of("n", pool="net")),
        (UNLIMITED, A),
    ],
)
def test_a_run_that_the_limit_does_not_apply_to_is_admitted(limits: Limits, other: Job) -> None:
    job = IN_POOL if limits.pools else ALONE if limits == UNLIMITED else A
    queue = Queue(limits)
    for number in (1, 2, 3):
        queue.enqueue(number, job)
    queue.enqueue(4, other)
    assert sorted(queue.admit()) == [1, 4]


def test_nothing_is_admitted_while_the_machine_is_too_busy() -> None:
    queue = Queue()
    run = queue.enqueue(1, A)
    queue.admission.closed = "the load is 9.0 (limits.load is 4)"
    assert queue.admit() == []
    assert queue.admission.waits_for(run) == "the load is 9.0 (limits.load is 4)"
    assert queue.admission.recheck_after() == 1.0
    queue.admission.closed = None
    assert queue.admit() == [1]


def configure(queue: Queue, limits: Limits, load: float | None = None) -> None:
    """Change the limits; nothing starts while the load is above 4."""
    pressure = None if load is None else Pressure(load, 0)
    queue.admission.configure(limits, PressureLimits(load=4), pressure)


def test_a_raised_limit_admits_more() -> None:
    queue = Queue(Limits(running=1, pools={"db": 1}))
    for number in range(4):
        queue.enqueue(number, IN_POOL)
    assert queue.admit() == [0]
    configure(queue, Limits(running=2, pools={"db": 3}))
    assert queue.admit() == [1]
    configure(queue, Limits(pools={}))  # a pool that is not named has no limit
    assert queue.admit() == [2, 3]


def test_a_lowered_limit_lets_what_is_admitted_be() -> None:
    queue = Queue(Limits(running=3))
    runs = [queue.enqueue(number, A) for number in range(4)]
    assert queue.admit() == [0, 1, 2]
    configure(queue, Limits(running=1))
    assert queue.admission.running == 3
    for run in runs[:2]:
        queue.admission.release(run)
        assert queue.admit() == []
    assert queue.admission.waits_for(runs[3]) == "limits.running is 1"
    queue.admission.release(runs[2])
    assert queue.admit() == [3]


def test_a_shorter_queue_lets_what_waits_wait() -> None:
    queue = Queue(Limits(running=1))
    runs = [queue.enqueue(number, A) for number in range(3)]
    queue.admit()
    configure(queue, Limits(running=1, waiting=1))
    assert queue.admission.waiting == 2
    late = queue.enqueue(9, A)
    assert queue.admission.queue_full(late) == "the queue is full (limits.waiting is 1)"
    assert queue.admission.is_waiting(runs[2])


def test_a_change_looks_at_the_load_at_once() -> None:
    queue = Queue()
    configure(queue, UNLIMITED, load=9.0)
    queue.enqueue(1, A)
    assert queue.admit() == []
    configure(queue, UNLIMITED)
    assert queue.admit() == [1]


def test_a_change_of_the_start_rate_allows_no_burst() -> None:
    queue = Queue(Limits(starts_per_second=2))
    for number in range(30):
        queue.enqueue(number, A)
    assert len(queue.admit()) == 2
    configure(queue, Limits(starts_per_second=2))
    assert queue.admit() == []
    configure(queue, Limits(starts_per_second=8))
    assert queue.admit() == []
    queue.steady += 1
    assert len(queue.admit()) == 8
    configure(queue, Limits(starts_per_second=1))
    queue.steady += 5
    assert len(queue.admit()) == 1
    configure(queue, UNLIMITED)
    assert len(queue.admit()) == 19
    for number in range(30, 40):
        queue.enqueue(number, A)
    configure(queue, Limits(starts_per_second=3))
    assert len(queue.admit()) == 3


def test_the_rate_of_a_pool_changes() -> None:
    queue = Queue(Limits(pool_rates={"db": 1}))
    for number in range(9):
        queue.enqueue(number, IN_POOL)
    assert queue.admit() == [0]
    configure(queue, Limits(pool_rates={"db": 1, "net": 1}))
    assert queue.admit() == []
    configure(queue, Limits(pool_rates={"db": 2}))
    queue.steady += 1
    assert queue.admit() == [1, 2]
    configure(queue, UNLIMITED)
    assert len(queue.admit()) == 6


def test_the_start_rate_allows_a_burst_and_then_so_many_a_second() -> None:
    queue = Queue(Limits(starts_per_second=4))
    runs = [queue.enqueue(number, A) for number in range(20)]
    assert len(queue.admit()) == 4
    assert queue.admission.waits_for(runs[-1]) == "limits.starts_per_second is 4"
    assert queue.admission.recheck_after() == pytest.approx(0.25)
    found = []
    for _ in range(12):
        queue.steady += 0.25
        found.append(len(queue.admit()))
    assert found == [1] * 12
    queue.steady += 3600
    assert len(queue.admit()) == 4  # an hour without starts saves up no more than a burst
    assert queue.admission.recheck_after() == math.inf
    assert queue.admission.running == 20


def test_a_steady_clock_that_goes_back_allows_no_start_and_takes_none_away() -> None:
    queue = Queue(Limits(starts_per_second=1))
    for number in range(3):
        queue.enqueue(number, A)
    queue.steady = 100.0
    assert queue.admit() == [0]
    queue.steady = 50.0
    assert queue.admit() == []
    queue.steady = 51.0
    assert queue.admit() == [1]


def test_without_a_limit_a_run_waits_for_its_turn() -> None:
    queue = Queue()
    assert queue.admission.waits_for(queue.enqueue(1, A)) == "its turn"


# ---- the order


def test_priority_comes_first_then_turns_then_the_due_time() -> None:
    """As far as the ceiling allows it; without one, bob would have waited for his turn."""
    queue = Queue(Limits(running=1, priority=5))
    low, high = job_of("low"), job_of("high", user="bob", priority=5)
    asked = [(1, low), (2, low), (3, B), (9, low), (4, high), (8, B)]
    for number, job in asked:
        queue.enqueue(number, job)
    order: list[int] = []
    while admitted := queue.admit():
        order += admitted
        for job in (low, high, B):
            queue.end(job, admitted[0])
    # The high one was bob's turn, so alice is next
    assert order == [4, 1, 3, 2, 8, 9]


def test_a_priority_orders_the_runs_of_its_user_and_passes_no_other_user() -> None:
    queue = Queue(Limits(running=1))
    high = job_of("high", priority=1000)
    for number in (1, 2):
        queue.enqueue(number, A)
    for number in (3, 4):
        queue.enqueue(number, high)
    for number in (5, 6):
        queue.enqueue(number, B)
    order: list[int] = []
    while admitted := queue.admit():
        order += admitted
        queue.end(A, admitted[0])
        queue.end(high, admitted[0])
        queue.end(B, admitted[0])
    assert order == [3, 5, 4, 6, 1, 2]


def test_a_low_priority_lets_other_users_pass_and_a_system_table_passes_all() -> None:
    queue = Queue(Limits(running=1))
    low = job_of("low", user="carol", priority=-1)
    system = replace(job_of("s", user="root", priority=3), source=Source("/etc/pycron.d/x", None))
    for number, job in enumerate((low, A, B, system)):
        queue.enqueue(number, job)
    order: list[int] = []
    while admitted := queue.admit():
        order += admitted
        for job in (low, A, B, system):
            queue.end(job, admitted[0])
    assert order == [3, 1, 2, 0]


# ---- what is kept for users who have nothing running


def knowing(limits: Limits, **pools: set[str]) -> Queue:
    """A queue for these users with Jobs, by pool."""
    queue = Queue(limits)
    found = {None if pool == "no_pool" else pool: frozenset(users) for pool, users in pools.items()}
    queue.admission.know_users(found)
    return queue


@pytest.mark.parametrize(
    ("most", "users", "admitted"),
    [
        (16, {"alice", "bob"}, 14),
        (2, {"alice", "bob"}, 1),
        (1, {"alice", "bob"}, 1),  # it cannot be divided
        (16, {"alice"}, 16),  # there is nobody else
    ],
)
def test_an_eighth_is_kept_for_users_who_have_nothing_running(
    most: int, users: set[str], admitted: int
) -> None:
    queue = knowing(Limits(running=most), no_pool=users)
    runs = [queue.enqueue(number, A) for number in range(20)]
    assert len(queue.admit()) == admitted
    kept = most - admitted
    why = f"limits.running is {most}"
    assert queue.admission.waits_for(runs[-1]) == (
        f"{why}, and {kept} are kept for users who have nothing running" if kept else why
    )
    queue.enqueue(99, B)
    assert queue.admit()[:1] == ([99] if kept else [])


def test_of_a_pool_an_eighth_is_kept_for_its_users() -> None:
    bob = job_of("bob", user="bob", pool="db")
    queue = knowing(Limits(pools={"db": 8}), no_pool={"carol"}, db={"alice", "bob"})
    runs = [queue.enqueue(number, IN_POOL) for number in range(9)]
    assert len(queue.admit()) == 7
    assert queue.admission.waits_for(runs[-1]) == (
        "pools.db is 8, and 1 are kept for users who have nothing running"
    )
    queue.enqueue(50, bob)
    assert queue.admit() == [50]
    queue.end(IN_POOL, 0)
    assert queue.admit() == [7]  # both have something running, so nothing is kept


# ---- the share of a user


def test_the_share_of_a_user_is_averaged_over_a_minute() -> None:
    queue = Queue(Limits(user_starts_per_second=2))
    runs = [queue.enqueue(number, A) for number in range(300)]
    assert len(queue.admit()) == 120
    assert queue.admission.waits_for(runs[-1]) == "limits.user_starts_per_second is 2"
    for number in range(300, 310):
        queue.enqueue(number, B)
    assert len(queue.admit()) == 10  # the share is each user's own
    found = 0
    while queue.steady < 60:
        pause = queue.admission.recheck_after()
        assert pause >= 0.05  # no wake-up for each start
        queue.steady += pause
        found += len(queue.admit())
    assert 118 <= found <= 122


def test_a_share_that_is_used_up_wakes_nobody_while_a_limit_is_reached() -> None:
    queue = Queue(Limits(user_running=3, user_starts_per_second=0.05))
    for number in range(9):
        queue.enqueue(number, A)
    assert len(queue.admit()) == 3
    assert queue.admission.recheck_after() == math.inf


def test_of_one_users_runs_the_first_due_is_first_whatever_the_order_of_enqueueing() -> None:
    queue = Queue(Limits(running=1))
    for number in (5, 3, 9, 1):
        queue.enqueue(number, A)
    order = []
    while admitted := queue.admit():
        order += admitted
        queue.end(A, admitted[0])
    assert order == [1, 3, 5, 9]


def test_users_take_turns_across_all_pools() -> None:
    """A user with many Runs in one pool and one Run in another does not delay other users."""
    queue = Queue(Limits(running=1, pools={"db": 9}))
    carol = job_of("c", user="carol")
    for number in range(100):
        queue.enqueue(number, A)
        queue.enqueue(number + 500, carol)
    queue.enqueue(200, IN_POOL)
    queue.enqueue(300, job_of("bobs", user="bob", pool="db"))
    order: list[int] = []
    for _ in range(4):
        order += queue.admit()
        for job in (A, carol):
            queue.end(job, order[-1])
    assert 300 in order[:3]


def test_10_000_runs_of_one_user_do_not_delay_another_user() -> None:
    queue = Queue(Limits(running=1))
    for number in range(10_000):
        queue.enqueue(number, A)
    queue.enqueue(20_000, B)
    assert queue.admit() == [0]
    queue.end(A, 0)
    assert queue.admit() == [20_000]
    queue.end(B, 20_000)
    rest: list[int] = []
    while admitted := queue.admit():
        rest += admitted
        queue.end(A, admitted[0])
    assert rest == list(range(1, 10_000))


def test_10_000_runs_of_a_job_that_may_run_once_at_a_time() -> None:
    queue = Queue()
    for number in range(10_000):
        queue.enqueue(number, ALONE)
    for number in range(10_000):
        assert queue.admit() == [number]
        queue.end(ALONE, number)
    assert (queue.admission.running, queue.admission.waiting) == (0, 0)


def test_1_000_users_with_one_run_each() -> None:
    queue = Queue(Limits(running=500))
    jobs = [job_of(f"j{n}", user=f"u{n}") for n in range(1000)]
    for number, job in enumerate(jobs):
        queue.enqueue(number, job)
    assert queue.admit() == list(range(500))


# ---- withdrawn


@pytest.mark.parametrize("gone", range(4))
@pytest.mark.parametrize("job", [A, IN_POOL, ALONE, job_of("high", priority=3)])
def test_a_run_can_be_withdrawn_wherever_it_waits(gone: int, job: Job) -> None:
    queue = Queue(Limits(running=1))
    runs = [queue.enqueue(number, job) for number in range(4)]
    queue.admission.withdraw(runs[gone])
    queue.admission.withdraw(runs[gone])
    assert not queue.admission.is_waiting(runs[gone])
    order = []
    while admitted := queue.admit():
        order += admitted
        queue.end(job, admitted[0])
    assert order == [number for number in range(4) if number != gone]
    assert queue.admission.waiting == 0


@pytest.mark.parametrize(
    "change",
    [{"pool": "db"}, {"priority": 5}, {"priority": -5}, {"max_running": 3}, {"timeout": 9}],
)
def test_a_run_that_waits_again_with_a_changed_job_is_admitted_once(
    change: dict[str, int | str],
) -> None:
    queue = Queue(Limits(running=1, pools={"db": 1}))
    changed = replace(A, settings=replace(A.settings, **change))  # type: ignore[arg-type]
    for number in (1, 2):
        queue.enqueue(number, changed)
    moved = queue.enqueue(3, A, due=0)
    queue.admission.withdraw(moved)
    queue.enqueue(3, changed)
    order = []
    while admitted := queue.admit():
        order += admitted
        queue.end(A, admitted[0])
    assert order == [1, 2, 3]


def test_withdrawing_a_run_makes_room_for_the_next_of_its_job() -> None:
    queue = Queue()
    first, second = queue.enqueue(1, ALONE), queue.enqueue(2, ALONE)
    assert queue.admission.waits_for(second) == "as many of this job run as may (1)"
    queue.admission.withdraw(first)
    assert queue.admit() == [2]


# ---- admitted past the limits


@pytest.mark.parametrize(
    ("limits", "job"),
    [
        (Limits(running=1), A),
        (Limits(user_running=1), A),
        (Limits(pools={"db": 1}), IN_POOL),
        (UNLIMITED, ALONE),
    ],
)
def test_a_run_admitted_past_a_limit_counts_until_it_is_released(limits: Limits, job: Job) -> None:
    queue = Queue(limits)
    for number in (1, 2):
        queue.admission.admit_past_limits(RunKey(job.id, number), job)
    waits = queue.enqueue(3, job)
    assert queue.admission.running == 2
    queue.end(job, 1)
    assert queue.admit() == []
    assert queue.admission.is_waiting(waits)
    queue.end(job, 2)
    queue.end(job, 2)
    assert queue.admit() == [3]


def test_a_waiting_run_can_be_admitted_past_the_limits() -> None:
    queue = Queue(Limits(running=1))
    queue.enqueue(1, A)
    second = queue.enqueue(2, A)
    assert queue.admit() == [1]
    queue.admission.admit_past_limits(second, A)
    assert queue.admission.is_admitted(second)
    assert not queue.admission.is_waiting(second)
    assert (queue.admission.running, queue.admission.waiting) == (2, 0)


def test_a_waiting_run_is_held_back_when_another_of_its_job_is_admitted_past_the_limits() -> None:
    pooled = job_of("one", pool="db", most=1)
    queue = Queue(Limits(pools={"db": 1}))
    queue.enqueue(0, IN_POOL)
    assert queue.admit() == [0]
    waits = queue.enqueue(1, pooled)
    queue.admission.admit_past_limits(RunKey(pooled.id, 2), pooled)
    assert queue.admission.waits_for(waits) == "as many of this job run as may (1)"
    queue.end(IN_POOL, 0)
    assert queue.admit() == []
    queue.end(pooled, 2)
    assert queue.admit() == [1]


def test_a_lowered_limit_of_a_job_applies_to_waiting_runs() -> None:
    """More Runs than the new limit may run already; the next Run waits until they have ended."""
    three = job_of("a", most=3)
    queue = Queue()
    for number in range(3):
        queue.enqueue(number, three)
    assert queue.admit() == [0, 1, 2]
    one = job_of("a", most=1)
    queue.enqueue(3, one)
    for number in range(2):
        queue.end(three, number)
        assert queue.admit() == []
    queue.end(three, 2)
    assert queue.admit() == [3]


# ---- a full queue


def test_the_queue_is_full() -> None:
    queue = Queue(Limits(running=0, waiting=2, user_waiting=1))
    runs = [queue.enqueue(1, A)]
    assert queue.admission.queue_full(runs[0]) is None
    runs.append(queue.enqueue(2, A))
    assert queue.admission.queue_full(runs[1]) == (
        "the queue of alice is full (limits.user_waiting is 1)"
    )
    queue.enqueue(3, B)
    assert queue.admission.queue_full(runs[1]) == "the queue is full (limits.waiting is 2)"
    queue.admission.withdraw(runs[1])
    assert queue.admission.queue_full(runs[0]) is None


def test_pools_gives_the_use_and_the_limit_of_each_pool() -> None:
    queue = Queue(Limits(pools={"db": 2, "net": 1}))
    queue.enqueue(1, IN_POOL)
    queue.admit()
    assert queue.admission.pools() == {"db": (1, 2), "net": (0, 1)}


# ---- a random walk, compared with a slow reference that looks at every Run


@dataclass
class Reference:
    """The rules once more: plain dictionaries, and a look at every Run for each question."""

    limits: Limits
    waiting: dict[RunKey, tuple[Job, float]] = field(default_factory=dict)
    running: dict[RunKey, Job] = field(default_factory=dict)
    last_turn: Counter[str] = field(default_factory=Counter)
    serial: int = 0

    def number(self) -> int:
        self.serial += 1
        return self.serial

    def has_room(self, job: Job) -> bool:
        """Whether one more of this Job may run."""
        users = sum(other.user == job.user for other in self.running.values())
        in_pool = sum(other.settings.pool == job.settings.pool for other in self.running.values())
        of_job = sum(other.id == job.id for other in self.running.values())
        pool = self.limits.pools.get(job.settings.pool or "")
        return all(
            most is None or taken < most
            for taken, most in (
                (len(self.running), self.limits.running),
                (users, self.limits.user_running),
                (in_pool, pool),
                (of_job, job_limit(job.settings)),
            )
        )

    def eligible(self) -> list[RunKey]:
        return [run for run, (job, _) in self.waiting.items() if self.has_room(job)]

    def best(self) -> tuple[int, int, int, float]:
        """The best rank that may be admitted; Runs of a Job with a limit are left out.

        Of such a Job, any waiting Run may be the one in the queue of the pool.
        """
        ranks = [self.rank(run) for run in self.eligible() if self.has_no_job_limit(run)]
        return min(ranks, default=(9999, 0, 0, 0.0))

    def has_no_job_limit(self, run: RunKey) -> bool:
        return job_limit(self.waiting[run][0].settings) is None

    def rank(self, run: RunKey) -> tuple[int, int, int, float]:
        job, due = self.waiting[run]
        own = job.settings.priority
        return -min(own, self.limits.priority), self.last_turn[job.user], -own, due


WALK_LIMITS = [
    Limits(running=7, user_running=4, pools={"db": 2, "net": 1}),
    Limits(running=3, starts_per_second=5, priority=1000),
    Limits(user_running=2, pools={"db": 3}),
    Limits(running=20, pools={"db": 1, "net": 2}, starts_per_second=20),
]


def some_jobs(dice: random.Random) -> list[Job]:
    def one(number: int) -> Job:
        settings = Settings(
            pool=dice.choice([None, None, "db", "net"]),
            priority=dice.choice([0, 0, 0, 5, -5]),
            max_running=dice.choice([None, None, 1, 2]),
            concurrency=dice.choice([None, Concurrency.FORBID, Concurrency.QUEUE]),
        )
        return replace(job_of(f"j{number}", user=dice.choice("abc")), settings=settings)

    return [one(number) for number in range(15)]


class Walk:
    """An Admission and the reference, with the same random events."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.limits = WALK_LIMITS[seed % len(WALK_LIMITS)]
        self.admission = Admission(self.limits)
        self.reference = Reference(self.limits)
        self.jobs = some_jobs(self.dice)
        self.steady = 0.0
        self.number = 0
        self.admitted = 0

    def step(self, *, thorough: bool) -> None:
        what = self.dice.random()
        if what < 0.40:
            self.enqueue()
        elif what < 0.75:
            self.release()
        elif what < 0.83 and self.reference.waiting:
            self.withdraw(self.dice.choice(list(self.reference.waiting)))
        elif what < 0.86:
            self.admit_past_limits()
        elif what < 0.87:
            self.change_job()
        elif what < 0.90:
            self.admission.closed = self.dice.choice([None, None, "the load is 9.0"])
        else:
            self.pass_time(self.dice.choice([0.001, 0.1, 0.5, 3.0]))
        self.admit(thorough=thorough)
        assert self.admission.running == len(self.reference.running)
        assert self.admission.waiting == len(self.reference.waiting)

    def enqueue(self) -> None:
        if len(self.reference.waiting) > 60:
            return
        job = self.dice.choice(self.jobs)
        self.number += 1
        run = RunKey(job.id, self.number)
        due = self.number - self.dice.choice([0, 0, 7])
        self.admission.enqueue(run, job, due)
        self.reference.waiting[run] = job, due

    def release(self) -> None:
        if not self.reference.running:
            return
        run = self.dice.choice(list(self.reference.running))
        self.admission.release(run)
        del self.reference.running[run]

    def withdraw(self, run: RunKey) -> None:
        self.admission.withdraw(run)
        del self.reference.waiting[run]

    def admit_past_limits(self) -> None:
        job = self.dice.choice(self.jobs)
        self.number += 1
        run = RunKey(job.id, self.number)
        self.admission.admit_past_limits(run, job)
        self.reference.running[run] = job

    def change_job(self) -> None:
        """The entry is edited: its waiting Runs are enqueued again, its running ones stay."""
        index = self.dice.randrange(len(self.jobs))
        old = self.jobs[index]
        settings = replace(
            old.settings,
            pool=self.dice.choice([None, "db", "net"]),
            priority=self.dice.choice([0, 5]),
            max_running=self.dice.choice([None, 1, 2, 3]),
        )
        new = self.jobs[index] = replace(old, settings=settings)
        for run, (job, due) in list(self.reference.waiting.items()):
            if job.id == new.id:
                self.withdraw(run)
                self.admission.enqueue(run, new, due)
                self.reference.waiting[run] = new, due

    def pass_time(self, seconds: float) -> None:
        self.steady += seconds

    def admit(self, *, thorough: bool) -> None:
        while (run := self.admission.admit_next(self.steady)) is not None:
            assert self.admission.closed is None
            job, _ = self.reference.waiting[run]
            assert self.reference.has_room(job), run
            if thorough:
                assert self.reference.rank(run) <= self.reference.best()
            del self.reference.waiting[run]
            self.reference.running[run] = job
            self.reference.last_turn[job.user] = self.reference.number()
            self.admitted += 1
        rate = self.limits.starts_per_second
        if rate is not None:
            assert self.admitted <= rate * (1 + self.steady) + 1e-6
        if (
            thorough
            and self.admission.closed is None
            and self.admission.recheck_after() == math.inf
        ):
            assert self.reference.eligible() == []
        if thorough:
            for run in self.reference.waiting:
                self.check_reason(run)

    def check_reason(self, run: RunKey) -> None:
        """The reason that Admission gives for the waiting of a Run is true."""
        job, _ = self.reference.waiting[run]
        why, runs = self.admission.waits_for(run), self.reference.running.values()
        if why.startswith("as many"):
            most = job_limit(job.settings)
            same = [other for other in runs if other.id == job.id]
            waiting = [other for other, _ in self.reference.waiting.values() if other.id == job.id]
            assert most is not None
            assert len(same) + len(waiting) > most
        elif why.startswith("limits.running"):
            assert len(runs) >= (self.limits.running or 0)
        elif why.startswith("limits.user_running"):
            users = [other for other in runs if other.user == job.user]
            assert len(users) >= (self.limits.user_running or 0)
        elif why.startswith("pools."):
            pool = job.settings.pool
            in_pool = [other for other in runs if other.settings.pool == pool]
            assert pool is not None
            assert len(in_pool) >= self.limits.pools[pool]
        elif why.startswith("limits.starts"):
            assert self.admission.recheck_after() < math.inf
        else:
            assert why == self.admission.closed


@pytest.mark.parametrize("seed", range(len(WALK_LIMITS)))
def test_a_million_events(seed: int) -> None:
    """A quarter of them for each seed: no limit is exceeded, and no Run waits that may start.

    A run that is not thorough takes the first tenth.
    """
    walk = Walk(seed)
    events = number_of(25_000, 250_000)
    for number in range(events):
        walk.step(thorough=number % 1000 < 5)
    assert walk.admitted > events / 10
