"""pycrontab under the name `crontab`, as a package installs it."""

import sys
from pathlib import Path

_SCRIPT = """#!{python}
import sys
sys.path.insert(0, {checkout!r})
from pycron.cli.pycrontab import main
sys.exit(main())
"""


def programs_in(directory: Path) -> Path:
    """A directory with the program `pycrontab` and the symbolic link `crontab` to it."""
    programs = directory / "programs"
    programs.mkdir()
    checkout = str(Path(__file__).parents[2])
    program = programs / "pycrontab"
    program.write_text(_SCRIPT.format(python=sys.executable, checkout=checkout))
    program.chmod(0o755)
    (programs / "crontab").symlink_to(program)
    return programs
