"""Output of the programs: JSON, one object a line, or tables and pages for people.

On a terminal nothing is wider than the terminal, and colours tell how something ended (unless
NO_COLOR is set); in a file or a pipe everything is whole and plain. rich draws, so only a terminal
needs it: it is imported where it is used, as a whole program has 150 ms.

Control characters in the values are escaped, so what a stranger wrote cannot control the terminal
of the person who reads it, and rich's markup has no meaning in it.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain, islice
from typing import TYPE_CHECKING

from pycron.cli.table_layout import GAP, Column, fit
from pycron.cli.terminal import raw
from pycron.model.text import printable
from pycron.wording.cells import Cell, Tone, Value

if TYPE_CHECKING:
    from rich.style import Style

Row = Mapping[str, object]

_MEASURED = 1000  # rows whose values say how wide the columns are: a table may have no end
_NARROWEST = 20  # characters of a line, however narrow the terminal
_LEAST_ROOM = 4  # characters of a value beside its name


_NOTHING = Cell("-", Tone.FAINT)

# ---- JSON


def print_json(rows: Iterable[Row]) -> None:
    for row in rows:
        text = json.dumps(row, ensure_ascii=False, default=str)
        sys.stdout.write(_without_controls(text) + "\n")


def _without_controls(text: str) -> str:
    """JSON of the same value, in which what is not printable is an escape of JSON."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


# ---- tables


def print_table(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Value]],
    empty: str,
    title: str | None = None,
    *,
    whole: bool = False,
) -> None:
    """Rows under the titles of their columns, as they come. Without rows: `empty`, to stderr.

    `title`: a line above the table, on a terminal only: in a file, the first line names columns.
    `whole`: all columns and values, also if the lines are wider than the terminal.
    """
    for line in table_lines(columns, rows, title, whole=whole):
        write_line(line)
        empty = ""
    if empty:
        print(empty, file=sys.stderr)


def table_lines(
    columns: Sequence[Column],
    rows: Iterable[Sequence[Value]],
    title: str | None = None,
    *,
    whole: bool = False,
) -> Iterator[str]:
    """The lines of a table; none if there are no rows."""
    if not on_terminal():
        yield from _plain_lines(columns, rows)
        return
    rows = iter(rows)
    head = [_cells(row) for row in islice(rows, _MEASURED)]
    if not head:
        return
    widths = [_width(column, i, head) for i, column in enumerate(columns)]
    shown = fit(columns, widths, None if whole else line_width())
    if title:
        yield paint(Cell(title, Tone.FAINT))
    titles = [Cell(column.title.upper(), Tone.STRONG) for column in columns]
    for line in chain([titles], head, map(_cells, rows)):
        yield _joined(_placed(columns, shown, line))


def _plain_lines(columns: Sequence[Column], rows: Iterable[Sequence[Value]]) -> Iterator[str]:
    """The same in a file or a pipe: a list of a hundred thousand Jobs takes a second, not four."""
    rows = iter(rows)
    head = [list(map(printable, _texts(row))) for row in islice(rows, _MEASURED)]
    if not head:
        return
    head.insert(0, [column.title.upper() for column in columns])
    widths = [max(len(line[i]) for line in head) for i in range(len(columns))]
    sides = "".join(">" if column.right else "<" for column in columns)
    form = (" " * GAP).join(f"{{:{side}{w}}}" for side, w in zip(sides, widths, strict=True)).format
    for texts in chain(head, map(_texts, rows)):
        line = form(*texts)
        if not line.isprintable():
            line = form(*map(printable, texts))
        yield line.rstrip(" ")


def _texts(row: Sequence[Value]) -> list[str]:
    return [
        value if isinstance(value, str) else "-" if value is None else value.text for value in row
    ]


def _width(column: Column, i: int, head: Sequence[Sequence[Cell]]) -> int:
    """What the values of a column take; 0 if there are none, and it need not be there."""
    if column.optional and all(line[i] is _NOTHING for line in head):
        return 0
    return max(width_of(column.title), *(width_of(line[i].text) for line in head))


def print_columns(columns: Sequence[tuple[str, str]], rows: Iterable[Row], empty: str) -> None:
    """A table of objects; `columns` are (key, title), and the last one is cut if need be."""
    last = len(columns) - 1
    of_table = [
        Column(title, least=10 if number == last else None)
        for number, (_, title) in enumerate(columns)
    ]
    print_table(of_table, ([_text(row.get(key)) for key, _ in columns] for row in rows), empty)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _cells(row: Sequence[Value]) -> list[Cell]:
    return [_cell(value) for value in row]


def _cell(value: Value) -> Cell:
    if isinstance(value, Cell):
        return Cell(printable(value.text), value.tone)
    return _NOTHING if value is None else Cell(printable(value))


def _placed(
    columns: Sequence[Column], shown: Mapping[int, int], line: Sequence[Cell]
) -> list[Cell]:
    """A line of a table: its cells cut and padded to the widths of their columns."""
    placed = []
    last = next(reversed(shown))
    for i, width in shown.items():
        cell = cut(line[i], width)
        padding = " " * (width - width_of(cell.text))
        if columns[i].right:
            placed.append(Cell(padding))
        placed.append(cell)
        if i != last:
            placed.append(Cell(" " * GAP if columns[i].right else padding + " " * GAP))
    return placed


# ---- pages


def print_page(fields: Iterable[tuple[str, Value | Sequence[Value]]]) -> None:
    """A line for each field, its name in front; a field without a value has no line.

    Several values of a field stand under each other. On a terminal, long ones are continued on
    further lines.
    """
    filled = [(name, _values(value)) for name, value in fields]
    filled = [(name, values) for name, values in filled if values]
    left = max((width_of(name) for name, _ in filled), default=0) + GAP
    for name, values in filled:
        label = name
        for value in values:
            _print_paragraph(Cell(label.ljust(left), Tone.FAINT), _cell(value), left)
            label = ""


def _values(value: Value | Sequence[Value]) -> list[Value]:
    several = [value] if value is None or isinstance(value, str | Cell) else value
    return [each for each in several if each is not None]


def print_text(text: str, tone: Tone = Tone.PLAIN) -> None:
    """A paragraph; on a terminal, its lines are broken between words."""
    _print_paragraph(Cell(""), Cell(printable(text), tone), 0)


def _print_paragraph(label: Cell, cell: Cell, indent: int) -> None:
    room = line_width()
    room = None if room is None else max(room - indent, _LEAST_ROOM)
    for text in _broken(cell.text, room):
        print_line([label, Cell(text, cell.tone)])
        label = Cell(" " * indent)


def _broken(text: str, room: int | None) -> list[str]:
    """The text in lines of at most `room` characters; None: as one line."""
    if room is None or width_of(text) <= room:
        return [text]
    lines: list[str] = []
    for part in (part for word in text.split(" ") for part in _parts(word, room)):
        joined = f"{lines[-1]} {part}" if lines else part
        if lines and width_of(joined) <= room:
            lines[-1] = joined
        else:
            lines.append(part)
    return lines


def _parts(word: str, room: int) -> Iterator[str]:
    """A word in parts that are not longer than a line."""
    while width_of(word) > room:
        part = _first_part(word, room)
        yield part
        word = word[len(part) :]
    yield word


def print_fields(row: Row) -> None:
    """One object, a line for each of its keys."""
    print_page((key, "-" if value is None else str(value)) for key, value in row.items())


# ---- lines


def on_terminal() -> bool:
    return sys.stdout.isatty()


def line_width() -> int | None:
    """The characters of a line of the terminal; None: no terminal, lines have no limit."""
    if not on_terminal():
        return None
    return max(shutil.get_terminal_size().columns, _NARROWEST)


def print_line(cells: Iterable[Cell]) -> None:
    """Cells of printable text, one behind the other; on a terminal in colours."""
    write_line(_joined(cells))


def _joined(cells: Iterable[Cell]) -> str:
    if not has_colours():
        return "".join([cell.text for cell in cells]).rstrip(" ")
    return "".join([_styled(*cell) for cell in cells]).rstrip(" ")


def write_line(line: str) -> None:
    """A line with our own escape sequences; what the encoding does not have is escaped."""
    stream = raw(sys.stdout)
    if not line.isascii():
        line = line.encode(stream.encoding, "backslashreplace").decode(stream.encoding)
    stream.write(line + "\n")


def paint(cell: Cell) -> str:
    """The text in the colour of its tone."""
    return _styled(*cell) if has_colours() else cell.text


def _styled(text: str, tone: Tone) -> str:
    if tone is Tone.PLAIN or not text:
        return text
    from rich.color import ColorSystem

    return _style(tone).render(text, color_system=ColorSystem.STANDARD)


@cache
def _style(tone: Tone) -> "Style":
    from rich.style import Style

    return Style.parse(tone.value)


def has_colours() -> bool:
    """Whether the terminal shows colours and its user wants them (https://no-color.org)."""
    wanted = not os.environ.get("NO_COLOR")
    return wanted and on_terminal() and os.environ.get("TERM") not in (None, "", "dumb", "unknown")


def can_print(text: str) -> bool:
    """Whether the encoding of the standard output has these characters."""
    try:
        text.encode(raw(sys.stdout).encoding)
    except UnicodeEncodeError:
        return False
    return True


def width_of(text: str) -> int:
    """The columns of the terminal that a printable text takes; its characters where there is none.

    A Chinese character takes two, a combining accent none.
    """
    if text.isascii() or not on_terminal():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def cut(cell: Cell, width: int) -> Cell:
    """The cell in at most `width` columns: the last one says that it was cut."""
    if width_of(cell.text) <= width:
        return cell
    mark = "…" if can_print("…") else "~"
    kept = _first_part(cell.text, width - 1) if width > 1 else ""
    return Cell(kept + mark, cell.tone)


def _first_part(text: str, width: int) -> str:
    """The longest beginning of a text that takes at most `width` columns; at least a character."""
    if text.isascii():
        return text[:width]
    end = min(len(text), max(width, 1))
    while end > 1 and width_of(text[:end]) > width:
        end -= 1
    return text[:end]
