"""The name of the file with the end of an output. Imported by the runner: it stays small."""


def tail_of(path: str) -> str:
    """The file that has the end of this output until its command has ended."""
    return f"{path}.tail"
