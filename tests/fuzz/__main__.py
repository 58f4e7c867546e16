"""Fuzzing: `make fuzz T=tables SECONDS=60` reads random texts, and says how many it has read.

No reader may fail in another way than by the errors that it documents, and none may take longer
than a second. The seed is printed; a text that fails is kept in tests/fuzz/corpus, which is read
first.
"""

import random
import resource
import sys
import time
from pathlib import Path

from tests.fuzz.tables import Maker
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 1.0  # seconds of CPU for one text


def fuzz(target: str, seconds: float, seed: int) -> int:
    """Read texts for so many seconds; their number. An error names the seed, and keeps the text."""
    read, make = TARGETS[target]
    numbers = random.Random(seed)
    maker = Maker(numbers)
    end, count = time.monotonic() + seconds, 0
    kept = sorted(CORPUS.glob(f"{target}-*"))
    while time.monotonic() < end:
        text = (
            kept.pop().read_bytes().decode("utf-8", "surrogateescape")
            if kept
            else make(maker, numbers)
        )
        start = time.process_time()
        try:
            read(text)
            assert time.process_time() - start < LONGEST, "it takes too long"
        except BaseException:
            file = CORPUS / f"{target}-{seed}-{count}"
            file.write_bytes(text.encode("utf-8", "surrogateescape"))
            print(f"{target}: seed {seed}, text {count}: kept in {file}", file=sys.stderr)
            raise
        count += 1
    return count


def main() -> None:
    target, seconds = sys.argv[1], float(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(2**32)
    count = fuzz(target, seconds, seed)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{target}: {count} texts, seed {seed}, {memory} MB")


if __name__ == "__main__":
    main()
