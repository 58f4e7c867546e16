"""Output of commands as text and colours, from the escape sequences of terminals.

A sequence that sets a colour or a weight (SGR of ECMA-48) becomes the name of a class of the style
sheet; every other sequence is left out. Other control characters are shown as escapes, so that a
command can show nothing that it has not printed.
"""

import codecs
import re
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

from pycron.model.text import visible

# Each part is bounded, so that a hostile text takes linear time.
_SEQUENCE = re.compile(
    r"\x1b(?:\[([0-?]{0,64})[ -/]{0,4}([@-~])"  # CSI
    r"|[\]PX^_][^\x07\x1b]{0,512}(?:\x07|\x1b\\)"  # OSC and other strings, with their end
    r"|[ -/]{0,4}[0-OQ-WYZ\\`-~])"
)
_LONGEST = 600  # characters of a sequence that is not whole yet
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
_ON = {1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "struck"}
_OFF = {
    22: ("bold", "faint"),
    23: ("italic",),
    24: ("underline",),
    27: ("inverse",),
    29: ("struck",),
}

Part = tuple[str, str]  # the classes, with spaces between them, and a text


@dataclass(slots=True)
class Terminal:
    """Makes parts of the output of an Attempt, which comes in pieces. `plain`: without classes."""

    plain: bool = False
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("backslashreplace")
    )
    _rest: str = ""
    _weights: list[str] = field(default_factory=list)
    _colour: str = ""
    _ground: str = ""

    def feed(self, data: bytes, *, last: bool = False) -> list[Part]:
        """The parts of a piece. `last`: nothing follows, so what is not whole is shown, too."""
        text = self._rest + self._decoder.decode(data, last)
        text, self._rest = (text, "") if last else _whole(text)
        parts: list[Part] = []
        begin = 0
        for match in _SEQUENCE.finditer(text):
            self._add(parts, text[begin : match.start()])
            if match[2] == "m":
                self._set(match[1])
            begin = match.end()
        self._add(parts, text[begin:])
        of_classes = groupby(parts, itemgetter(0))
        return [(classes, "".join(text for _, text in each)) for classes, each in of_classes]

    def _add(self, parts: list[Part], text: str) -> None:
        if text:
            shown = visible(text.replace("\r\n", "\n").replace("\r", "\n"))
            parts.append((self._classes(), shown))

    def _classes(self) -> str:
        if self.plain:
            return ""
        return " ".join(each for each in (*self._weights, self._colour, self._ground) if each)

    def _set(self, parameters: str) -> None:
        """What a sequence of SGR says; what the page does not show is passed over."""
        numbers = [int(each) if each.isdecimal() else 0 for each in parameters.split(";")][:32]
        while numbers:
            number = numbers.pop(0)
            if number in (38, 48):
                self._set_extended(number, numbers)
            else:
                self._set_one(number)

    def _set_one(self, number: int) -> None:
        if number == 0:
            self._weights, self._colour, self._ground = [], "", ""
        elif number in _ON and _ON[number] not in self._weights:
            self._weights.append(_ON[number])
        elif number in _OFF:
            self._weights = [each for each in self._weights if each not in _OFF[number]]
        elif 30 <= number <= 37 or 90 <= number <= 97:
            self._colour = f"fg-{_COLOURS[number % 10]}"
        elif 40 <= number <= 47 or 100 <= number <= 107:
            self._ground = f"bg-{_COLOURS[number % 10]}"
        elif number == 39:
            self._colour = ""
        elif number == 49:
            self._ground = ""

    def _set_extended(self, number: int, rest: list[int]) -> None:
        """A colour by its index (5;N) or its red, green and blue (2;R;G;B): the 16 named ones."""
        kind = rest.pop(0) if rest else 0
        values = [rest.pop(0) for _ in range({5: 1, 2: 3}.get(kind, 0)) if rest]
        if kind == 5 and values and values[0] < 16:
            name = _COLOURS[values[0] % 8]
            if number == 38:
                self._colour = f"fg-{name}"
            else:
                self._ground = f"bg-{name}"


def _whole(text: str) -> tuple[str, str]:
    """The text up to a sequence, or a CR, that may not be whole yet; and the rest."""
    if text.endswith("\r"):
        return text[:-1], "\r"
    escape = text.rfind("\x1b", -_LONGEST)
    if escape > 0 and text[escape - 1 : escape + 1] != "\x1b\x1b":
        before = text.rfind("\x1b", max(0, escape - _LONGEST), escape)
        if before >= 0 and not _SEQUENCE.match(text, before):  # the end of a string is an escape
            escape = before
    if escape < 0 or _SEQUENCE.match(text, escape):
        return text, ""
    return text[:escape], text[escape:]
