"""Rows that hold a question and its reply: Alpaca's `instruction` and `output`, and `prompt` and `completion`."""

from duologue.data.formats.chat_rows import read_turns, system_turns
from duologue.data.formats.values import (
    JsonObject,
    json_type,
    missing,
    optional_text,
    required_text,
    text_of,
    unused_texts,
)
from duologue.data.found import Dialogue, Note, RowFault, Turn
from duologue.messages import Role


def read_alpaca_row(row: JsonObject, number: int) -> Dialogue:
    """Return the conversation of an Alpaca row; `input` follows the instruction after an empty line.

    Raises:
        RowFault: The reply is missing or something is no text.
    """
    reply_key = "output" if "output" in row or "response" not in row else "response"
    if reply_key not in row:
        missing("output", "'output' or 'response'")
    instruction = required_text(row, "instruction")
    extra = optional_text(row, "input")
    question = "\n\n".join(part for part in (instruction, extra) if part.strip())
    turns = [
        *system_turns(row, number),
        *_history(row.get("history"), number),
        Turn("user", "", question, number, "instruction"),
        Turn("assistant", "", required_text(row, reply_key), number, reply_key),
    ]
    used = frozenset({"instruction", "history", reply_key})
    return Dialogue(number, tuple(turns), tuple(unused_texts(row, used, turns)))


def read_prompt_row(row: JsonObject, number: int) -> Dialogue:
    """Return the conversation of a row with a prompt and its completion, or a question and its answer.

    Both are texts, or lists of messages. What the prompt holds is context: replies in it are not trained.

    Raises:
        RowFault: One of them is missing or is neither.
    """
    prompt_key = "prompt" if "prompt" in row else "question"
    reply_key = next((key for key in ("completion", "response", "answer") if key in row), "completion")
    notes: list[Note] = []
    prompt = _side(row, prompt_key, number=number, notes=notes)
    context = tuple(
        Turn(turn.role, turn.speaker, turn.text, number, turn.field, is_trained=turn.role != "assistant")
        for turn in prompt
    )
    reply = _side(row, reply_key, number=number, notes=notes)
    turns = [*system_turns(row, number), *context, *reply]
    notes += unused_texts(row, frozenset({prompt_key, reply_key}), turns)
    return Dialogue(number, tuple(turns), tuple(notes))


def _side(row: JsonObject, key: str, *, number: int, notes: list[Note]) -> list[Turn]:
    value = row.get(key)
    if isinstance(value, list):
        if not value:
            raise RowFault(key, "is empty; expected a text or a list of messages")
        return read_turns(value, key, row=number, notes=notes)
    role: Role = "user" if key in ("prompt", "question") else "assistant"
    return [Turn(role, "", required_text(row, key), number, key)]


def _history(value: object, number: int) -> list[Turn]:
    """Return earlier exchanges: a list of pairs of a question and its reply."""
    if value is None or value == "":
        return []
    if not isinstance(value, list):
        raise RowFault("history", f"found a JSON {json_type(value)}; expected a list of pairs")
    turns: list[Turn] = []
    for index, pair in enumerate(value):
        at = f"history[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"{len(pair)} items" if isinstance(pair, list) else f"a JSON {json_type(pair)}"
            raise RowFault(at, f"found {found}; expected a pair of a question and its reply")
        turns.append(Turn("user", "", text_of(pair[0], f"{at}[0]"), number, f"{at}[0]"))
        turns.append(Turn("assistant", "", text_of(pair[1], f"{at}[1]"), number, f"{at}[1]"))
    return turns
