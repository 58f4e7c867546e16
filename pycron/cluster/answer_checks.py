"""JSON objects that come from the database: each value is checked when it is read."""

from typing import Any

_LONGEST_TEXT = 4096  # characters
_LARGEST = 2**53  # of a number
_MOST_OBJECTS = 100_000


class Fields:
    """An object of JSON. Each method raises ValueError for a value of another kind."""

    def __init__(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"no object: {type(value).__name__}")
        self._values: dict[str, Any] = value

    def text(self, key: str, most: int = _LONGEST_TEXT) -> str:
        value = self._values.get(key)
        if not isinstance(value, str) or len(value) > most:
            raise ValueError(f"bad {key}")
        return value

    def maybe_text(self, key: str, most: int = _LONGEST_TEXT) -> str | None:
        return None if self._values.get(key) is None else self.text(key, most)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._values.get(key)
        if not isinstance(value, list) or len(value) > _MOST_OBJECTS:
            raise ValueError(f"bad {key}")
        return tuple(Fields({key: each}).text(key) for each in value)

    def number(self, key: str) -> float:
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"bad {key}")
        if not -_LARGEST <= value <= _LARGEST:
            raise ValueError(f"bad {key}")
        return float(value)

    def maybe_number(self, key: str) -> float | None:
        return None if self._values.get(key) is None else self.number(key)

    def whole(self, key: str) -> int:
        if type(self._values.get(key)) is not int:
            raise ValueError(f"bad {key}")
        return int(self.number(key))

    def maybe_whole(self, key: str) -> int | None:
        return None if self._values.get(key) is None else self.whole(key)

    def has(self, key: str) -> bool:
        """Whether there is a value that is not null."""
        return self._values.get(key) is not None

    def flag(self, key: str) -> bool:
        value = self._values.get(key)
        if type(value) is not bool:
            raise ValueError(f"bad {key}")
        return value

    def objects(self, key: str) -> list["Fields"]:
        value = self._values.get(key)
        if not isinstance(value, list) or len(value) > _MOST_OBJECTS:
            raise ValueError(f"bad {key}")
        return [Fields(each) for each in value]

    def object(self, key: str) -> "Fields":
        return Fields(self._values.get(key))
