"""The slots of a worker: how many Runs it has at once, and which message is next."""

import select
import threading
from collections.abc import Callable

from pycron.protocol.work_messages import WorkRequest
from pycron.worker.slots import Slots
from tests.support.waiting import until


class Work:
    """Work that lasts until it is released."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.may_end = threading.Semaphore(0)

    def __call__(self, request: WorkRequest) -> None:
        self.begun.append(request.name)
        assert self.may_end.acquire(timeout=30)


def offer(slots: Slots, rank: int, name: str, accepted: list[str]) -> None:
    slots.offer(rank, WorkRequest(name=name), lambda: accepted.append(name))


def one_turn(slots: Slots, condition: Callable[[], bool]) -> None:
    def done() -> bool:
        if select.select([slots], [], [], 0.1)[0]:
            slots.turn()
        return condition()

    until(done)


def test_a_message_waits_for_a_slot_without_an_acknowledgement() -> None:
    work, accepted = Work(), list[str]()
    slots = Slots(2, work)
    for name in ("a", "b", "c"):
        offer(slots, 0, name, accepted)
    assert accepted == ["a", "b"]
    assert slots.taken == 2
    work.may_end.release()
    one_turn(slots, lambda: accepted == ["a", "b", "c"])
    work.may_end.release(2)
    slots.wait()
    assert slots.taken == 0


def test_the_most_urgent_comes_first_and_then_the_oldest() -> None:
    work, accepted = Work(), list[str]()
    slots = Slots(1, work)
    for rank, name in ((1, "first"), (2, "low"), (1, "a"), (0, "high"), (1, "b")):
        offer(slots, rank, name, accepted)
    work.may_end.release(5)
    one_turn(slots, lambda: len(accepted) == 5)
    assert accepted == ["first", "high", "a", "b", "low"]
    slots.wait()


def test_nothing_begins_while_the_slots_are_closed() -> None:
    work, accepted = Work(), list[str]()
    slots = Slots(1, work)
    slots.open = False
    offer(slots, 0, "a", accepted)
    assert not accepted
    slots.call(lambda: setattr(slots, "open", True))
    work.may_end.release()
    one_turn(slots, lambda: accepted == ["a"])
    slots.wait()


def test_messages_of_a_lost_connection_are_forgotten() -> None:
    work, accepted = Work(), list[str]()
    slots = Slots(1, work)
    offer(slots, 0, "a", accepted)
    offer(slots, 0, "b", accepted)
    slots.forget()
    work.may_end.release(2)
    slots.wait()
    assert accepted == ["a"]


def test_waiting_for_the_end_begins_nothing_more() -> None:
    work, accepted = Work(), list[str]()
    slots = Slots(1, work)
    offer(slots, 0, "a", accepted)
    offer(slots, 0, "b", accepted)
    work.may_end.release(2)
    slots.wait()
    assert work.begun == accepted == ["a"]
