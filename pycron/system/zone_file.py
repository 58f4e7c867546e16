"""Zone files (TZif, RFC 9636): whether one is sound.

zoneinfo looks at little: with a damaged file it reads for ever, fails when an offset is in force,
or ends the process.
"""

import re
import struct
from itertools import pairwise
from typing import NamedTuple

_HEADER = struct.Struct(">4sc15x6L")
_TYPE = struct.Struct(">lBB")
_DAY = 86_400
_NAME = rb"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_HOURS = rb"[+-]?(?:[01]?[0-9]|2[0-4])(?::[0-5][0-9]){0,2}"
_RULE = (
    rb",(?:M(?:[1-9]|1[0-2])\.[1-5]\.[0-6]|J?[1-9][0-9]{0,2}|0)"
    rb"(?:/[+-]?[0-9]{1,3}(?::[0-5][0-9]){0,2})?"
)
_FOOTER = re.compile(
    rb"\n(?:%b%b(?:%b(?:%b)?%b%b)?)?\n" % (_NAME, _HOURS, _NAME, _HOURS, _RULE, _RULE)
)
_VERSIONS = (b"\0", b"2", b"3", b"4")
_INSTANT_BYTES = {1: 4, 2: 8}  # in the first and in the second block


class _Kind(NamedTuple):
    """A type of local time: seconds from UTC, whether it is DST, where its abbreviation begins."""

    offset: int
    is_dst: int
    name: int


def check(data: bytes) -> None:
    """Raises ValueError: what is wrong with the zone file."""
    end, version = _check_block(data, 0, 1)
    if version >= b"2":
        end, _ = _check_block(data, end, 2)
        if not _FOOTER.fullmatch(data, end):
            raise ValueError("its footer names no zone of POSIX")


def _check_block(data: bytes, start: int, number: int) -> tuple[int, bytes]:
    """Where this block ends, and the version of the file."""
    if len(data) < start + _HEADER.size:
        raise ValueError("it is cut short")
    magic, version, utc, standard, leaps, instants, types, letters = _HEADER.unpack_from(
        data, start
    )
    if magic != b"TZif" or version not in _VERSIONS:
        raise ValueError("it is no zone file")
    width = _INSTANT_BYTES[number]
    at = start + _HEADER.size
    indexes = at + width * instants
    first_type = indexes + instants
    first_letter = first_type + _TYPE.size * types
    end = first_letter + letters + (width + 4) * leaps + standard + utc
    if len(data) < end:
        raise ValueError("it is cut short")
    if number == 1 and version != b"\0":  # readers of the second block ignore what is in the first
        return end, version
    if not types or not letters or standard not in (0, types) or utc not in (0, types):
        raise ValueError("its counts contradict each other")
    times = struct.unpack_from(f">{instants}{'q' if width == 8 else 'l'}", data, at)
    if any(later <= earlier for earlier, later in pairwise(times)):
        raise ValueError("its transitions are not in order")
    if any(index >= types for index in data[indexes:first_type]):
        raise ValueError("a transition has no type")
    names = data[first_letter : first_letter + letters]
    if not names.isascii() or names[-1:] != b"\0":
        raise ValueError("its names are damaged")
    kinds = [_Kind(*each) for each in _TYPE.iter_unpack(data[first_type:first_letter])]
    if any(abs(each.offset) >= _DAY or each.is_dst > 1 or each.name >= letters for each in kinds):
        raise ValueError("a type is damaged")
    return end, version
