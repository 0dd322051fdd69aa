"""The JSON schema of duologue.toml and its reference page, both made from the texts under the schema's fields."""

import ast
import inspect
import json
from functools import cache
from itertools import pairwise
from typing import Any

from duologue.config import measuring, schema, serving
from duologue.config.schema import Config, Home
from duologue.config.section import Section


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of duologue.toml."""
    document = Config.model_json_schema()
    for name, model in {"Config": document, **document["$defs"]}.items():
        for key, text in descriptions(name).items():
            model["properties"][key]["description"] = text
    return document


def descriptions(section: str) -> dict[str, str]:
    """Return the texts under the fields of one section's class, by key."""
    return _all_descriptions()[section]


def reference_markdown() -> str:
    """Return docs/reference/config.md."""
    lines = [
        "# duologue.toml",
        "",
        "Every key with its default and meaning. This page is made from the code (`make docs`); do not edit it.",
        "Sections come in this order; only `model.base` and `data.train` are required. Override one value for one",
        "command with `--set section.key=value`. A folder that holds several characters' folders may have a",
        f"`home.toml` with the sections {', '.join(f'`[{name}]`' for name in Home.model_fields)} for all of them.",
    ]
    for name, field in Config.model_fields.items():
        section = field.annotation
        assert isinstance(section, type) and issubclass(section, Section)
        about = descriptions("Config")[name]
        lines += ["", f"## [{name}]", "", about, "", "| key | default | meaning |", "|---|---|---|"]
        texts = descriptions(section.__name__)
        for key, inner in section.model_fields.items():
            default = "**required**" if inner.is_required() else f"`{_toml(inner.default)}`"
            lines.append(f"| `{key}` | {default} | {texts[key]} |")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


@cache
def _all_descriptions() -> dict[str, dict[str, str]]:
    """Read the schema's source: a text that follows a field is the field's."""
    return {
        node.name: dict(_described_fields(node.body))
        for module in (schema, serving, measuring)
        for node in ast.parse(inspect.getsource(module)).body
        if isinstance(node, ast.ClassDef)
    }


def _described_fields(body: list[ast.stmt]) -> list[tuple[str, str]]:
    return [
        (field.target.id, " ".join(text.value.value.split()))
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    ]
