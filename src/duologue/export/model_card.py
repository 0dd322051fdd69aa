"""The model card of an export: what it is, what it was trained on, how it did, how to load it.

Card and names come from other people, so they are written as plain text; local paths are left out.
"""

import html
import json
from pathlib import Path
from typing import Any, Literal

from duologue import prompt
from duologue.characters import Character
from duologue.engine import Adapter, Precision
from duologue.export.ledger import read_document
from duologue.export.licences import Licence, licence_of
from duologue.guard import Rating

UNNAMED_USER = "User"  # whom the character speaks to, where others read it
CardForm = Literal["merged", "gguf", "adapter", "bundle", "space"]
_KNOWN_BASES = {"bundled:smollm2-135m": "HuggingFaceTB/SmolLM2-135M-Instruct"}
_NOT_FOR_ALL = ("mature", "adult")
_FORMS: dict[CardForm, str] = {
    "merged": "the adapter is folded in, weights in {dtype}",
    "gguf": "the weights are GGUF files for llama.cpp and what is built on it",
    "adapter": "this is the adapter, which needs its base",
    "bundle": "this is the adapter with its character card, which needs its base",
    "space": "this Space talks as the character does",
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


def model_card(
    adapter: Adapter,
    *,
    character: Character,
    folder_name: str,
    dtype: Precision = "bfloat16",
    form: CardForm = "merged",
    rating: Rating = "general",
) -> str:
    """Return the text of README.md.

    Args:
        adapter: Its base, and the run folder it lies in.
        character: Who speaks.
        folder_name: Name of the exported folder or file, for the example.
        dtype: Type of merged weights.
        form: What is shared.
        rating: The operator's content rating; above `general` the card is tagged as not for all audiences.

    Raises:
        EngineError: A document of the run is damaged.
    """
    base, licence = base_and_licence(adapter.base.name)
    run = adapter.folder.parent
    system = prompt.system_text(character, user_name=UNNAMED_USER)
    parts = [
        _front_matter(base, licence, form=form, rating=rating),
        f"# {_plain(character.display_name)}",
        f"A chat model that speaks as {_plain(character.display_name)}: {_plain(base)}, fine-tuned with LoRA on one "
        f"machine by duologue; {_FORMS[form].format(dtype=dtype)}.",
        _rating_words(rating),
        _licence_words(licence),
        _data_words(read_document(run / "data.json")),
        _evaluation_words(read_document(run / "evaluation.json")),
        _loading(form, system=system, folder_name=folder_name, dtype=dtype),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def base_and_licence(name: str) -> tuple[str, Licence]:
    """Return what the base is called in public and its licence; a local folder is called by its own name only."""
    public = _KNOWN_BASES.get(name, name)
    path = Path(name)
    if path.exists() or path.is_absolute():
        said = _front_matter_value(path / "README.md", key="license")
        if said == "other":
            said = _front_matter_value(path / "README.md", key="license_name") or said
        return path.name, licence_of(path.name, said=said)
    return public, licence_of(public)


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


def _front_matter(base: str, licence: Licence, *, form: CardForm, rating: Rating) -> str:
    lines = ["---", f"base_model: {json.dumps(base)}"]
    if licence.code:
        lines.append(f"license: {json.dumps(licence.hub_code)}")
    if licence.hub_code == "other":
        lines.append(f"license_name: {json.dumps(licence.code)}")
    if form != "space":
        library = {"gguf": "gguf", "adapter": "peft", "bundle": "peft"}.get(form, "transformers")
        lines += [f"library_name: {library}", "pipeline_tag: text-generation"]
    tags = ["duologue", *(["lora"] if form in ("adapter", "bundle") else [])]
    tags += ["not-for-all-audiences"] if rating in _NOT_FOR_ALL else []
    return "\n".join([*lines, "tags:", *(f"- {tag}" for tag in tags), "---"])


def _rating_words(rating: Rating) -> str:
    if rating not in _NOT_FOR_ALL:
        return ""
    return f"Its content rating is {rating}: it is not for all audiences."


def _licence_words(licence: Licence) -> str:
    if not licence.name:
        return "\n".join(["## Licence", "", *licence.duties])
    head = f"The base model's licence ({_plain(licence.name)}) applies to these weights."
    link = f" It is read at <{licence.link}>." if licence.link else ""
    lines = ["## Licence", ""]
    if licence.display:
        lines += [f"**{licence.display}**", ""]
    lines += [f"{head}{link} Whoever shares them:", "", *(f"- {duty}" for duty in licence.duties)]
    if licence.notice:
        lines += ["", f"> {licence.notice}"]
    return "\n".join(lines)


def _loading(form: CardForm, *, system: str, folder_name: str, dtype: Precision) -> str:
    behind = "The character was trained behind this system text; without it, it is less itself."
    if form == "merged":
        example = _LOADING.format(folder=_literal(folder_name), dtype=dtype, system=_literal(system))
        return f"## Loading\n\n{example}\n\n{behind}"
    if form == "bundle":
        return (
            "## Loading\n\n`duologue new NAME --bundle FILE` makes a character's folder of it again. "
            "Other applications open it as a character card, without the adapter."
        )
    if form == "space":
        return ""
    return f"## Loading\n\nSystem text:\n\n```text\n{_fenced(system)}\n```\n\n{behind}"


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


def _plain(text: str) -> str:
    """Return a text as one line that Markdown shows as it is."""
    one_line = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{sign}" if sign in "\\`*_[]|#" else sign for sign in one_line)


def _literal(text: str) -> str:
    """Return a text as a Python literal in which nothing can end the code block."""
    return json.dumps(text.replace("```", "'''"), ensure_ascii=False)


def _fenced(text: str) -> str:
    """Return a text that cannot end the block of code it stands in."""
    return text.replace("```", "'''")
