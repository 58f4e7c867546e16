"""docs/task-schedulers.md: each of its examples runs, and prints what the page says."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.brokers import (
    RedisServer,
    needs_redis,
    redis_server,
)
from tests.support.queue_brokers import is_here, running_broker
from tests.support.running_daemon import run

PAGE = Path(__file__).resolve().parents[2] / "docs/task-schedulers.md"
_EXAMPLE = re.compile(
    r"<!-- run ?(\w*) -->\n```(\w+)\n(.*?)```\n```text\n(.*?)```",
    re.DOTALL,
)


class Example(NamedTuple):
    """An example, and what it prints. `needs`: a broker, pycron, or nothing."""

    needs: str
    language: str
    code: str
    said: str


def examples(needs: str) -> list[Example]:
    found = [Example(*match.groups()) for match in _EXAMPLE.finditer(PAGE.read_text())]
    return [each for each in found if each.needs == needs]


def printed(example: Example, directory: Path, broker: str = "") -> str:
    path = directory / "example.py"
    path.write_text(example.code)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(path)], env=os.environ | {"BROKER": broker},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_each_example_is_run_here() -> None:
    text = PAGE.read_text()
    kinds = ("", "pycron", "redis", "rabbitmq")
    assert sum(len(examples(kind)) for kind in kinds) == text.count("<!-- run")
    unmarked = re.findall(r"(?<!-->\n)```(?:python|sh)\n", text)
    assert not unmarked


@pytest.mark.parametrize("number", range(len(examples(""))))
def test_examples_of_the_standard_library(number: int, tmp_path: Path) -> None:
    example = examples("")[number]
    assert printed(example, tmp_path) == example.said


def test_examples_of_pycron() -> None:
    for example in examples("pycron"):
        name, *arguments = shlex.split(example.code)
        assert run(name, *arguments).stdout == example.said


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    for name in ("celery", "rq"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}")
    with redis_server(tmp_path / "redis") as server:
        yield server


@needs_redis
def test_examples_with_redis(redis: RedisServer, tmp_path: Path) -> None:
    for example in examples("redis"):
        assert printed(example, tmp_path, redis.url) == example.said


@pytest.mark.skipif(not is_here("rabbitmq"), reason="needs RabbitMQ")
def test_examples_with_rabbitmq(tmp_path: Path) -> None:
    with running_broker("rabbitmq") as server:
        for example in examples("rabbitmq"):
            assert printed(example, tmp_path, server.url) == example.said
