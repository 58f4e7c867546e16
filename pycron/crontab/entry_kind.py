"""The kinds of entries that the timetable tells apart."""

from enum import Enum


class EntryKind(Enum):
    """What decides about the fire times of an entry when the clock is stepped."""

    FIXED = "fixed"
    """It waits until the clock has caught up."""
    WALL = "wall"
    """It follows the wall clock."""
    SHARED = "shared"
    """It is a shared Job: the clock of the database decides."""
