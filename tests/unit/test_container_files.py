"""contrib/container: its YAML can be parsed, its command lines and tables are right."""

import re
from pathlib import Path
from typing import Any

import pytest

from pycron.cli import pycron as pycron_program
from pycron.cli import pycrond
from pycron.crontab import reader
from pycron.crontab.reader import ReaderContext
from pycron.model.job import Source
from pycron.system.zone_data import ZoneData
from tests.support.container import CONTAINERFILE, commands

HERE = Path(__file__).resolve().parents[2] / "contrib" / "container"
yaml = pytest.importorskip("yaml")  # comes with apprise


def check_command(words: list[str]) -> None:
    program, *arguments = words
    parser = {"pycrond": pycrond.parser, "pycron": pycron_program.parser}[program]()
    parser.parse_args(arguments)


def check_table(text: str) -> None:
    table = reader.parse(text, Source("x", "joe"), ReaderContext("host", ZoneData().exists))
    assert table.problems == ()
    assert len(table.jobs) == 2


def test_the_image() -> None:
    check_command(commands("ENTRYPOINT ") + commands("CMD "))
    check_command(commands("HEALTHCHECK .*CMD "))
    assert "--health" in commands("HEALTHCHECK .*CMD ")
    assert re.search(r"^USER [1-9]\d*:[1-9]", CONTAINERFILE.read_text(), re.MULTILINE)


def test_compose() -> None:
    compose = yaml.safe_load((HERE / "compose.yaml").read_text())
    service = compose["services"]["cron"]
    assert service["read_only"] is True
    build = service["build"]
    assert (HERE / build["context"] / build["dockerfile"]).resolve() == HERE / "Containerfile"
    source, target, mode = service["volumes"][0].split(":")
    assert (target, mode) == ("/etc/pycron/tables", "ro")
    check_table((HERE / source / "crontab").read_text())
    assert service["environment"]["PYCRON_HOST_ID"]


def test_kubernetes() -> None:
    documents: list[Any] = list(yaml.safe_load_all((HERE / "kubernetes.yaml").read_text()))
    tables, deployment = documents
    assert [each["kind"] for each in documents] == ["ConfigMap", "Deployment"]
    check_table(tables["data"]["crontab"])
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    pod = spec["template"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    check_command(["pycrond", "--foreground", *container["args"]])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        check_command(container[probe]["exec"]["command"])
    assert "--health" not in container["livenessProbe"]["exec"]["command"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(volumes) == set(mounts)
    assert volumes["tables"]["configMap"]["name"] == tables["metadata"]["name"]
    assert container["args"][-1] == f"{mounts['tables']}/crontab"
