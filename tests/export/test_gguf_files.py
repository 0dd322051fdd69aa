"""What lies beside a GGUF file for Ollama and LM Studio."""

import json
import re
from pathlib import Path

import pytest

from duologue.characters import Character
from duologue.config import Config
from duologue.engine import Turns, read_turns
from duologue.engine.bundled import bundled_file
from duologue.engine.gguf import turns as reading
from duologue.engine.gguf.metadata import GgufMetadata
from duologue.export.lm_studio import preset
from duologue.export.ollama import go_template, modelfile
from duologue.messages import Message

BUNDLED = "bundled:smollm2-135m"
LILA = Character(name="Lila Quill", description="The night conductor. {{user}} rides along.", greeting="Hi {{user}}.")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BRACKETS = (
    "{% if messages[0].role == 'system' %}{% set head = messages[0].content %}{% set rest = messages[1:] %}"
    "{% else %}{% set rest = messages %}{% endif %}"
    "{% for m in rest %}{% if m.role == 'user' %}{{ bos_token }}[INST] "
    "{% if loop.first and head %}<<SYS>>\n{{ head }}\n<</SYS>>\n\n{% endif %}{{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
NO_SYSTEM = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else 'user' }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
NUMBERED = (
    "{% for m in messages %}{{ loop.index }}. {{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TALK = (
    Message("system", "Be kind."),
    Message("user", "Hello."),
    Message("assistant", "Good evening."),
    Message("user", "Where to?"),
)


def a_config(**generation: object) -> Config:
    return Config(model={"base": BUNDLED}, data={"train": ["x"]}, generation=generation, character={"user_name": "Sam"})


def turns_of(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, adds_bos: bool) -> Turns | None:
    metadata = GgufMetadata(source, 2048, "<s>", "</s>", {1: "<s>", 2: "</s>"}, frozenset({2}))
    header = type("Header", (), {"fields": {"tokenizer.ggml.add_bos_token": adds_bos}})()
    monkeypatch.setattr(reading, "read_metadata", lambda _: metadata)
    monkeypatch.setattr(reading, "read_header", lambda _: header)
    return read_turns(tmp_path / "some.gguf")


def fill_go(template: str, messages: tuple[Message, ...]) -> str:
    """Fill the part of Go's template language that is used here."""
    parts = re.split(r"\{\{ (.*?) \}\}", template)
    head, body, tail = _cut(parts)
    assert head == ["", '$last := ""', "", "range .Messages"]
    filled, last = "", ""
    for message in messages:
        filled += _block(body, message, last)
        last = message.role
    return filled + "".join(tail)


def _cut(parts: list[str]) -> tuple[list[str], list[str], list[str]]:
    end = len(parts) - 1 - parts[::-1].index("end")
    return parts[:4], parts[4:end], parts[end + 1 :]


def _block(parts: list[str], message: Message, last: str) -> str:
    filled, taken, is_on = "", [], [True]
    for at, part in enumerate(parts):
        if at % 2 == 0:
            filled += part if all(is_on) else ""
        elif part.startswith(("if ", "else if ")):
            variable, value = re.search(r'eq (\S+) "(.*)"', part).groups()
            if part.startswith("if "):
                taken.append(False)
                is_on.append(False)
            is_on[-1] = not taken[-1] and {".Role": message.role, "$last": last}[variable] == value
            taken[-1] = taken[-1] or is_on[-1]
        elif part == "end":
            taken.pop()
            is_on.pop()
        elif part == ".Content":
            filled += message.content
        else:
            assert part == "$last = .Role"
    return filled


@pytest.mark.parametrize("adds_bos", [True, False])
@pytest.mark.parametrize("source", [CHATML, BRACKETS, NO_SYSTEM])
def test_the_go_template_writes_what_the_models_own_writes(
    source: str, adds_bos: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = turns_of(source, tmp_path, monkeypatch, adds_bos=adds_bos)
    assert turns is not None
    template = go_template(turns.between, turns.reply_header)
    assert template is not None
    metadata = GgufMetadata(source, 2048, "<s>", "</s>", {}, frozenset())
    own = reading._chat_text(metadata, tmp_path)
    for talk in (TALK, TALK[:2], TALK[1:]):
        expected = own.render(talk, add_generation_prompt=True)
        assert fill_go(template, talk) == (expected.removeprefix("<s>") if adds_bos else expected)


def test_a_template_that_counts_is_not_said_in_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert turns_of(NUMBERED, tmp_path, monkeypatch, adds_bos=False) is None
    text = modelfile("lila.gguf", character=LILA, config=a_config(), turns=None)
    assert "\nTEMPLATE" not in text
    assert "# no TEMPLATE" in text


def test_numbers_of_a_modelfile_are_written_out() -> None:
    lines = modelfile(
        "lila.gguf",
        character=LILA,
        config=a_config(max_new_tokens=2_000_000, temperature=0.00001, top_p=1.0),
        turns=None,
    ).splitlines()
    assert {"PARAMETER num_predict 2000000", "PARAMETER temperature 0.00001", "PARAMETER top_p 1"} <= set(lines)


def test_the_modelfile_of_the_bundled_model_has_template_system_greeting_and_stops() -> None:
    turns = read_turns(bundled_file(BUNDLED))
    config = a_config(temperature=0.7, stop=["\nSam:"], seed=3, context_tokens=2048)
    text = modelfile("lila-Q8_0.gguf", character=LILA, config=config, turns=turns, licences=["Do as you like."])
    lines = text.splitlines()
    assert "FROM ./lila-Q8_0.gguf" in lines
    assert 'SYSTEM """You are Lila Quill. The night conductor. Sam rides along."""' in lines
    assert 'MESSAGE assistant """Hi Sam."""' in lines
    assert 'LICENSE """Do as you like."""' in lines
    for wanted in ("temperature 0.7", "num_ctx 2048", "repeat_penalty 1.05", "num_predict 128", "seed 3"):
        assert f"PARAMETER {wanted}" in lines
    assert 'PARAMETER stop """<|im_end|>"""' in lines
    assert 'PARAMETER stop """\nSam:"""' in text
    found = re.search(r'TEMPLATE """(.*?)"""\nSYSTEM', text, flags=re.DOTALL)
    assert found is not None
    said = fill_go(found[1], TALK)
    assert said.endswith("<|im_start|>user\nWhere to?<|im_end|>\n<|im_start|>assistant\n")


def test_an_adapter_beside_its_base_is_named() -> None:
    text = modelfile("base.gguf", character=LILA, config=a_config(), turns=None, lora="lora/lila-lora.gguf")
    assert "FROM ./base.gguf\nADAPTER ./lora/lila-lora.gguf\n" in text


def test_a_card_cannot_end_its_text_and_add_an_instruction() -> None:
    sly = Character(name='Sly"""\nFROM /etc', description='kind """\nADAPTER /tmp/x\n"""', greeting='"""\nFROM other')
    text = modelfile("sly.gguf", character=sly, config=a_config(), turns=None)
    outside = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
    assert [line for line in outside.splitlines() if line.startswith(("FROM", "ADAPTER"))] == ["FROM ./sly.gguf"]


def test_the_preset_of_lm_studio_carries_system_text_and_settings() -> None:
    document = json.loads(preset("lila", character=LILA, config=a_config(temperature=0.7, top_p=0.9, stop=["END"])))
    assert document["identifier"] == "@local:lila"
    assert document["name"] == "Lila Quill"
    fields = {row["key"]: row["value"] for row in document["operation"]["fields"]}
    assert fields["llm.prediction.systemPrompt"] == "You are Lila Quill. The night conductor. Sam rides along."
    assert fields["llm.prediction.temperature"] == 0.7
    assert fields["llm.prediction.topPSampling"] == {"checked": True, "value": 0.9}
    assert fields["llm.prediction.stopStrings"] == ["END"]
