"""Rows of a file to dialogues: each row or document goes to the reader of its format."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import chain

from duologue.data import strict_json
from duologue.data.formats.apps import read_agnai, read_cai_tools, read_risuai, read_text_generation_webui
from duologue.data.formats.chat_log import PAUSE_HOURS
from duologue.data.formats.chat_rows import read_chat_row
from duologue.data.formats.detect import detect_format
from duologue.data.formats.discord import read_discord
from duologue.data.formats.kobold_lite import read_kobold_lite
from duologue.data.formats.open_webui import read_open_webui, read_open_webui_chats
from duologue.data.formats.pair_rows import read_alpaca_row, read_prompt_row
from duologue.data.formats.sillytavern import read_sillytavern
from duologue.data.formats.tally import Tally, refused
from duologue.data.formats.telegram import read_telegram
from duologue.data.formats.values import JsonObject
from duologue.data.formats.whatsapp import read_whatsapp
from duologue.data.found import DataFormat, Dialogue, Note, Row, RowFault

# A row is a conversation.
_CONVERSATIONS: dict[DataFormat, Callable[[JsonObject, int, Tally], Dialogue]] = {
    "messages": lambda row, number, _: read_chat_row(row, number),
    "sharegpt": lambda row, number, _: read_chat_row(row, number),
    "alpaca": lambda row, number, _: read_alpaca_row(row, number),
    "prompt-completion": lambda row, number, _: read_prompt_row(row, number),
    "text-generation-webui": read_text_generation_webui,
    "agnai": read_agnai,
    "kobold-lite": read_kobold_lite,
    "open-webui": read_open_webui,
}
_Collection = Callable[[JsonObject, int, Tally], Iterator[Dialogue | Note]]
_TABLES = ("csv", "parquet")
_LIST_COLUMNS = ("messages", "conversations", "conversation", "history")
_TEXT_OR_LIST_COLUMNS = ("prompt", "completion")


def read_dialogues(rows: Iterable[Row], *, container: str, pause_hours: float = PAUSE_HOURS) -> "Reading":
    """Return the dialogues of a file; its format is found out.

    Args:
        rows: The rows as they stand in the file, in order.
        container: What the rows come from: `json`, `json-lines`, `csv`, `parquet` or `text`.
        pause_hours: The log of a messenger is cut into conversations where nobody wrote for so long.
    """
    return Reading(rows, container=container, pause_hours=pause_hours)


class Reading:
    """The dialogues of a file, read in one pass.

    Iterate once. It yields a `Dialogue` for what can be used and a `Note` for the rest: `ROW_DROPPED` for each row that
    is refused, `ROW_LEFT_OUT` for each row that is no part of a conversation (a sticker, a notice), and, at the end,
    notes about the file as a whole (row 0). So `num_rows` is the sum of `Dialogue.rows` and the number of these notes
    (those of row 0 left aside).
    """

    def __init__(self, rows: Iterable[Row], *, container: str, pause_hours: float) -> None:
        """See `read_dialogues`."""
        self._rows = rows
        self._container = container
        self._pause_hours = pause_hours
        self._tally = Tally()
        # Documents that hold several conversations; the rows are inside.
        self._collections: dict[DataFormat, _Collection] = {
            "risuai": read_risuai,
            "cai-tools": read_cai_tools,
            "discord": partial(read_discord, pause_hours=pause_hours),
            "telegram": partial(read_telegram, pause_hours=pause_hours),
        }

    @property
    def formats(self) -> Counter[DataFormat]:
        """How many rows have each format; complete after the pass."""
        return self._tally.formats

    @property
    def num_rows(self) -> int:
        """Rows used, refused and left out; complete after the pass."""
        return self._tally.num_rows

    def __iter__(self) -> Iterator[Dialogue | Note]:
        if self._container == "text":
            yield from read_whatsapp(self._rows, self._tally, pause_hours=self._pause_hours)
        else:
            yield from self._read_json()
        yield from self._tally.notes()

    def _read_json(self) -> Iterator[Dialogue | Note]:
        rows = iter(self._rows)
        for row in rows:
            try:
                value = _with_lists(row.value) if self._container in _TABLES else row.value
                data_format = _format_of(value)
                if data_format == "sillytavern" and self._tally.formats:
                    raise RowFault("", "a line of a SillyTavern chat among rows of another format")
            except RowFault as fault:
                self._tally.num_rows += 1
                yield refused(row.number, _with_hint(fault) if self._container == "csv" else fault)
                continue
            if data_format == "sillytavern":
                yield from read_sillytavern(chain([row], rows), self._tally)
                return
            yield from self._read_document(value, row.number, data_format)

    def _read_document(self, value: object, number: int, data_format: DataFormat) -> Iterator[Dialogue | Note]:
        tally = self._tally
        try:
            if isinstance(value, list):
                yield from read_open_webui_chats(value, number, tally)
            elif data_format in _CONVERSATIONS:
                dialogue = _CONVERSATIONS[data_format](_object(value), number, tally)
                tally.add_rows(data_format)
                yield dialogue
            else:
                yield from self._collections[data_format](_object(value), number, tally)
        except RowFault as fault:  # raised before any row of the document was counted
            tally.add_rows(data_format)
            yield refused(number, fault)


def _object(value: object) -> JsonObject:
    assert isinstance(value, dict)
    return value


def _format_of(value: object) -> DataFormat:
    if isinstance(value, RowFault):
        raise value
    if isinstance(value, list) and value and isinstance(value[0], dict) and "chat" in value[0]:
        return "open-webui"  # several exports put into one file: each of them is a list of chats
    return detect_format(value)


def _with_hint(fault: RowFault) -> RowFault:
    """Return the fault of a record of a table whose columns are of no known format, with what may be missing."""
    if not fault.reason.startswith("unknown format"):
        return fault
    return RowFault(fault.field, f"{fault.reason}; the keys are the columns in the header, the first line of the table")


def _with_lists(value: object) -> object:
    """Return a row of a table with the lists that stand in its cells as JSON text."""
    if not isinstance(value, dict):
        return value
    row = dict(value)
    for key in _LIST_COLUMNS:
        cell = row.get(key)
        if isinstance(cell, str) and cell.lstrip().startswith("["):
            try:
                row[key] = strict_json.parse(cell)
            except strict_json.JsonFault as fault:
                raise RowFault(key, f"the list in this cell is not JSON: {fault.what}") from fault
    for key in _TEXT_OR_LIST_COLUMNS:
        cell = row.get(key)
        if isinstance(cell, str) and cell.lstrip().startswith("[{"):
            with suppress(strict_json.JsonFault):  # a text that begins with brackets stays a text
                row[key] = strict_json.parse(cell)
    return row
