"""The cost of each import for the daemon and the runner: `python bench/imports.py`.

It prints the resident memory and the time of each library that pycron imports, including the
further imports of that library. The first import by a module of pycron is measured.
"""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHOWN_FROM = 100  # KiB; smaller libraries share one row

# This program runs in a process of its own, whose resident memory grows with each import.
CHILD = """
import builtins, importlib, json, sys, time

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4

def measured(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__name__", "")
    root = name.partition(".")[0]
    if not importer.startswith("pycron") or level or root == "pycron" or name in sys.modules:
        return plain(name, globals, locals, fromlist, level)
    memory, began = resident(), time.perf_counter()
    try:
        return plain(name, globals, locals, fromlist, level)
    finally:
        rows.append((name, resident() - memory, time.perf_counter() - began))

rows, at_first, plain = [], resident(), builtins.__import__
began = time.perf_counter()
builtins.__import__ = measured
for module in sys.argv[1:]:
    importlib.import_module(module)
builtins.__import__ = plain
print(json.dumps([at_first, resident(), time.perf_counter() - began, rows]))
"""


def show(title: str, modules: list[str], flags: list[str]) -> None:
    command = [sys.executable, *flags, "-c", CHILD, *modules]
    at_first, whole, seconds, rows = json.loads(subprocess.check_output(command, cwd=ROOT))
    large = [row for row in rows if row[1] >= SHOWN_FROM]
    small = [row for row in rows if row[1] < SHOWN_FROM]
    own = whole - at_first - sum(row[1] for row in rows)
    print(f"\n{title:32}{'KiB':>8}{'ms':>8}")
    print(f"  {'the interpreter':30}{at_first:8}")
    for name, memory, taken in sorted(large, key=lambda row: -row[1]):
        print(f"  {name:30}{memory:8}{1e3 * taken:8.1f}")
    print(f"  {f'{len(small)} others':30}{sum(row[1] for row in small):8}"
          f"{1e3 * sum(row[2] for row in small):8.1f}")  # fmt: skip
    print(f"  {'pycron itself':30}{own:8}{1e3 * (seconds - sum(row[2] for row in rows)):8.1f}")
    print(f"  {'together':30}{whole:8}{1e3 * seconds:8.1f}")


if __name__ == "__main__":
    print(f"Python {sys.version.split()[0]}")
    show("daemon", ["pycron.cli.pycrond", "pycron.daemon.daemon", "pycron.daemon.log_lines"], [])
    show("runner", ["pycron.runner.runner"], ["-S", "-s"])
