"""The output of an Attempt: the part that a page shows, and the events of one that grows."""

import json
import time
from binascii import a2b_base64
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
from starlette.requests import Request

from pycron.control.client import ControlError
from pycron.protocol.control_answers import OutputAnswer
from pycron.protocol.control_messages import OutputRequest
from pycron.web.daemon import Busy
from pycron.web.views.ansi import Part, Terminal
from pycron.web.views.viewing import ask

_SHOWN = 128 * 1024  # bytes of the end of an output, on a page
_BEHIND = 2**20  # bytes; a browser that is further behind is shown the end
_POLL = 0.25, 1.0  # seconds between two questions for an output that grows: at first, at most
_SIGN_OF_LIFE = 15.0  # seconds without an event after which a comment is sent
_LONGEST = 600.0  # seconds of a stream; then the browser asks again, and is checked again


def plain_in(request: Request) -> bool:
    """Whether the viewer wants output without colours."""
    return request.cookies.get("ansi") == "plain"


@dataclass(frozen=True, slots=True)
class ShownOutput:
    """A part of an output. `begin` and `end`: its first byte, and the one behind its last one.

    `size`: how many bytes are kept, `printed`: how many there were. `grows`: more may come.
    """

    attempt: int
    parts: list[Part]
    begin: int
    end: int
    size: int
    printed: int
    grows: bool


async def shown_output(
    request: Request, run_id: str, attempt: int, offset: int | None
) -> ShownOutput:
    """The output from byte `offset` on; None: the end of it. Raises ControlError."""
    tail = _SHOWN if offset is None else None
    wanted = OutputRequest(run_id, attempt, offset or 0, follow=True, tail=tail)
    answer = await ask(request, wanted)
    data, begin = a2b_base64(answer["data"]), answer.get("begin", offset or 0)
    grows = not answer["ended"] and not answer["more"]
    if begin and offset is None:
        data, begin = _from_a_line(data, begin)
    if grows:
        data = data[: data.rfind(b"\n") + 1]
    end = begin + len(data)
    size = max(answer.get("size", end), end)
    parts = Terminal(plain_in(request)).feed(data, last=True)
    return ShownOutput(answer["attempt"], parts, begin, end, size, answer["output_bytes"] or size,
                       grows)  # fmt: skip


def _from_a_line(data: bytes, begin: int) -> tuple[bytes, int]:
    """The same without the rest of a line whose beginning is missing."""
    cut = data.find(b"\n") + 1
    return data[cut:], begin + cut


# ---- events


@dataclass(slots=True)
class Growing:
    """The events of a Run that has not ended, from a byte of an Attempt on.

    `output` has parts to show, `skipped` the number of bytes that the browser is too slow for,
    `attempt` the number of an Attempt that begins, `ended` how an Attempt ended; `over`: the Run
    has ended. The id of an event says where the next stream goes on.
    """

    request: Request
    run_id: str
    attempt: int
    offset: int

    async def events(self) -> AsyncIterator[bytes]:
        yield b"retry: 2000\n\n"
        try:
            async for event in self._events():
                yield event
        except (ControlError, Busy):
            return  # the browser asks again

    async def _events(self) -> AsyncIterator[bytes]:
        terminal = Terminal(plain_in(self.request))
        pause, sent = _POLL[0], time.monotonic()
        until = sent + _LONGEST
        while time.monotonic() < until:
            answer = await self._ask()
            skipped = self._skip(answer)
            if skipped:
                terminal = Terminal(terminal.plain)
                yield self._event("skipped", skipped)
                continue
            data = a2b_base64(answer["data"])
            if data:
                self.offset += len(data)
                pause, sent = _POLL[0], time.monotonic()
                yield self._event("output", terminal.feed(data))
            if answer["ended"]:
                yield self._event("output", terminal.feed(b"", last=True))
                yield self._event("ended", answer["outcome"])
                if answer["over"]:
                    yield self._event("over", None)
                    return
                terminal = Terminal(terminal.plain)
                self.attempt, self.offset = self.attempt + 1, 0
                yield self._event("attempt", self.attempt)
            elif not answer["more"]:
                await anyio.sleep(pause)
                pause = min(1.5 * pause, _POLL[1])
            if time.monotonic() - sent > _SIGN_OF_LIFE:
                sent = time.monotonic()
                yield b": \n\n"

    async def _ask(self) -> OutputAnswer:
        wanted = OutputRequest(self.run_id, self.attempt, self.offset, follow=True)
        return await ask(self.request, wanted)

    def _skip(self, answer: OutputAnswer) -> int:
        """Go on at the end of an output that grows faster than the browser reads."""
        behind = answer.get("size", 0) - self.offset
        if behind <= _BEHIND:
            return 0
        skipped = behind - _SHOWN
        self.offset += skipped
        return skipped

    def _event(self, kind: str, data: object) -> bytes:
        text = json.dumps(data)
        return f"id: {self.attempt}.{self.offset}\nevent: {kind}\ndata: {text}\n\n".encode()
