"""`pycron worker`: takes Runs from queues."""

import argparse
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pycron import __version__
from pycron.cli.arguments import positive
from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed
from pycron.cli.verb import verb
from pycron.model.text import printable

if TYPE_CHECKING:
    from pycron.protocol.work_messages import ServeAnswer

NO_CELERY = "workers need another package: pip install 'pycrond[celery]'"
_PATIENCE = 60.0  # seconds for an answer of the daemon, which asks the database


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="F", type=Path,
                        help="the configuration that names cluster and broker; by default the "
                        "daemon's")  # fmt: skip
    parser.add_argument("--queues", metavar="NAME[,NAME]", required=True,
                        help="take runs from these queues; of each, NAME.high comes first, and"
                        " NAME.low last")  # fmt: skip
    parser.add_argument("--concurrency", metavar="N", type=positive, default=os.cpu_count() or 1,
                        help="have N runs at once; default: one for each processor")  # fmt: skip


@verb("worker", "Take runs from queues, and let the daemon of this host run them.", _arguments)
def worker(options: argparse.Namespace) -> None:
    if find_spec("celery") is None:
        raise Failed(NO_CELERY)
    from pycron.protocol.work_messages import ServeRequest
    from pycron.worker.local_daemon import LocalDaemon  # 200 ms, and an extra
    from pycron.worker.worker import Worker

    daemon = LocalDaemon(lambda: client_for(options, _PATIENCE), _say)
    served = daemon.serve(ServeRequest(options.queues, __version__, options.concurrency))
    first = next(answer for answer in served if answer is not None)
    if first["refused"]:
        _say(f"worker.queues of this host has no {', '.join(first['refused'])}")
    if not first["queues"]:
        raise Failed("nothing to serve: worker.queues of pycron.toml names the queues")
    cluster, broker = _broker(options.config, first)
    try:
        made = Worker(broker, cluster, options.concurrency, daemon, _say)
    except ValueError as error:
        raise Failed(str(error)) from None
    made.run(served, first)


def _broker(config: Path | None, answer: "ServeAnswer") -> tuple[str, str]:
    """The cluster and the URL of its broker. Raises Failed."""
    cluster, broker = answer.get("cluster"), answer.get("broker")
    if config is not None:
        cluster, broker = _configured(config)
    if cluster is None or broker is None:
        raise Failed("the configuration has no cluster.broker")
    return cluster, broker


def _configured(path: Path) -> tuple[str | None, str | None]:
    from pycron.config import ConfigError, read_config

    try:
        config = read_config(path, required=True)
    except ConfigError as error:
        raise Failed(str(error)) from None
    return config.cluster_name, config.cluster_broker


def _say(text: str) -> None:
    """The log of a worker is its standard error."""
    print(f"pycron worker: {printable(text)}", file=sys.stderr, flush=True)
