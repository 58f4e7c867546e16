"""When Python's collector of cyclic garbage visits all objects: once a minute, and not in a flood.

Python begins such a visit as soon as there are a quarter more objects than before: while 10,000
Runs came to wait, the daemon stood still for 100 to 170 ms every three seconds. Nearly all that the
daemon drops is freed without the collector, or by its short visits to the youngest objects.
"""

import gc

_FEW = 1000  # Runs that have not ended: a visit of all objects takes about 10 ms
_NEVER = 1_000_000  # short visits between two of all objects


def take_charge() -> None:
    """From now on all objects are visited only in `collect`; and never those that there are now."""
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


def collect(runs: int) -> None:
    """Free all garbage, unless more than a few Runs have not ended: then visits take long."""
    if runs <= _FEW:
        gc.collect()
