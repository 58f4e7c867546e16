"""A progress bar on the terminal, for work that takes more than a moment."""

import sys
from collections.abc import Iterable

from pycron.cli.terminal import raw


def show_progress(reached: Iterable[float], start: float, end: float, what: str) -> None:
    """Do work that says now and then how far it is between `start` and `end`."""
    if not sys.stderr.isatty():
        for _ in reached:
            pass
        return
    from rich.console import Console  # 60 ms
    from rich.progress import Progress

    with Progress(console=Console(file=raw(sys.stderr)), transient=True) as progress:
        task = progress.add_task(what, total=end - start)
        for at in reached:
            progress.update(task, completed=at - start)
