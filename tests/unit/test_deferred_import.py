"""Modules that are imported on first use."""

import importlib
import logging
import sys
from pathlib import Path

import pytest

from pycron.daemon.deferred_import import deferred_import

NAME = "deferred_package"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is not imported yet."""
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "__init__.py").write_text("answer = 42\n")
    (tmp_path / NAME / "part.py").write_text("half = 21\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in (NAME, f"{NAME}.part"):
        monkeypatch.delitem(sys.modules, name, raising=False)


@pytest.mark.usefixtures("package")
def test_the_first_use_imports_the_module() -> None:
    with deferred_import(NAME):
        early = importlib.import_module(NAME)
    assert NAME not in sys.modules
    assert early.answer == 42
    assert sys.modules[NAME] is importlib.import_module(NAME) is not early
    with pytest.raises(AttributeError, match="nothing"):
        _ = early.nothing


@pytest.mark.usefixtures("package")
def test_importing_a_submodule_imports_the_module_at_once() -> None:
    with deferred_import(NAME):
        assert importlib.import_module(f"{NAME}.part").half == 21
    assert sys.modules[NAME].__file__


@pytest.mark.usefixtures("package")
def test_a_module_that_is_imported_already_is_left_alone() -> None:
    imported = importlib.import_module(NAME)
    with deferred_import(NAME):
        assert importlib.import_module(NAME) is imported
    assert sys.modules[NAME] is imported


def test_a_log_record_does_not_import_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.12 and later look in sys.modules for the name of the asyncio task."""
    monkeypatch.delitem(sys.modules, "asyncio", raising=False)
    with deferred_import("asyncio"):
        logging.LogRecord("name", logging.INFO, "path", 1, "message", None, None)
        assert not sys.modules["asyncio"]
