import re
from pathlib import Path

import pytest

from duologue.characters import Character
from duologue.engine import Adapter, BaseModel
from duologue.export.licences import LICENCES, licence_of
from duologue.export.model_card import model_card


@pytest.mark.parametrize(
    ("base", "code"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
        ("meta-llama/Llama-2-13b-chat-hf", "llama2"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3.1"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama3.3"),
        ("google/gemma-3-12b-it", "gemma"),
        ("google/gemma-4-12b-it", "apache-2.0"),
        ("Qwen/Qwen2.5-72B-Instruct", "qwen"),
        ("Qwen/Qwen2-72B-Instruct", "tongyi-qianwen"),
        ("Qwen/Qwen1.5-14B-Chat", "tongyi-qianwen"),
        ("Qwen/Qwen2.5-3B-Instruct", "qwen-research"),
        ("Qwen/Qwen2.5-7B-Instruct", "apache-2.0"),
        ("Qwen/Qwen3-8B", "apache-2.0"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "apache-2.0"),
        ("microsoft/phi-4", "mit"),
        ("chargoddard/Yi-34B-200K-Llama", "yi-license"),
        ("someone/some-model", ""),
    ],
)
def test_a_base_has_its_makers_licence(base: str, code: str) -> None:
    assert licence_of(base).code == code


def test_what_the_bases_own_card_says_decides() -> None:
    assert licence_of("someone/llama-3.1-tuned", said="mit").code == "mit"
    assert licence_of("meta-llama/Llama-3.1-8B", said="other").code == "llama3.1"
    assert "look it up" in licence_of("a/b", said="strange-1.0").duties[0]


def test_every_licence_asks_for_something_and_notices_stand_in_its_duties() -> None:
    for licence in LICENCES.values():
        assert licence.duties
        assert bool(licence.notice) == any("notice below" in duty for duty in licence.duties)


@pytest.mark.parametrize("code", [code for code in LICENCES if code != "mit"])
def test_every_duty_names_the_clause_that_asks_for_it(code: str) -> None:
    unnamed = [
        duty
        for duty in LICENCES[code].duties
        if not re.search(r"\((?:\d(?:\.\w+)*|acceptable use policy)[^)]*\)", duty)
    ]
    assert unnamed == []


def test_a_research_licence_is_said_to_be_for_research_only() -> None:
    first = licence_of("Qwen/Qwen2.5-3B-Instruct").duties[0]
    assert "research and evaluation" in first


@pytest.mark.parametrize(("version", "may_improve_others"), [("2", False), ("3", False), ("3.1", True), ("3.3", True)])
def test_only_the_older_llama_licences_forbid_to_improve_other_models(version: str, may_improve_others: bool) -> None:
    forbids = any("(1.b.v)" in duty for duty in LICENCES[f"llama{version}"].duties)
    assert forbids != may_improve_others


def text_of(tmp_path: Path, base: str, **settings) -> str:
    adapter = Adapter(tmp_path / "adapter", BaseModel(base))
    return model_card(adapter, character=Character(name="Ada"), folder_name="ada", **settings)


def test_a_llama_card_shows_what_its_licence_wants_shown(tmp_path: Path) -> None:
    text = text_of(tmp_path, "meta-llama/Llama-3.1-8B-Instruct", form="adapter")
    assert "**Built with Llama**" in text
    assert "> Llama 3.1 is licensed under the Llama 3.1 Community License" in text
    assert 'license: "llama3.1"' in text
    assert "- lora" in text


@pytest.mark.parametrize(("rating", "is_tagged"), [("general", False), ("mature", True), ("adult", True)])
@pytest.mark.parametrize("form", ["merged", "gguf", "adapter", "bundle", "space"])
def test_a_rated_character_is_tagged_in_every_form(tmp_path: Path, form, rating, is_tagged) -> None:
    text = text_of(tmp_path, "bundled:smollm2-135m", form=form, rating=rating)
    assert ("- not-for-all-audiences" in text.split("\n---\n")[0]) == is_tagged
