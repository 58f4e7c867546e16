"""A real `pycron worker` for a test."""

import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.running_daemon import program
from tests.support.waiting import until


class RunningWorker:
    """`state`: the state directory of its daemon. Its log is a file beside it."""

    def __init__(
        self,
        state: Path,
        queues: str,
        concurrency: int = 2,
        name: str = "worker",
        options: Iterable[str | Path] = (),
    ) -> None:
        self.log_file = state.parent / f"{name}.log"
        command = program("pycron", "--state-dir", state, "worker", "--queues", queues,
                          "--concurrency", str(concurrency), *options)  # fmt: skip
        with self.log_file.open("a") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for(self, text: str, patience: float = 30) -> None:
        def is_said() -> bool:
            assert text in self.log or self.process.poll() is None, self.log
            return text in self.log

        until(is_said, patience)

    def stop(self) -> int:
        """End it in good order; the exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def running_worker(state: Path, queues: str, concurrency: int = 2) -> Iterator[RunningWorker]:
    """A worker that takes messages."""
    worker = RunningWorker(state, queues, concurrency)
    try:
        worker.wait_for(": serves ")
        yield worker
    finally:
        if worker.process.poll() is None:
            worker.process.send_signal(signal.SIGCONT)
            worker.kill()
