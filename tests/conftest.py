"""For all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.user_daemon import Home

# Speed is measured in bench/, never asserted by the clock of a machine that may be busy.
settings.register_profile("pycron", deadline=None)
settings.load_profile("pycron")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    try:
        yield home
    finally:
        home.end()
