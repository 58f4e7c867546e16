"""`pycron metrics`: what is counted, for Prometheus and programs that read its formats."""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

from pycron.cli.daemon_choice import client_for
from pycron.cli.errors import Failed, WrongUse
from pycron.cli.printing import print_json
from pycron.cli.verb import verb
from pycron.protocol.control_messages import MetricsRequest
from pycron.system.files import replace_file
from pycron.system.listen_address import NO_PROMETHEUS_CLIENT, BadAddress

_MODE = 0o644  # node_exporter has an account of its own


def _arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--openmetrics", action="store_true",
                       help="in the format OpenMetrics; default: Prometheus's text")  # fmt: skip
    where.add_argument("--textfile", metavar="F", type=Path,
                       help="write the file F, as node_exporter's collector reads it")  # fmt: skip
    where.add_argument("--listen", metavar="ADDRESS",
                       help="serve them at HOST:PORT, or at the socket of this path")  # fmt: skip


@verb("metrics", "Print or serve metrics for Prometheus.", _arguments)
def metrics(options: argparse.Namespace) -> None:
    if options.json:
        if options.textfile or options.listen or options.openmetrics:
            raise WrongUse("--json prints what the daemon counts: it goes with no other option")
        print_json([client_for(options).request(MetricsRequest())])
        return
    if find_spec("prometheus_client") is None:
        raise Failed(NO_PROMETHEUS_CLIENT)
    if options.listen:
        _listen(options)
        return
    from pycron.web.metrics import OPEN_METRICS, rendered  # 60 ms, and an extra

    answer = client_for(options).request(MetricsRequest())
    body, _ = rendered(answer, OPEN_METRICS if options.openmetrics else "")
    if options.textfile:
        _replace(options.textfile, body)
    else:
        sys.stdout.write(body.decode())


def _listen(options: argparse.Namespace) -> None:
    from pycron.web.metrics_server import asking, serve

    def ready(url: str) -> None:
        print(url, flush=True)

    client_for(options).close()  # if there is no daemon, that is said now
    try:
        serve(options.listen, asking(lambda: client_for(options)), ready)
    except BadAddress as error:
        raise WrongUse(str(error)) from None
    except OSError as error:
        raise Failed(f"{options.listen}: {error.strerror}") from None


def _replace(path: Path, body: bytes) -> None:
    """Write the file whole or not at all: its reader may come at any time. Raises Failed."""
    try:
        replace_file(path, body, mode=_MODE)
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
