"""The targets of `make fuzz`: the texts that once failed, and a few new ones."""

import random
from pathlib import Path

import pytest

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.tables import Maker
from tests.fuzz.targets import TARGETS

KEPT = sorted(CORPUS.iterdir())


@pytest.mark.parametrize("path", KEPT, ids=[path.name for path in KEPT])
def test_a_text_that_once_failed(path: Path) -> None:
    read, _ = TARGETS[path.name.partition("-")[0]]
    read(path.read_bytes().decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("target", TARGETS)
def test_random_texts(target: str) -> None:
    read, make = TARGETS[target]
    numbers = random.Random(2026)
    maker = Maker(numbers)
    for _ in range(100):
        read(make(maker, numbers))
