"""The last turn of a chat that a client sends as one raw text."""

import time

import pytest

from duologue.chat import last_turn

SAID = "Will you stay?\nPlan: the lake."
ONCE = {
    "chatml": f"<|im_start|>system\nLila<|im_end|>\n<|im_start|>user\n{SAID}<|im_end|>\n<|im_start|>assistant\n",
    "llama 3": (
        f"<|start_header_id|>user<|end_header_id|>\n\n{SAID}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "llama 2": f"<s>[INST] {SAID} [/INST]",
    "gemma": f"<start_of_turn>user\n{SAID}<end_of_turn>\n<start_of_turn>model\n",
    "vicuna": f"USER: {SAID} ASSISTANT:",
    "alpaca": f"### Instruction:\n{SAID}\n\n### Response:\n",
    "names": f"Anna: {SAID}\nLila:",
}
TWICE = {
    "chatml": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello. Look: rain.<|im_end|>\n",
    "llama 3": (
        "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nHello. Look: rain.<|eot_id|>"
    ),
    "llama 2": "<s>[INST] Hi [/INST] Hello. Look: rain. </s>",
    "gemma": "<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello. Look: rain.<end_of_turn>\n",
    "vicuna": "USER: Hi ASSISTANT: Hello. Look: rain.</s>",
    "alpaca": "### Instruction:\nHi\n\n### Response:\nHello. Look: rain.\n\n",
    "names": "Anna: Hi\nLila: Hello. Look: rain.\n",
}


@pytest.mark.parametrize("form", TWICE)
def test_the_turn_after_a_reply_is_whole_and_nothing_else(form: str) -> None:
    assert last_turn(TWICE[form] + ONCE[form]) == SAID


@pytest.mark.parametrize("form", ONCE)
def test_the_end_of_the_first_turn_is_found(form: str) -> None:
    assert last_turn(ONCE[form]).endswith("the lake.")


def test_a_name_after_the_mark_of_a_template_is_part_of_the_beginning_of_the_reply() -> None:
    assert last_turn(f"{TWICE['chatml']}{ONCE['chatml']}Lila:") == SAID


@pytest.mark.parametrize("text", ["", ":", "She stood at the window.", f"{ONCE['names']} I will", "a" * 90_000])
def test_what_is_no_chat_has_no_turns(text: str) -> None:
    assert last_turn(text) == ""


@pytest.mark.parametrize("flood", ["<s>", "a: ", "a:\n", "### x:", "<|im_start|>a"])
def test_a_flood_of_marks_is_read_in_time(flood: str) -> None:
    started = time.process_time()
    last_turn(flood * 20_000)
    assert time.process_time() - started < 2
