"""Modules that are imported when they are used."""

import importlib
import logging
import sys
from pathlib import Path

import pytest

from pycron.on_demand import on_demand

NAME = "asked_for"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that nobody has imported yet."""
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "__init__.py").write_text("answer = 42\n")
    (tmp_path / NAME / "part.py").write_text("half = 21\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (NAME, f"{NAME}.part"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("package")
def test_it_comes_when_it_is_used() -> None:
    with on_demand(NAME):
        early = importlib.import_module(NAME)
    assert NAME not in sys.modules
    assert early.answer == 42
    assert sys.modules[NAME] is importlib.import_module(NAME) is not early
    with pytest.raises(AttributeError, match="nothing"):
        _ = early.nothing


@pytest.mark.usefixtures("package")
def test_it_comes_at_once_where_something_of_it_is_asked_for() -> None:
    with on_demand(NAME):
        assert importlib.import_module(f"{NAME}.part").half == 21
    assert sys.modules[NAME].__file__


@pytest.mark.usefixtures("package")
def test_one_that_is_there_stays() -> None:
    there = importlib.import_module(NAME)
    with on_demand(NAME):
        assert importlib.import_module(NAME) is there
    assert sys.modules[NAME] is there


def test_a_log_record_does_not_import_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12 and later look there for the name of the task."""
    monkeypatch.delitem(sys.modules, "asyncio", raising=False)
    with on_demand("asyncio"):
        logging.LogRecord("name", logging.INFO, "path", 1, "message", None, None)
        assert not sys.modules["asyncio"]
