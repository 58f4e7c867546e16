"""The name of the file that has the tail of an output. Imported by the runner: it stays small."""


def tail_of(path: str) -> str:
    """Where the tail of what goes into this file is until its command has ended."""
    return f"{path}.tail"
