import ast
import json
import re
from pathlib import Path

import pytest

from duologue.characters import Character
from duologue.engine import Adapter, BaseModel
from duologue.export.model_card import model_card

LILA = Character(name="Lila Quill", description="The night conductor of the Moth Line.")


def card(tmp_path: Path, *, base: str = "bundled:smollm2-135m", character: Character = LILA) -> str:
    (tmp_path / "adapter").mkdir(exist_ok=True)
    adapter = Adapter(tmp_path / "adapter", BaseModel(base))
    return model_card(adapter, character=character, folder_name="lila-merged", dtype="bfloat16")


def example(text: str) -> str:
    found = re.search(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_base_and_licence_stand_at_the_head_as_the_hub_reads_them(tmp_path: Path) -> None:
    head = card(tmp_path).split("---")[1]
    assert 'base_model: "HuggingFaceTB/SmolLM2-135M-Instruct"' in head
    assert 'license: "apache-2.0"' in head


def test_an_unknown_base_gets_no_licence_but_a_word_of_caution(tmp_path: Path) -> None:
    text = card(tmp_path, base="someone/some-model")
    assert "license:" not in text
    assert "before sharing" in text


def test_a_local_base_is_named_without_its_path_and_brings_its_licence(tmp_path: Path) -> None:
    local = tmp_path / "home-of-ann" / "my-base"
    local.mkdir(parents=True)
    (local / "README.md").write_text("---\nlanguage: en\nlicense: mit\n---\nlicense: not this one\n")
    text = card(tmp_path, base=str(local))
    assert 'base_model: "my-base"' in text
    assert 'license: "mit"' in text
    assert "home-of-ann" not in text


def test_counts_and_perplexities_of_the_run_are_told_and_nothing_that_was_said(tmp_path: Path) -> None:
    account = {
        "num_conversations": 1500,
        "num_turns": 611,
        "num_dropped": 3,
        "files": [{"path": "/home/ann/diary.json"}],
        "stats": {"num_tokens": 37730, "num_trained_tokens": 18865, "num_validation_examples": 12},
    }
    numbers = {"base_perplexity": 24.876, "tuned_perplexity": 7.933, "base_loss": 3.214, "tuned_loss": 2.071}
    replies = [{"prompt": "secret", "base": "secret", "tuned": "secret"}]
    (tmp_path / "data.json").write_text(json.dumps(account))
    (tmp_path / "evaluation.json").write_text(json.dumps({**numbers, "num_scored_tokens": 1671, "replies": replies}))
    text = card(tmp_path)
    assert "1,500 conversations with 611 replies; 3 rows were dropped." in text
    assert "| perplexity | 24.88 | 7.93 |" in text
    assert "secret" not in text
    assert "diary" not in text


def test_an_evaluation_without_held_out_data_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps({"tuned_perplexity": None}))
    assert "## Evaluation" not in card(tmp_path)


def test_the_example_is_python_and_carries_the_system_text_the_character_was_trained_behind(tmp_path: Path) -> None:
    tree = ast.parse(example(card(tmp_path)))
    constants = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert "You are Lila Quill. The night conductor of the Moth Line." in constants
    assert "lila-merged" in constants


@pytest.mark.parametrize(
    "text",
    [
        "``` \n# Owned\n```",
        'quote " and \\ and \u2028 and \x00',
        "---\nlicense: mit\n---",
        "<script>x</script> *a* [b](c)",
    ],
)
def test_whatever_a_character_card_says_breaks_neither_head_nor_example(tmp_path: Path, text: str) -> None:
    written = card(tmp_path, character=Character(name=text, description=text))
    ast.parse(example(written))
    assert written.count("```") == 2
    prose = re.sub(r"```python\n.*?```", "", written, flags=re.DOTALL)
    assert "<script>" not in prose
    assert "\n# Owned" not in prose
    head = written.split("\n---\n")[0].splitlines()
    assert head[:3] == ["---", 'base_model: "HuggingFaceTB/SmolLM2-135M-Instruct"', 'license: "apache-2.0"']
    assert [line for line in written.splitlines() if line.startswith("license:")] == ['license: "apache-2.0"']
