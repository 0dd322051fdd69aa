"""The JSON schema and the reference page say what the code says."""

import json

from duologue.config import Config, json_schema, reference_markdown
from duologue.config.reference import descriptions


def test_every_section_and_key_is_on_the_reference_page_with_a_meaning():
    page = reference_markdown()

    for name, field in Config.model_fields.items():
        assert f"## [{name}]" in page
        for key in field.annotation.model_fields:
            row = next(line for line in page.splitlines() if line.startswith(f"| `{key}` "))
            text = descriptions(field.annotation.__name__)[key]
            assert text
            assert text in page, f"{name}.{key}"
            assert row.count("|") >= 4


def test_defaults_are_written_as_toml():
    page = reference_markdown()

    assert "| `enabled` | `true` |" in page
    assert '| `rating` | `"general"` |' in page
    assert "| `base` | **required** |" in page
    assert "None" not in page


def test_the_schema_is_json_and_forbids_unknown_keys_everywhere():
    schema = json.loads(json.dumps(json_schema()))

    assert schema["title"] == "duologue.toml"
    assert schema["required"] == ["model", "data"]
    assert schema["additionalProperties"] is False
    assert all(section["additionalProperties"] is False for section in schema["$defs"].values())


def test_every_key_of_the_schema_has_a_description():
    for name, section in json_schema()["$defs"].items():
        for key, field in section["properties"].items():
            assert field.get("description"), f"{name}.{key}"
