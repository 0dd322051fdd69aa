"""Chats of WhatsApp as its apps export them to text, from Android and iOS, in the date styles of many languages."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from duologue.data.formats.chat_log import Moment, cut_at_pauses
from duologue.data.formats.tally import ROW_LEFT_OUT, Tally, refused
from duologue.data.formats.values import text_of
from duologue.data.formats.whatsapp_clock import Clock, Stamp
from duologue.data.formats.whatsapp_words import own_words
from duologue.data.found import FILE_REFUSED, Dialogue, Note, Row, RowFault, Turn

_LOOKED_AT_LINES = (
    50  # an export begins with a message; a few lines more, should somebody have written a title above it
)
_MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
_SPACE = "[ \u00a0\u202f]"
_HEAD = re.compile(
    rf"[{_MARKS}]*(?P<bracket>\[)?"
    r"(?P<first>\d{1,4})[./\-年년]\s?(?P<second>\d{1,2})[./\-月월]\s?(?P<third>\d{1,4})"
    r"(?P<before>[^\d\[\]]{1,16}?)"
    r"(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<seconds>\d{2}))?"
    r"(?P<after>[^\d\[\]:]{0,12}?)"
    rf"(?(bracket)\]{_SPACE}?|(?:{_SPACE}[-\u2013\u2014]{_SPACE}|:{_SPACE}|,{_SPACE}(?=[^:]{{1,80}} : )))"
    r"(?P<rest>.*)",
    re.DOTALL,
)
_SENDER = re.compile(rf"(?P<name>[^:\n]{{1,120}}?){_SPACE}?:(?:{_SPACE}|$)(?P<text>.*)", re.DOTALL)
_QUOTES = frozenset('"“”„«»')  # stand in notices about the name of a group, not in the name of a person

Line = tuple[int, str | RowFault]


@dataclass(slots=True)
class _Sent:
    """A message while its lines are collected."""

    row: int
    stamp: Stamp
    rest: str
    more: list[str] = field(default_factory=list)


def read_whatsapp(rows: Iterable[Row], tally: Tally, *, pause_hours: float) -> Iterator[Dialogue | Note]:
    """Yield the conversations of an exported chat; a row is a message, numbered by its first line.

    A text that does not begin like an export of WhatsApp is refused as a whole.
    """
    lines = _lines(rows)
    beginning = list(islice(lines, _LOOKED_AT_LINES))
    if not any(isinstance(line, str) and _HEAD.match(line) for _, line in beginning):
        for number, line in beginning:
            if isinstance(line, RowFault):
                tally.num_rows += 1
                yield refused(number, line)
        if any(isinstance(line, str) and line.strip() for _, line in beginning):
            reason = "a text without lines like '31.12.23, 23:59 - Name: text'; expected an export of WhatsApp, or JSON"
            yield Note(0, "", reason, FILE_REFUSED)
        return
    found = _moments(chain(beginning, lines), tally)
    yield from cut_at_pauses(found, pause_hours=pause_hours, tally=tally)


def _lines(rows: Iterable[Row]) -> Iterator[Line]:
    """Yield the lines of a text with their numbers, empty ones too."""
    expected = 1
    for row in rows:
        for number in range(expected, row.number):
            yield number, ""
        if not isinstance(row.value, str):
            fault = RowFault("", "is no text")
            yield row.number, row.value if isinstance(row.value, RowFault) else fault
            expected = row.number + 1
            continue
        parts = row.value.removesuffix("\n").removesuffix("\r").split("\n")
        for offset, part in enumerate(parts):
            yield row.number + offset, part.removesuffix("\r")
        expected = row.number + len(parts)


def _moments(lines: Iterable[Line], tally: Tally) -> Iterator[Moment | Note]:
    """Yield the messages with the pauses between them."""
    clock = Clock()
    style: tuple[bool, bool] | None = None
    sent: _Sent | None = None
    for number, line in lines:
        if isinstance(line, RowFault):
            tally.add_rows("whatsapp")
            yield refused(number, line)
            continue
        head = _HEAD.match(line)
        if head is not None and style in (None, _style(head)):
            if sent is not None:
                yield from _finish(sent, clock, tally)
            style = _style(head)
            sent = _Sent(number, Stamp.of(head), head["rest"])
        elif sent is not None:
            sent.more.append(line)
        elif line.strip():
            tally.add_rows("whatsapp")
            yield Note(number, "", "a line before the first message", ROW_LEFT_OUT)
    if sent is not None:
        yield from _finish(sent, clock, tally)


def _style(head: re.Match[str]) -> tuple[bool, bool]:
    """Return what all messages of one export share; a line of another style was written by a person."""
    return head["bracket"] is not None, head["seconds"] is not None


def _finish(sent: _Sent, clock: Clock, tally: Tally) -> Iterator[Moment | Note]:
    tally.add_rows("whatsapp")
    pause = clock.pause_seconds(sent.stamp)
    if pause is None:
        tally.count("", "messages without a readable time", "taken to follow at once")
    try:
        found = _read_message(sent, tally)
    except RowFault as fault:
        yield refused(sent.row, fault)
        return
    if isinstance(found, Note):
        yield found
    yield Moment(pause or 0.0, found if isinstance(found, Turn) else None)


def _read_message(sent: _Sent, tally: Tally) -> Turn | Note:
    while sent.more and not sent.more[-1].strip():
        sent.more.pop()  # the empty lines at the end of the file
    whole = text_of("\n".join([sent.rest, *sent.more]), "")
    parts = _SENDER.match(whole)
    if parts is None or _QUOTES & set(parts["name"]):
        return Note(sent.row, "", "a notice of WhatsApp", ROW_LEFT_OUT)
    speaker = parts["name"].strip(_MARKS + " \u00a0\u202f").removeprefix("~").strip(_MARKS + " \u00a0\u202f")
    if not speaker:
        return Note(sent.row, "", "a message without a sender", ROW_LEFT_OUT)
    words = own_words(parts["text"])
    if words.is_edited:
        tally.count("", "edited messages", "the mark is removed")
    if not words.text.strip():
        return Note(sent.row, "", words.what, ROW_LEFT_OUT)
    if words.has_media:
        tally.count("", "messages with media", "only their text is used")
    return Turn(None, speaker, words.text, sent.row, "")
