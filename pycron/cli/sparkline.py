"""A sparkline: numbers as a row of bars, each as high as its number."""

from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = "_.-~=+*#"  # where the encoding has no others


def sparkline(values: Sequence[float], width: int, *, plain: bool = False) -> str:
    """A bar for each value; of more than `width` values, one for each part of equal length.

    A bar that stands for several values is as high as the largest. The highest is the largest
    value, the lowest is 0.
    """
    bars = PLAIN_BARS if plain else BARS
    if not values:
        return ""
    number = min(width, len(values))
    parts = [
        values[len(values) * i // number : len(values) * (i + 1) // number] for i in range(number)
    ]
    largest = max(values)
    return "".join(bars[_height(max(part), largest)] for part in parts)


def _height(value: float, largest: float) -> int:
    return min(len(BARS) - 1, int(len(BARS) * value / largest)) if largest > 0 else 0
