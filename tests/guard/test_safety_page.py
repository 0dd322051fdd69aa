"""The published table says what the rules do today."""

import importlib.util

from duologue.config import GuardSection
from duologue.guard import RATINGS
from duologue.guard.crisis import REGIONS


def test_the_table_on_the_safety_page_is_current(repository):
    path = repository / "scripts" / "make_safety_table.py"
    spec = importlib.util.spec_from_file_location("make_safety_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert module.PAGE.read_text(encoding="utf-8") == module.page(), "run: python scripts/make_safety_table.py"


def test_the_safety_page_names_every_rating_region_and_setting(repository):
    text = (repository / "docs" / "explanation" / "safety.md").read_text(encoding="utf-8")

    for rating in RATINGS:
        assert f"`{rating}`" in text
    for region in REGIONS:
        assert f"`{region}`" in text
    for key in ("judge", "judge_format", "discloses_ai", "break_reminder_minutes", "crisis_region", "max_input_tokens"):
        assert key in GuardSection.model_fields
        assert f"guard.{key}" in text
