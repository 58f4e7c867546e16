"""For all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.user_daemon import UserDaemon

# Speed is measured in bench/, never asserted by the clock of a machine that may be busy.
settings.register_profile("pycron", deadline=None)
settings.load_profile("pycron")


@pytest.fixture
def user_daemon(tmp_path: Path) -> Iterator[UserDaemon]:
    user_daemon = UserDaemon(tmp_path)
    try:
        yield user_daemon
    finally:
        user_daemon.end()
