"""What requests on the control socket say, checked: clients are strangers."""

from pycron.control.access import Access, Refusal
from pycron.control.server import Peer
from pycron.model.history import RunRecord
from pycron.model.run import RunKey
from pycron.ports import History
from pycron.protocol.framing import Message
from pycron.schedule.durations import LONGEST_DURATION


def number(request: Message, key: str, default: int) -> int:
    value = number_or_none(request, key)
    return default if value is None else value


def number_or_none(request: Message, key: str) -> int | None:
    value = request.get(key)
    if value is not None and (type(value) is not int or not 0 <= value < 2**62):
        raise Refusal(f"bad {key} (a whole number)")
    return value


def duration_or_none(request: Message, key: str) -> int | None:
    """Seconds, no more than a table may say."""
    value = number_or_none(request, key)
    if value is not None and value > LONGEST_DURATION:
        raise Refusal(f"bad {key} (at most {LONGEST_DURATION} seconds)")
    return value


def text_or_none(request: Message, key: str) -> str | None:
    value = request.get(key)
    if value is not None and not _is_text(value):
        raise Refusal(f"bad {key} (a text of at most 500 characters)")
    return value


def _is_text(value: object) -> bool:
    """Half a surrogate pair can be written in JSON, and nowhere else."""
    if not isinstance(value, str) or len(value) > 500:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def visible_run(store: History, access: Access, peer: Peer, request: Message) -> RunRecord:
    """The Run that a request names. Raises Refusal."""
    text = str(request.get("run_id"))
    try:
        found = store.run(RunKey.parse(text))
    except ValueError as error:
        raise Refusal(str(error)) from None
    if found is None or not access.sight(peer)(found.user):
        raise Refusal(f'no such run: "{text}"')
    return found
