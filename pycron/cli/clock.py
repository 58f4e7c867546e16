"""The clock that the options of a program select: local, or UTC with --utc."""

import argparse
import sys
import time

from pycron.schedule.zone import UTC, Zone
from pycron.system.zone_data import ZoneData
from pycron.wording.clock import Clock


def clock_for(options: argparse.Namespace, zone: Zone | None = None) -> Clock:
    """The clock that the options select. `zone`: instead of the machine's zone."""
    if getattr(options, "utc", False):
        zone = UTC
    return Clock(zone or ZoneData().machine, time.time(), sys.stdout.isatty())
