"""The names of the Jobs of a table that have no CRON_NAME, without reading their entries.

Such a Job is called by the most telling word of its command. Only where another entry of the table
is called by the same word, a part of the Job's id follows: `backup-1a2b3c`. It is no running
number, which an entry that is inserted above would shift to another Job.
"""

import re
from array import array
from collections.abc import Collection, Iterable, Iterator
from zlib import crc32

_DIGITS = 6  # hexadecimal digits of the id
_SHIFT = 64 - 4 * _DIGITS  # of an id as a number


def with_digits(word: str, identifier: str) -> str:
    """The word and the first digits of an id, by which a Job is found also if the word suffices."""
    return f"{word}-{identifier[:_DIGITS]}"


def with_digits_of(name: str, numbers: Iterable[int]) -> set[int]:
    """Which of these ids, as numbers, begin as a name with digits ends; the indexes."""
    digits = name[-_DIGITS:]
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS}}}", digits, re.ASCII):
        return set()
    wanted = int(digits, 16)
    return {index for index, number in enumerate(numbers) if number >> _SHIFT == wanted}


class Words:
    """The word of each entry, as a number: its CRON_NAME, or else its telling word.

    Two words that have one number count as the same word. For a million entries this takes 5 MB;
    `end` drops what only `add` needs.
    """

    def __init__(self) -> None:
        self._numbers = array("I")
        self._shared = bytearray()
        self._first: dict[int, int] = {}

    def add(self, word: str) -> None:
        """The word of the next entry."""
        number, index = _number(word), len(self._numbers)
        first = self._first.setdefault(number, index)
        self._numbers.append(number)
        self._shared.append(first != index)
        if first != index:
            self._shared[first] = True

    def end(self) -> None:
        """No entry follows."""
        self._first = {}

    def is_shared(self, index: int) -> bool:
        """Whether another entry has the word of this one."""
        return bool(self._shared[index])

    def without(self, indexes: Collection[int]) -> "Words":
        """The words without those of some entries; what was shared stays so."""
        kept = Words()
        for index, number in enumerate(self._numbers):
            if index not in indexes:
                kept._numbers.append(number)
                kept._shared.append(self._shared[index])
        return kept

    def with_word(self, word: str) -> Iterator[int]:
        """The entries with this word, in order; perhaps also one with another word."""
        number, index = _number(word), -1
        while True:
            try:
                index = self._numbers.index(number, index + 1)
            except ValueError:
                return
            yield index


def _number(word: str) -> int:
    return crc32(word.encode("utf-8", "surrogatepass"))
