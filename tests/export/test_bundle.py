"""A bundle out and in: a plain card elsewhere, the whole character here."""

import json
import re
import sys
import threading
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from duologue import prompt
from duologue.characters import Card, load_card, load_character, save_card
from duologue.chat import load_folder_character, memory_scope
from duologue.cli import main, make_app
from duologue.config import load_config, make_folder
from duologue.engine import BaseModel, Sampling, open_generator, open_trainer
from duologue.errors import ConfigError
from duologue.export.bundle import write_bundle
from duologue.export.unbundle import unpack_bundle
from duologue.memory import MemoryStore, Scope
from duologue.messages import Message
from duologue.train import find_adapter
from tests.export.bundles import RUN, WEIGHTS, bundle_of, lora, rewritten, trained_folder
from tests.plan.test_plan import plan as plan_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return trained_folder(tmp_path / "lila")


def read_as_the_specification_says(file: Path) -> tuple[dict, dict[str, bytes]]:
    """A reader of Character Card V3 that knows nothing of duologue: card.json, and what its assets name."""
    with zipfile.ZipFile(file) as archive:
        card = json.loads(archive.read("card.json"))
        uris = [asset["uri"] for asset in card["data"]["assets"]]
        paths = [uri.removeprefix("embeded://") for uri in uris if uri.startswith("embeded://")]
        return card, {path: archive.read(path) for path in paths}


def test_a_reader_of_cards_opens_a_bundle_as_the_card_it_was(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "lila.charx"
    bundle_of(folder, file)
    card, assets = read_as_the_specification_says(file)
    original = load_card(folder / "character.png").character
    assert card["spec"] == "chara_card_v3"
    assert card["data"]["name"] == original.name
    assert card["data"]["description"] == original.description
    icons = [asset for asset in card["data"]["assets"] if asset["type"] == "icon"]
    assert len(icons) == 1
    assert assets[icons[0]["uri"].removeprefix("embeded://")].startswith(b"\x89PNG")
    assert assets[WEIGHTS] == lora()
    others = [asset["type"] for asset in card["data"]["assets"] if asset["type"] != "icon"]
    assert all(kind.startswith("x_") for kind in others)
    assert load_card(file).character.description == original.description


def test_names_are_ascii_and_files_lie_where_the_specification_puts_them(folder: Path, tmp_path: Path) -> None:
    bundle_of(folder, tmp_path / "lila.charx")
    with zipfile.ZipFile(tmp_path / "lila.charx") as archive:
        names = archive.namelist()
    assert all(name.isascii() for name in names)
    assert {name for name in names if "/" not in name} == {"card.json", "duologue.json"}
    assert all(name.count("/") == 3 for name in names if "/" in name)


def test_nothing_of_the_person_or_the_machine_travels(folder: Path, tmp_path: Path) -> None:
    (folder / "data" / "diary.json").write_text("[]")
    overrides = ["character.user_name=Ann", "character.persona=A night nurse", "guard.judge=http://127.0.0.1/v1#j"]
    artifact = bundle_of(folder, tmp_path / "lila.charx", overrides=overrides)
    with zipfile.ZipFile(tmp_path / "lila.charx") as archive:
        text = b"".join(archive.read(name) for name in archive.namelist())
    assert not [
        word for word in (b"Ann", b"night nurse", b"/home/ann", b"ann-laptop", b"diary", b"127.0.0.1") if word in text
    ]
    assert any("character.persona" in note for note in artifact.more["notes"])


def test_a_character_that_calls_its_user_by_name_does_not_tell_others_that_name(folder: Path, tmp_path: Path) -> None:
    evaluation = folder / "runs" / "2026-11-22-1" / "evaluation.json"
    document = json.loads(evaluation.read_text())
    said = {"prompt": "Hello?", "base": "Hello, ann.", "tuned": "Ann! Annual tickets, Ann-Marie? ANN?"}
    evaluation.write_text(json.dumps({**document, "replies": [said]}))
    overrides = ["character.user_name=Ann", "character.author_note=Ann likes tea."]
    artifact = bundle_of(folder, tmp_path / "lila.charx", overrides=overrides)
    with zipfile.ZipFile(tmp_path / "lila.charx") as archive:
        (reply,) = json.loads(archive.read(RUN))["evaluation"]["replies"]
    assert reply == {
        "prompt": "Hello?",
        "base": "Hello, User.",
        "tuned": "User! Annual tickets, User-Marie? User?",
    }
    assert "your name stands in character.author_note and goes along" in artifact.more["notes"]
    assert not [note for note in artifact.more["notes"] if "evaluation.prompts" in note]


def test_equal_folders_make_equal_bundles(folder: Path, tmp_path: Path) -> None:
    bundle_of(folder, tmp_path / "one.charx")
    bundle_of(folder, tmp_path / "two.charx")
    assert (tmp_path / "one.charx").read_bytes() == (tmp_path / "two.charx").read_bytes()


def test_the_folder_that_comes_back_is_a_trained_one(folder: Path, tmp_path: Path) -> None:
    bundle_of(
        folder, tmp_path / "lila.charx", overrides=["generation.temperature=0.25", "generation.logit_bias={'a'=1}"]
    )
    found = unpack_bundle(tmp_path / "lila.charx", tmp_path / "back", open_tokenizer=open_trainer("fake").tokenizer)
    config = load_config(tmp_path / "back" / "duologue.toml")
    run, adapter = find_adapter(tmp_path / "back")
    assert config.generation.temperature == 0.25
    assert config.generation.logit_bias == {"a": 1}
    assert (adapter.folder / "adapter_model.safetensors").read_bytes() == lora()
    assert run.read("evaluation.json")["tuned_perplexity"] == 8.0
    assert adapter.base == find_adapter(folder)[1].base
    assert load_folder_character(tmp_path / "back", config).name == "Lila Quill"
    assert found.adapter.is_shape_checked
    assert found.prompts_checked == len(config.evaluation.prompts)
    assert "replies.json" in [path.name for path in (tmp_path / "back" / "data").iterdir()]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".partial")]


def test_a_bundle_of_an_unpacked_bundle_holds_the_same_weights_once(folder: Path, tmp_path: Path) -> None:
    bundle_of(folder, tmp_path / "one.charx")
    unpack_bundle(tmp_path / "one.charx", tmp_path / "back")
    bundle_of(tmp_path / "back", tmp_path / "two.charx")
    with zipfile.ZipFile(tmp_path / "one.charx") as one, zipfile.ZipFile(tmp_path / "two.charx") as two:
        assert sorted(one.namelist()) == sorted(two.namelist())
        assert one.read(WEIGHTS) == two.read(WEIGHTS)


def test_lorebooks_and_companions_come_along(folder: Path, tmp_path: Path) -> None:
    (folder / "town.json").write_text(json.dumps({"entries": [{"keys": ["tram"], "content": "It runs at night."}]}))
    (folder / "bo.json").write_text(json.dumps({"name": "Bo", "description": "The other conductor."}))
    overrides = ['character.lorebooks=["town.json"]', 'character.companions=["bo.json"]']
    bundle_of(folder, tmp_path / "lila.charx", overrides=overrides)
    unpack_bundle(tmp_path / "lila.charx", tmp_path / "back")
    settings = load_config(tmp_path / "back" / "duologue.toml").character
    assert (tmp_path / "back" / settings.lorebooks[0]).read_bytes() == (folder / "town.json").read_bytes()
    assert load_card(tmp_path / "back" / settings.companions[0]).character.name == "Bo"


@pytest.mark.parametrize(
    "name",
    [
        "a.py",
        "a.PY",
        "a.pkl",
        "a.exe",
        "a.html",
        "a.svg",
        "a.js",
        "a.lua",
        "a.png.hta",
        "a.unheard",
        "noending",
        ".png",
        "a.",
        "a.png.",
    ],
)
def test_what_is_no_picture_sound_film_font_or_text_neither_leaves_nor_comes_back(
    folder: Path, tmp_path: Path, name: str
) -> None:
    asset, other = f"assets/other/other/{name}", "assets/icon/image/look.PNG"
    card = folder / "bo.charx"
    save_card(Card(load_character(folder / "character.png")), card)
    with zipfile.ZipFile(card, "a") as archive:
        archive.writestr(asset, b"x")
        archive.writestr(other, b"x")
    overrides = ['character.card="bo.charx"', 'character.companions=["bo.charx"]']
    made = bundle_of(folder, tmp_path / "lila.charx", overrides=overrides)

    assert len([note for note in made.more["notes"] if f"left out '{asset}'" in note]) == 2
    with zipfile.ZipFile(tmp_path / "lila.charx") as archive:
        companion = archive.read("assets/x_companion/other/0.charx")
        assert asset not in archive.namelist()
        assert other in archive.namelist()
    with zipfile.ZipFile(BytesIO(companion)) as inner:
        assert asset not in inner.namelist()
        assert other in inner.namelist()

    for added in ({asset: b"x"}, {"assets/x_companion/other/0.charx": card.read_bytes()}):
        file = rewritten(tmp_path / "lila.charx", tmp_path / "changed.charx", added)
        with pytest.raises(ConfigError, match=re.escape(asset)):
            unpack_bundle(file, tmp_path / "back")
        assert not (tmp_path / "back").exists()


def test_memories_go_only_where_they_were_given_and_are_handed_over_before_the_folder_appears(
    folder: Path, tmp_path: Path
) -> None:
    bundle_of(folder, tmp_path / "lila.charx", memories=['{"text": "likes tea\u2028"}', '{"text": "two"}'])
    told = []
    unpack_bundle(
        tmp_path / "lila.charx",
        tmp_path / "back",
        remember=lambda place, _config, lines: told.append((place.name, (tmp_path / "back").exists(), lines)),
    )
    assert told == [(".partial-back", False, ('{"text": "likes tea\u2028"}', '{"text": "two"}'))]


def test_a_base_of_the_makers_machine_must_be_named_by_whoever_unpacks(folder: Path, tmp_path: Path) -> None:
    bundle_of(folder, tmp_path / "lila.charx")
    base = {"name": "my-base", "sha256": "", "is_local": True}
    file = rewritten(tmp_path / "lila.charx", tmp_path / "local.charx", {}, base=base)
    with pytest.raises(ConfigError, match="has no public name"):
        unpack_bundle(file, tmp_path / "back")
    unpack_bundle(file, tmp_path / "back", base="bundled:smollm2-135m")
    assert load_config(tmp_path / "back" / "duologue.toml").model.base == "bundled:smollm2-135m"


def test_a_notice_that_the_licence_of_the_base_asks_for_goes_along(folder: Path, tmp_path: Path) -> None:
    manifest = folder / "runs" / "2026-11-22-1" / "manifest.json"
    document = json.loads(manifest.read_text())
    document["base"]["name"] = "meta-llama/Llama-2-small-chat"
    manifest.write_text(json.dumps(document))
    bundle_of(folder, tmp_path / "lila.charx")
    with zipfile.ZipFile(tmp_path / "lila.charx") as archive:
        notice = archive.read("assets/x_duologue/other/NOTICE").decode()
    assert notice.startswith("Llama 2 is licensed under the LLAMA 2 Community License")
    unpack_bundle(tmp_path / "lila.charx", tmp_path / "back")


def test_another_file_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.charx").write_bytes(b"my own")
    with pytest.raises(ConfigError, match="no export wrote"):
        bundle_of(folder, tmp_path / "mine.charx")
    assert (tmp_path / "mine.charx").read_bytes() == b"my own"


def test_weights_pass_through_little_memory(folder: Path, tmp_path: Path) -> None:
    adapter = find_adapter(folder)[1]
    weights = adapter.folder / "adapter_model.safetensors"
    settings = json.loads((weights.parent / "adapter_config.json").read_text())
    weights.write_bytes(lora(rank=1024))
    (weights.parent / "adapter_config.json").write_text(json.dumps({**settings, "r": 1024}))
    config = load_config(folder / "duologue.toml")
    size = weights.stat().st_size
    tracemalloc.start()
    write_bundle(
        folder,
        tmp_path / "large.charx",
        config=config,
        character=load_folder_character(folder, config),
        adapter=adapter,
        tokenizer=open_trainer("fake").tokenizer(adapter.base),
    )
    unpack_bundle(tmp_path / "large.charx", tmp_path / "back")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 4 * 2**20
    assert peak < size


@pytest.mark.slow
def test_the_unpacked_character_says_word_for_word_what_the_first_one_said(folder: Path, tmp_path: Path) -> None:
    bundle_of(folder, tmp_path / "lila.charx", engine="hf")
    found = unpack_bundle(
        tmp_path / "lila.charx",
        tmp_path / "back",
        open_tokenizer=lambda name: open_trainer("hf").tokenizer(BaseModel(name)),
    )
    assert found.prompts_checked > 0
    said = []
    for place in (folder, tmp_path / "back"):
        config = load_config(place / "duologue.toml")
        adapter = find_adapter(place)[1]
        generator = open_generator("hf", adapter.base, adapter=adapter)
        messages = prompt.build(load_folder_character(place, config), (Message("user", "Hello?"),), user_name="User")
        ids = generator.tokenizer.render(messages, add_generation_prompt=True)
        sampling = Sampling(max_new_tokens=12, seed=5, temperature=config.generation.temperature)
        text = "".join(piece.text for piece in generator.stream(ids, sampling, cancel=threading.Event()))
        said.append((tuple(ids), text))
        generator.close()
    assert said[0] == said[1]
    assert said[0][1]


@pytest.mark.parametrize("option", ["data", "card"])
def test_a_missing_file_of_a_new_folder_is_named(tmp_path: Path, option: str) -> None:
    missing = tmp_path / "nofile.json"
    given = {"data": (missing,), "card": None} if option == "data" else {"data": (), "card": missing}
    with pytest.raises(ConfigError, match="no such file") as caught:
        make_folder(tmp_path / "x", recipe="quickstart", **given)
    assert caught.value.where == str(missing)
    assert f"--{option}" in caught.value.action
    assert not (tmp_path / "x").exists()


def test_a_plan_travels_without_the_name_of_its_machine(folder: Path, tmp_path: Path) -> None:
    file = folder / "runs" / "2026-11-22-1" / "plan.json"
    tree = json.loads(json.dumps(plan_of("quickstart").as_json()))
    plan = {**tree, "machine": "NVIDIA Ann's Card", "assumptions": ["Measured on ann-laptop."]}
    file.write_text(json.dumps(plan))
    bundle_of(folder, tmp_path / "lila.charx")
    with zipfile.ZipFile(tmp_path / "lila.charx") as archive:
        text = archive.read(RUN)
    assert json.loads(text)["plan"]["settings"] == plan["settings"]
    assert b"Ann" not in text
    assert b"ann-laptop" not in text


def test_a_plan_of_another_version_stays_at_home_and_this_is_said(folder: Path, tmp_path: Path) -> None:
    (folder / "runs" / "2026-11-22-1" / "plan.json").write_text('{"an": "older form"}')
    artifact = bundle_of(folder, tmp_path / "lila.charx")
    assert any("no plan is part of it" in note for note in artifact.more["notes"])
    unpack_bundle(tmp_path / "lila.charx", tmp_path / "back")
    assert not (find_adapter(tmp_path / "back")[0].folder / "plan.json").exists()


def test_memories_need_a_yes_and_private_ones_never_go(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    line = {"speaker": "user", "session_id": "s", "said_at": "2026-11-22T10:00:00+00:00", "kind": "turn"}
    lines = [
        {**line, "text": "I like tea.", "message_id": 1},
        {**line, "text": "I like rain.", "message_id": 2, "is_private": True},
    ]
    config = load_config(folder / "duologue.toml")
    store = MemoryStore.open(folder / "memory.sqlite")
    store.import_lines(map(json.dumps, lines), scope=memory_scope(folder, config))
    store.import_lines(
        [json.dumps({**line, "text": "Bob said this.", "message_id": 3})], scope=Scope("bob", "lila-quill")
    )
    store.close()
    asked = ["duologue", "export", "bundle", str(folder), "--with-memories", "--json"]
    make_app()  # what is imported while a name is another stays with it, in all tests to come
    for arguments, exit_code in ((asked, 2), ([*asked, "--yes"], 0)):
        assert not (folder / "exports" / "lila.charx").exists()
        monkeypatch.setattr(sys, "argv", arguments)
        monkeypatch.setattr("duologue.engine.open_trainer", lambda _name: open_trainer("fake"))
        with pytest.raises(SystemExit) as ended:
            main()
        assert int(ended.value.code or 0) == exit_code
    assert json.loads(capfd.readouterr().out.splitlines()[-1])["memories"] == 1
    with zipfile.ZipFile(folder / "exports" / "lila.charx") as archive:
        text = archive.read("assets/x_duologue/other/memories.jsonl").decode()
    assert "tea" in text
    assert "rain" not in text
    assert "Bob" not in text
