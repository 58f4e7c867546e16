"""The schedules of the entries of a table that cannot be packed, such as `@every 5m`."""

from array import array

from pycron.schedule.expressions import Reboot, Schedule


class SpecialSchedules:
    """One place for each entry. Thousands of entries may share one schedule."""

    def __init__(self) -> None:
        self._numbers = array("I")  # by entry: that of its schedule; 0: it is packed elsewhere
        self._number_of: dict[Schedule, int] = {}
        self._schedules: list[Schedule | None] = [None]

    def append(self, schedule: Schedule | None) -> None:
        """Add an entry; None if its schedule is packed elsewhere."""
        number = 0
        if schedule is not None:
            number = self._number_of.setdefault(schedule, len(self._schedules))
            if number == len(self._schedules):
                self._schedules.append(schedule)
        self._numbers.append(number)

    def of(self, index: int) -> Schedule | None:
        return self._schedules[self._numbers[index]]

    def copy(self, index: int, source: int) -> None:
        """Give an entry the schedule of another one."""
        self._numbers[index] = self._numbers[source]

    def reboots(self) -> list[int]:
        """The entries with @reboot."""
        wanted = {n for n, each in enumerate(self._schedules) if isinstance(each, Reboot)}
        return [i for i, n in enumerate(self._numbers) if n in wanted] if wanted else []
