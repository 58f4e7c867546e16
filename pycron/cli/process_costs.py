"""What the commands cost: memory and processor time of processes and their children."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import psutil


class Cost(NamedTuple):
    """Bytes of memory and seconds of processor time; None if this user may not look."""

    memory: int | None
    cpu: float | None


UNKNOWN = Cost(None, None)


def costs_of(pids: Iterable[int | None]) -> dict[int, Cost]:
    """The cost of each of these processes, with all that they have started.

    The processes of the machine are looked at once, whatever the number of pids.
    """
    import psutil  # 15 ms, and only top needs it

    wanted = [pid for pid in pids if pid is not None]
    if not wanted:
        return {}
    children: dict[int, list[psutil.Process]] = {}
    own: dict[int, psutil.Process] = {}
    for process in psutil.process_iter(["ppid"]):
        own[process.pid] = process
        children.setdefault(process.info["ppid"] or 0, []).append(process)
    return {pid: _cost(own[pid], children) if pid in own else UNKNOWN for pid in wanted}


def _cost(first: "psutil.Process", children: "dict[int, list[psutil.Process]]") -> Cost:
    import psutil

    memory, cpu, tree = 0, 0.0, [first]
    while tree:
        process = tree.pop()
        tree += children.get(process.pid, [])
        try:
            with process.oneshot():
                memory += process.memory_info().rss
                times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        except psutil.Error:  # this user may not look at it
            return UNKNOWN
        cpu += times.user + times.system
    return Cost(memory, round(cpu, 2))
