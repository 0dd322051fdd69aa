"""The model card of an export: what it is, what it was trained on, how it did, how to load it.

Card and names come from other people, so they are written as plain text; local paths are left out.
"""

import html
import json
from pathlib import Path
from typing import Any

from duologue import prompt
from duologue.characters import Character
from duologue.engine import Adapter, Precision
from duologue.errors import EngineError

# Name on the hub and licence as its model cards write it, for the bases of the shipped recipes.
_KNOWN_BASES = {
    "bundled:smollm2-135m": ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
    "chargoddard/Yi-34B-200K-Llama": ("chargoddard/Yi-34B-200K-Llama", "other"),
    "meta-llama/Llama-2-7b-chat-hf": ("meta-llama/Llama-2-7b-chat-hf", "llama2"),
    "meta-llama/Llama-2-13b-chat-hf": ("meta-llama/Llama-2-13b-chat-hf", "llama2"),
}
_LOADING = """```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = {folder}
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder, dtype="{dtype}")
messages = [
    {{"role": "system", "content": {system}}},
    {{"role": "user", "content": "Hello, who are you?"}},
]
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
output = model.generate(**inputs, max_new_tokens=128)
print(tokenizer.decode(output[0][inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```"""


def model_card(adapter: Adapter, *, character: Character, folder_name: str, dtype: Precision) -> str:
    """Return the text of README.md.

    Args:
        adapter: Its base, and the run folder it lies in.
        character: Who speaks.
        folder_name: Name of the exported folder, for the example.
        dtype: Type of the weights.

    Raises:
        EngineError: A document of the run is damaged.
    """
    base, licence = _base_and_licence(adapter.base.name)
    run = adapter.folder.parent
    parts = [
        _front_matter(base, licence),
        f"# {_plain(character.display_name)}",
        f"A chat model that speaks as {_plain(character.display_name)}: {_plain(base)}, fine-tuned with LoRA on one "
        f"machine by duologue; the adapter is folded in, weights in {dtype}.",
        _licence_words(licence),
        _data_words(_read(run / "data.json")),
        _evaluation_words(_read(run / "evaluation.json")),
        "## Loading",
        _LOADING.format(
            folder=_literal(folder_name),
            dtype=dtype,
            system=_literal(prompt.system_text(character, user_name="User")),
        ),
        "The character was trained behind this system text; without it, it is less itself.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _base_and_licence(name: str) -> tuple[str, str]:
    """Return what the base is called in public and its licence; a local folder is called by its own name only."""
    if name in _KNOWN_BASES:
        return _KNOWN_BASES[name]
    path = Path(name)
    if path.exists() or path.is_absolute():
        return path.name, _front_matter_value(path / "README.md", key="license")
    return name, ""


def _front_matter_value(path: Path, *, key: str) -> str:
    """Return a plain value from the YAML head of a model card, or an empty string."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    if lines[:1] != ["---"]:
        return ""
    for line in lines[1:]:
        if line == "---":
            break
        found, _, value = line.partition(":")
        if found == key:
            return value.strip().strip("\"'")
    return ""


def _front_matter(base: str, licence: str) -> str:
    lines = ["---", f"base_model: {json.dumps(base)}"]
    if licence:
        lines.append(f"license: {json.dumps(licence)}")
    return "\n".join(
        [*lines, "library_name: transformers", "pipeline_tag: text-generation", "tags:", "- duologue", "---"]
    )


def _licence_words(licence: str) -> str:
    if licence and licence != "other":
        return f"The base model's licence ({_plain(licence)}) applies to these weights."
    return "The base model's licence applies to these weights; look it up on the base model's own page before sharing."


def _data_words(data: dict[str, Any]) -> str:
    if not data:
        return ""
    stats = data.get("stats", {})
    words = (
        "## Data\n\n"
        f"{data['num_conversations']:,} conversations with {data['num_turns']:,} replies; "
        f"{data['num_dropped']:,} rows were dropped."
    )
    if stats:
        words += (
            f" {stats['num_tokens']:,} tokens to learn from, {stats['num_trained_tokens']:,} of them the character's "
            f"own words; {stats['num_validation_examples']:,} examples were held out."
        )
    return words


def _evaluation_words(evaluation: dict[str, Any]) -> str:
    if not evaluation or evaluation["tuned_perplexity"] is None:
        return ""
    return (
        "## Evaluation\n\n"
        f"On {evaluation['num_scored_tokens']:,} tokens of held-out replies:\n\n"
        "| | base model | this model |\n|---|---|---|\n"
        f"| perplexity | {evaluation['base_perplexity']:.2f} | {evaluation['tuned_perplexity']:.2f} |\n"
        f"| loss, nats per token | {evaluation['base_loss']:.3f} | {evaluation['tuned_loss']:.3f} |"
    )


def _read(path: Path) -> dict[str, Any]:
    """Return a document of the run's ledger, or nothing when the run does not have it."""
    if not path.is_file():
        return {}
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"the ledger of the run cannot be read ({error})", where=str(path)) from error
    return document


def _plain(text: str) -> str:
    """Return a text as one line that Markdown shows as it is."""
    one_line = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{sign}" if sign in "\\`*_[]|#" else sign for sign in one_line)


def _literal(text: str) -> str:
    """Return a text as a Python literal in which nothing can end the code block."""
    return json.dumps(text.replace("```", "'''"), ensure_ascii=False)
