"""LogQueue and LogStream: nobody waits for who reads the log, and what is missing is counted."""

import errno
import json
import math
import os
import socket
import threading
from functools import partial

import pytest

from pycron.daemon.log import configure
from pycron.daemon.log_queue import MOST, MOST_OUTPUT, Encoding, LogQueue
from pycron.engine.actions import Log, Printed
from pycron.engine.log_events import Event
from pycron.system.log_stream import LogStream
from tests.support.journald import fill
from tests.support.waiting import until

LINES = 100
BLOCK = Printed("job", "run", "stdout", b"\n".join([b"x" * 99] * LINES))


class Reader:
    """A transport that takes everything, or nothing. `written`: the entries."""

    def __init__(self, reason: int = errno.EAGAIN) -> None:
        self.stopped = False
        self.reason = reason
        self.written: list[str] = []

    def write(self, data: bytes) -> int:
        if self.stopped:
            raise OSError(self.reason, "stopped")
        self.written.append(data.decode())
        return len(data)

    def close(self) -> None:
        pass

    def dropped(self) -> list[dict[str, int]]:
        return [json.loads(each) for each in self.written if each.startswith("{")]


def encode(event: Log, _at: float) -> bytes:
    """The fields of log_dropped as JSON; of another event its text."""
    if event.event is Event.LOG_DROPPED:
        return json.dumps(dict(event.fields)).encode()
    return str(event.fields["text"]).encode()


PLAIN = Encoding(encode, lambda printed, _at: iter(printed.lines.split(b"\n")))


def event(text: str = "event") -> Log:
    return Log(Event.ATTEMPT_ENDED, {"text": text})


def drain(queue: LogQueue) -> None:
    def drained() -> bool:
        queue.step()
        return queue.patience == math.inf

    until(drained)


def test_the_order_is_kept_and_output_waits_for_its_turn() -> None:
    reader = Reader()
    queue = LogQueue(reader, PLAIN)
    queue.put(event("first"))
    assert reader.written == ["first"]  # an event is written at once if nothing waits
    queue.put(BLOCK)
    queue.put(event("last"))
    assert reader.written == ["first"]
    drain(queue)
    assert reader.written == ["first", *["x" * 99] * LINES, "last"]


@pytest.mark.parametrize("reason", [errno.EAGAIN, errno.ENOSPC, errno.EPIPE])
def test_a_reader_that_stops_gets_everything_later_if_there_was_room(reason: int) -> None:
    """The same holds for a full disk, and for a FIFO that gets another reader."""
    reader = Reader(reason)
    queue = LogQueue(reader, PLAIN)
    reader.stopped = True
    for number in range(50):
        queue.put(event(str(number)))
        queue.put(BLOCK)
        queue.step()
    assert 0 < queue.patience < 1
    reader.stopped = False
    drain(queue)
    assert [each for each in reader.written if len(each) < 5] == [str(each) for each in range(50)]
    assert reader.written.count("x" * 99) == 50 * LINES
    assert reader.dropped() == []


def test_output_is_dropped_before_events_and_what_is_missing_is_counted() -> None:
    reader = Reader()
    queue = LogQueue(reader, PLAIN)
    reader.stopped = True
    blocks = 3 * MOST_OUTPUT // len(BLOCK.lines)
    for number in range(blocks):
        queue.put(BLOCK)
        queue.put(event(str(number)))
    reader.stopped = False
    drain(queue)
    events = [each for each in reader.written if each.isdecimal()]
    assert events == [str(number) for number in range(blocks)]
    shown = reader.written.count("x" * 99)
    assert MOST_OUTPUT * 0.8 < shown * 100 <= MOST_OUTPUT
    assert reader.dropped() == [{"lines": blocks * LINES - shown, "events": 0}]
    queue.put(BLOCK)  # the log moves again, so output is shown again
    drain(queue)
    assert reader.written.count("x" * 99) == shown + LINES


def test_events_are_dropped_when_they_alone_are_too_many() -> None:
    reader = Reader()
    queue = LogQueue(reader, PLAIN)
    reader.stopped = True
    count = 2 * MOST // 10_000
    for _ in range(count):
        queue.put(event("e" * 10_000))
    reader.stopped = False
    drain(queue)
    shown = sum(each.startswith("e") for each in reader.written)
    assert MOST * 0.8 < shown * 10_000 <= MOST
    assert reader.dropped() == [{"lines": 0, "events": count - shown}]


def test_commands_wait_for_a_slow_reader_and_not_for_one_that_has_stopped() -> None:
    reader = Reader()
    queue = LogQueue(reader, PLAIN)
    for _ in range(50):
        queue.put(BLOCK)
    assert not queue.takes_output
    reader.stopped = True
    queue.step()
    assert not queue.takes_output
    until(lambda: queue.takes_output, patience=3)
    reader.stopped = False
    drain(queue)
    assert queue.takes_output


def test_a_daemon_that_ends_does_not_wait_for_a_reader_that_has_stopped() -> None:
    reader = Reader()
    queue = LogQueue(reader, PLAIN)
    reader.stopped = True
    queue.put(event())
    queue.close()  # returns
    reader.stopped = False
    queue.close()
    assert reader.written == ["event"]


# ---- real streams


def filled(descriptor: int) -> LogStream:
    """A stream that takes no more."""
    stream = LogStream(descriptor)
    fill(lambda: stream.write(b"x" * 1000))
    return stream


def ends() -> list[tuple[int, int]]:
    """Pairs of descriptors: to read from, and to write to. They stay open."""
    ours, theirs = socket.socketpair()
    leader, follower = os.openpty()
    return [os.pipe(), (leader, follower), (ours.detach(), theirs.detach())]


def test_a_stream_that_nobody_reads_never_waits() -> None:
    for receiver, sender in ends():
        os.set_blocking(sender, True)  # as the standard error of most programs
        stream = filled(sender)
        assert os.get_blocking(sender)  # others may share it
        got = 0
        while got < 8192:
            got += len(os.read(receiver, 4096))
        assert until(partial(stream.write, b"y" * 100)) > 0
        stream.close()
        os.close(receiver)
        os.close(sender)


def test_a_pipe_that_cannot_be_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container whose user is not the one who made the pipe."""
    opened = os.open

    def refuse(path: str, flags: int) -> int:
        if path.startswith("/proc/self/fd/"):
            raise PermissionError
        return opened(path, flags)

    receiver, sender = os.pipe()
    monkeypatch.setattr(os, "open", refuse)
    stream = filled(sender)
    os.read(receiver, 65_536)
    assert stream.write(b"y" * 10_000) == 4096
    stream.close()
    os.close(receiver)
    os.close(sender)


def test_a_line_that_is_written_in_parts_stays_whole() -> None:
    """A pipe has less room than a line has bytes, so the line is written in parts."""
    receiver, sender = os.pipe()
    got: list[bytes] = []
    with os.fdopen(sender, "w") as stream:
        log = configure("logfmt", stream)
        for number in range(20):
            log.write(Log(Event.RESUMED, {"scope": f"{number}-" + "x" * 60_000}))

        def read() -> None:
            while data := os.read(receiver, 1000):
                got.append(data)

        reader = threading.Thread(target=read)
        reader.start()
        log.close()
    reader.join(10)
    os.close(receiver)
    lines = b"".join(got).decode().splitlines()
    assert [line.partition("scope=")[2].partition("-")[0] for line in lines] == [
        str(number) for number in range(20)
    ]
    assert {len(line.partition("-x")[2]) for line in lines} == {59_999}
