"""The tutorial and the guide are followed to the letter, on the model that ships, in an empty folder.

What differs from what the page says: `duologue` is a script here that makes training, probing, measuring and replies
short, by adding `--set` to the commands that do them. Fences under `<!-- not run: REASON -->` are left out.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT, fences

GUIDE = ("index", "before-you-begin", "data", "plan", "train", "watch", "evaluate", "ship", "recipes", "questions")
PAGES = {
    "tutorial": [DOCS / "tutorial" / "from-nothing-to-a-character.md"],
    "guide": [DOCS / "guide" / f"{name}.md" for name in GUIDE],
}
SHORT = (  # two examples a step, so that two processes can share one
    *("training.max_steps=2", "training.micro_batch_size=1", "training.gradient_accumulation_steps=2"),
    *("data.max_length_tokens=192", "data.validation_fraction=0.02", "lora.num_layers=2"),
    *("training.num_sample_replies=0", 'evaluation.prompts=["Hello."]', "evaluation.max_new_tokens=3"),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the project's source in it, as in a clone, and `duologue` on the path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "src").symlink_to(ROOT / "src")
    short = " ".join(f"--set '{value}'" for value in SHORT)
    script = f"""#!/bin/sh
case "$*" in
    train*|eval*|export*|*--probe*) exec '{sys.executable}' -m duologue "$@" {short} ;;
    chat*) exec '{sys.executable}' -m duologue "$@" --set generation.max_new_tokens=4 ;;
    *) exec '{sys.executable}' -m duologue "$@" ;;
esac
"""
    (tmp_path / "bin" / "duologue").write_text(script, encoding="utf-8")
    (tmp_path / "bin" / "duologue").chmod(0o755)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", PAGES)
def test_whoever_follows_it_gets_to_the_end(place, part):
    environment = {
        **os.environ,
        "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "HF_HUB_OFFLINE": "1",
    }
    steps = [fence for page in PAGES[part] for fence in fences(page) if fence.language == "sh" and not fence.not_run]
    for fence in steps:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", fence.text],
            cwd=place / "clone",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{fence.where}\n{fence.text}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    clone = place / "clone"
    [character] = {path.parent.parent.parent for path in clone.glob("*/runs/*/report.html")}
    assert character.name == "lila"
    if part == "tutorial":
        assert (clone / "ada" / "chats.sqlite").is_file()
    else:
        assert (clone / "lila" / "exports" / "merged" / "model.safetensors").is_file()
        assert (clone / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_every_page_of_the_guide_is_followed():
    assert {path.stem for path in (DOCS / "guide").glob("*.md")} == set(GUIDE)
    assert set((DOCS / "tutorial").glob("*.md")) == set(PAGES["tutorial"])
