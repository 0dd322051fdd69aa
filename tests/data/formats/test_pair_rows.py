"""Rows of Alpaca and of prompts with their completions."""

import pytest

from tests.data.formats.samples import ALPACA, PROMPT, PROMPT_OF_MESSAGES, read


def fault_of(row):
    found = read([row])
    assert found.dialogues == []
    [note] = found.notes
    return note.field, note.reason


def test_alpaca_puts_system_and_history_before_the_question():
    [dialogue] = read([ALPACA]).dialogues
    assert [(t.role, t.text, t.field) for t in dialogue.turns] == [
        ("system", "Be brief.", "system"),
        ("user", "Name the shape of a coin.", "history[0][0]"),
        ("assistant", "Round.", "history[0][1]"),
        ("user", "Name the colour.\n\ngrass", "instruction"),
        ("assistant", "Green.", "output"),
    ]


@pytest.mark.parametrize("extra", [{"input": ""}, {"input": None}, {"input": " \n"}, {}])
@pytest.mark.parametrize("reply", ["output", "response"])
def test_an_empty_or_absent_input_adds_nothing(extra, reply):
    row = {"instruction": "Name a colour.", reply: "Green.", "history": [], "system": "", **extra}
    assert read([row]).turns == [[("user", "Name a colour."), ("assistant", "Green.")]]


def test_an_input_without_an_instruction_is_the_question():
    row = {"instruction": "", "input": "Two and two?", "output": "Four."}
    assert read([row]).turns == [[("user", "Two and two?"), ("assistant", "Four.")]]


@pytest.mark.parametrize(
    "row, field",
    [
        ({"instruction": "x"}, "output"),
        ({"instruction": None, "output": "x"}, "instruction"),
        ({"instruction": "x", "output": None}, "output"),
        ({"instruction": "x", "output": ["y"]}, "output"),
        ({"instruction": "x", "input": 3, "output": "y"}, "input"),
        ({"instruction": "x", "output": "y", "system": {}}, "system"),
        ({"instruction": "x", "output": "y", "history": "z"}, "history"),
        ({"instruction": "x", "output": "y", "history": [["a"]]}, "history[0]"),
        ({"instruction": "x", "output": "y", "history": [["a", "b"], ["a", None]]}, "history[1][1]"),
        ({"input": "x", "output": "y"}, "instruction"),
        ({"output": "y"}, "instruction"),
        ({"prompt": "x"}, "completion"),
        ({"completion": "x"}, "prompt"),
        ({"prompt": "x", "completion": None}, "completion"),
        ({"prompt": [], "completion": "x"}, "prompt"),
        ({"prompt": [{"role": "user", "content": None}], "completion": "x"}, "prompt[0].content"),
        ({"question": "x"}, "answer"),
        ({"answer": "x"}, "question"),
    ],
)
def test_a_broken_pair_names_its_field(row, field):
    found, reason = fault_of(row)
    assert found == field and reason


def test_a_prompt_and_its_completion_are_a_question_and_its_reply():
    assert read([PROMPT]).turns == [[("user", "The kettle is"), ("assistant", " singing.")]]
    assert read([{"prompt": "a", "response": "b", "system": "c"}]).turns == [
        [("system", "c"), ("user", "a"), ("assistant", "b")]
    ]
    found = read([{"question": "Why?", "answer": "Because."}])
    assert found.turns == [[("user", "Why?"), ("assistant", "Because.")]]
    assert found.reading.formats == {"prompt-completion": 1}


def test_replies_inside_a_prompt_are_context():
    [dialogue] = read([PROMPT_OF_MESSAGES]).dialogues
    assert [(turn.role, turn.is_trained) for turn in dialogue.turns] == [
        ("user", True),
        ("assistant", False),
        ("user", True),
        ("assistant", True),
    ]
    assert dialogue.turns[-1].field == "completion[0].content"
