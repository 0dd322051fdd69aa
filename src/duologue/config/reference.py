"""The JSON schema of duologue.toml and its reference page, both made from the schema's own descriptions."""

from typing import Any

from duologue.config.schema import Config, Section


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of duologue.toml."""
    return Config.model_json_schema()


def reference_markdown() -> str:
    """Return docs/reference/config.md."""
    lines = [
        "# duologue.toml",
        "",
        "Every key with its default and meaning. This page is made from the code (`make docs`); do not edit it.",
        "Sections come in this order; only `model.base` and `data.train` are required. Override one value for one",
        "command with `--set section.key=value`.",
    ]
    for name, field in Config.model_fields.items():
        section = field.annotation
        assert isinstance(section, type) and issubclass(section, Section)
        lines += ["", f"## [{name}]", "", field.description or "", "", "| key | default | meaning |", "|---|---|---|"]
        for key, inner in section.model_fields.items():
            default = "**required**" if inner.is_required() else f"`{_toml(inner.default)}`"
            lines.append(f"| `{key}` | {default} | {inner.description} |")
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
