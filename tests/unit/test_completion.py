"""contrib/completion is what shtab makes of the parsers of today: else `make completion`."""

import importlib.util
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parents[2] / "contrib/completion"
FILES = sorted(str(path.relative_to(HERE)) for path in HERE.glob("*/*") if path.suffix != ".pyc")


def test_the_files_are_up_to_date() -> None:
    pytest.importorskip("shtab")
    spec = importlib.util.spec_from_file_location("generate_completion", HERE / "generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    texts = generate.completions()
    assert sorted(texts) == [file for file in FILES if not file.startswith("__pycache__")]
    for file, text in texts.items():
        assert (HERE / file).read_text() == text, "make completion"


ASKED = {
    ("pycron", "se"): {"setup"},
    ("pycron", "setup", "--pu"): {"--purge"},
    ("pycron", "dead", "redr"): {"redrive"},
    ("pycrond", "--fore"): {"--foreground"},
    ("pycrontab", "--rest"): {"--restore"},
    ("pycrontab", "-u", "daemo"): {"daemon"},
    ("pycron", "list", "--owner", "daemo"): {"daemon"},
    ("pycron", "runs", "--outcome", "time"): {"timed_out"},
    ("pycron", "next", "--tz", "Europe/Berl"): {"Europe/Berlin"},
}


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
@pytest.mark.parametrize("words", ASKED, ids=" ".join)
def test_bash_completes_verbs_and_options(words: tuple[str, ...]) -> None:
    program = words[0]
    script = (
        f"source {shlex.quote(str(HERE))}/bash/{program}; COMP_WORDS=({' '.join(words)}); "
        f"COMP_CWORD={len(words) - 1}; _shtab_{program} {program} {words[-1]} {words[-2]}; "
        'echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (set(done.stdout.split()), done.stderr) == (ASKED[words], "")
