"""Names of models: a character, its base model alone, and that with an adapter."""

import json
from pathlib import Path

import openai
import pytest

from duologue.chat import Bot, load_folder_character, open_bot
from duologue.config import Home
from duologue.engine import Shelf
from duologue.engine.fake import FakeGenerator
from duologue.serve import Library
from duologue.serve.api.names import base_name
from tests.serve.api.serving import client_of, serving

TOML = """
[model]
base = "fake"

[data]
train = ["none.json"]

[character]
card = "{card}"
"""


class Echo(FakeGenerator):
    """A fake engine that says what it was sent."""

    def stream(self, prompt_ids, sampling, *, cancel):
        self._reply = self.tokenizer.decode(prompt_ids)
        return super().stream(prompt_ids, sampling, cancel=cancel)


def make_folder(root: Path, name: str, *, runs: tuple[str, ...] = ()) -> Path:
    folder = root / name.lower()
    folder.mkdir()
    card = {
        "spec": "chara_card_v2",
        "spec_version": "2.0",
        "data": {"name": name, "description": f"{name} keeps bees."},
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "duologue.toml").write_text(TOML.format(card="card.json"), encoding="utf-8")
    for run in runs:
        adapter = folder / "runs" / run / "adapter"
        adapter.mkdir(parents=True)
        manifest = {"adapter_sha256": {}, "base": {"name": "fake"}}
        (folder / "runs" / run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    tmp_path = tmp_path_factory.mktemp("home")
    make_folder(tmp_path, "Wren", runs=("2026-11-20-1", "2026-11-21-1"))
    make_folder(tmp_path, "Ash")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "duologue.toml").write_text("[model]\n", encoding="utf-8")
    home = Home()
    shelf = Shelf(2, open_model=lambda *_, **__: Echo())

    def open_one(folder, config, *, adapter) -> Bot:
        assert load_folder_character(folder, config).name
        return open_bot(folder, config, engine="fake", adapter=adapter, shelf=shelf)

    library = Library(tmp_path, home, open_bot=open_one)
    with serving(library, home) as server, client_of(server) as opened:
        yield opened
    library.close()
    shelf.close()


def said(client: openai.OpenAI, model: str) -> str:
    messages = [{"role": "user", "content": "Who are you?"}]
    return client.chat.completions.create(model=model, messages=messages).choices[0].message.content


def test_characters_come_first_then_bases_then_adapters(client):
    rows = client.models.list().data

    assert [row.id for row in rows] == ["ash", "wren", "fake", "wren:2026-11-20-1", "wren:2026-11-21-1"]
    wren = rows[1].model_dump()
    assert (wren["root"], wren["parent"], wren["name"]) == ("wren/runs/2026-11-21-1", "fake", "Wren")
    assert (rows[2].model_dump()["root"], rows[2].model_dump()["parent"]) == ("fake", None)
    assert rows[3].model_dump()["root"] == "wren/runs/2026-11-20-1"


def test_every_listed_model_can_be_shown_and_asked(client):
    for row in client.models.list().data:
        assert client.models.retrieve(row.id).id == row.id
        assert "Who are you?" in said(client, row.id)


def test_only_a_character_brings_its_card(client):
    assert "Wren keeps bees." in said(client, "wren")
    assert "keeps bees" not in said(client, "fake")
    assert "keeps bees" not in said(client, "wren:2026-11-20-1")


def test_what_is_no_model_says_which_there_are(client):
    with pytest.raises(openai.NotFoundError, match="'ash', 'wren', 'fake'") as caught:
        client.models.retrieve("wren:never")
    assert caught.value.code == "model_not_found"


def test_a_character_with_faults_is_not_listed_and_tells_where_they_are_to_the_log_alone(client, caplog):
    assert "broken" not in [row.id for row in client.models.list().data]
    with pytest.raises(openai.ConflictError, match="faults") as refused:
        said(client, "broken")

    assert "toml" not in str(refused.value)
    assert "/" not in refused.value.body["message"]
    assert "duologue.toml" in caplog.text


@pytest.mark.parametrize(
    ("base", "name"),
    [
        ("HuggingFaceTB/SmolLM2-135M", "HuggingFaceTB/SmolLM2-135M"),
        ("bundled:smollm2-135m", "smollm2-135m"),
        ("/home/sam/models/lila.gguf", "lila.gguf"),
        ("models/lila.gguf", "lila.gguf"),
        ("./models/lila", "lila"),
        ("C:\\models\\lila", "lila"),
        ("http://10.0.0.7:8000/v1#llama", "llama"),
        ("http://10.0.0.7:8000/v1", "v1"),
    ],
)
def test_a_base_is_called_by_its_name_and_not_by_its_place(base, name):
    assert base_name(base) == name
