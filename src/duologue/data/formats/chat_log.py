"""What the logs of messengers share: one endless exchange of messages with times, cut where it rests."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from duologue.data.formats.tally import Tally, refused
from duologue.data.found import DataFormat, Dialogue, Note, RowFault, Turn

# A night's sleep or a day at work ends a conversation; a lesson or a meal does not. So a cut falls where the silence is
# longer than any pause inside one evening, and shorter than a night.
PAUSE_HOURS = 6.0
_CUT = "cut into conversations there"


@dataclass(frozen=True, slots=True)
class Moment:
    """A message of a log in its time.

    Attributes:
        pause_seconds: Silence before it; 0 where the time is not known.
        turn: What was said; None for a message without usable text, which still is a sign of life.
    """

    pause_seconds: float
    turn: Turn | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a log as read from its JSON object.

    Attributes:
        seconds: When it was sent, in seconds since 1970; None when the file does not say.
        found: What was said, or why the message is left out.
    """

    seconds: float | None
    found: Turn | Note


ReadMessage = Callable[[object, str, int], Message]


def read_messages(
    messages: list[Any],
    read_one: ReadMessage,
    *,
    data_format: DataFormat,
    at: str,
    tally: Tally,
    is_newest_first: bool = False,
) -> Iterator[Moment | Note]:
    """Yield the messages of a JSON log with the pauses between them; each message is a row.

    Args:
        messages: The list of the document.
        read_one: Returns one message, given its JSON, its path and its row; raises RowFault.
        data_format: For the count of rows.
        at: Path of the list.
        tally: Counts rows, and messages without a time.
        is_newest_first: Whether to go through the list from its end; rows and paths stay as in the file.
    """
    first_row = tally.num_rows + 1
    tally.add_rows(data_format, len(messages))
    previous: float | None = None
    indices = range(len(messages))
    for index in reversed(indices) if is_newest_first else indices:
        try:
            message = read_one(messages[index], f"{at}[{index}]", first_row + index)
        except RowFault as fault:
            yield refused(first_row + index, fault)
            continue
        pause = 0.0
        if message.seconds is None:
            tally.count("", "messages without a readable time", "taken to follow at once")
        else:
            pause = max(message.seconds - previous, 0.0) if previous is not None else 0.0
            previous = message.seconds
        if isinstance(message.found, Note):
            yield message.found
        yield Moment(pause, message.found if isinstance(message.found, Turn) else None)


def cut_at_pauses(found: Iterable[Moment | Note], *, pause_hours: float, tally: Tally) -> Iterator[Dialogue | Note]:
    """Yield the conversations of a log: it is cut at pauses of `pause_hours` or longer.

    A part in which only one person speaks is not cut off: its answer came later, or it belongs to what was said before.
    Notes pass through.
    """
    ready: list[Turn] = []  # complete, unless what follows has one speaker only
    part: list[Turn] = []
    speakers: set[str] = set()
    pause = 0.0
    num_cuts = 0
    for item in found:
        if isinstance(item, Note):
            yield item
            continue
        pause = max(pause, item.pause_seconds)
        if item.turn is None:
            continue
        if pause >= pause_hours * 3600 and len(speakers) > 1:
            if ready:
                yield _dialogue(ready)
                num_cuts += 1
            ready, part, speakers = part, [], set()
        part.append(item.turn)
        speakers.add(item.turn.speaker)
        pause = 0.0
    if ready and len(speakers) > 1:
        yield _dialogue(ready)
        num_cuts += 1
        ready = []
    if ready or part:
        yield _dialogue(ready + part)
    tally.count("", f"pauses of {pause_hours:g} h or longer", _CUT, num_cuts)


def _dialogue(turns: list[Turn]) -> Dialogue:
    return Dialogue(turns[0].row, tuple(turns), rows=len(turns))


def seconds_of(value: object) -> float | None:
    """Return an ISO-8601 time as seconds since 1970, or None; a time without a zone is taken as UTC."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
