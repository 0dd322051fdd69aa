import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from duologue.characters import Character
from duologue.engine import Adapter, BaseModel, ModelFacts
from duologue.engine.fake import FakeTrainer
from duologue.errors import ConfigError, EngineError
from duologue.export import Artifact, HeldOut, run_merged
from duologue.messages import Message
from duologue.plan import known_facts
from tests.engine.made import some_examples

WEIGHTS = b"some weights"
BASE = BaseModel("bundled:smollm2-135m", quantization="nf4", compute_dtype="float32")
ACCOUNT = {
    "num_conversations": 150,
    "num_turns": 611,
    "num_dropped": 3,
    "files": [{"path": "/home/ann/diary.json"}],
    "stats": {"num_tokens": 37730, "num_trained_tokens": 18865, "num_validation_examples": 12},
}
EVALUATION = {
    "base_perplexity": 24.876,
    "tuned_perplexity": 7.933,
    "base_loss": 3.214,
    "tuned_loss": 2.071,
    "num_scored_tokens": 1671,
    "replies": [{"prompt": "p", "base": "b", "tuned": "a private reply"}],
}


class Failing(FakeTrainer):
    """A fake that fails with half of the files written."""

    def merge(self, adapter, folder, **settings) -> None:
        super().merge(adapter, folder, **settings)
        raise EngineError("memory ran out")


class Spoiling(FakeTrainer):
    """A fake that writes something else than what was trained."""

    def merge(self, adapter, folder, **settings) -> None:
        super().merge(adapter, folder, **settings)
        (folder / "model.safetensors").write_bytes(b"gibberish")


class Better(FakeTrainer):
    """A fake with which one way to merge is closer than the other, and that tells what it was asked."""

    def __init__(self, closer: str) -> None:
        self.closer = closer
        self.asked: list[str] = []

    def merge(self, adapter, folder, **settings) -> None:
        self.asked.append(settings["onto"])
        super().merge(adapter, folder, **settings)

    def compare(self, adapter, folders, examples, prompts):
        figures = super().compare(adapter, folders, examples, prompts)
        return tuple(
            replace(parity, mean_kl_nats=0.0 if self.closer in folder.name else 1e-3)
            for folder, parity in zip(folders, figures, strict=True)
        )


class Huge(FakeTrainer):
    """A fake with the shape of a large model."""

    def facts(self, base: BaseModel) -> ModelFacts:
        facts = known_facts("meta-llama/Llama-2-13b-chat-hf")
        assert facts is not None
        return replace(facts, num_layers=40_000)


@pytest.fixture
def adapter(tmp_path: Path) -> Adapter:
    folder = tmp_path / "lila" / "runs" / "2026-11-22-1" / "adapter"
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(WEIGHTS)
    (folder.parent / "data.json").write_text(json.dumps(ACCOUNT))
    (folder.parent / "evaluation.json").write_text(json.dumps(EVALUATION))
    return Adapter(folder, BASE)


@pytest.fixture
def export(adapter: Adapter, tmp_path: Path) -> Callable[..., Artifact]:
    parts = {
        "adapter": adapter,
        "folder": tmp_path / "out" / "lila-merged",
        "trainer": FakeTrainer(),
        "dtype": "bfloat16",
        "character": Character(name="Lila Quill", description="The night conductor.\nShe is kind."),
        "held_out": HeldOut(some_examples(2), ([Message("user", "Hello")],)),
    }
    return lambda **changed: run_merged(**{**parts, **changed})


def test_the_folder_holds_the_merged_model_with_the_digest_of_every_file(export: Callable[..., Artifact]) -> None:
    artifact = export()
    assert (artifact.path / "model.safetensors").read_bytes() == WEIGHTS
    assert set(artifact.sha256) == {"model.safetensors", "config.json", "README.md"}
    assert artifact.sha256["model.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
    document = json.loads(json.dumps(artifact.as_json()))
    assert document["path"] == str(artifact.path)
    assert document["parity"].items() >= {"mean_kl_nats": 0.0, "greedy_agreement": 1.0, "num_prompts": 2}.items()
    assert document["parity"].items() >= {"ids_equal": True, "stops": True}.items()


@pytest.mark.parametrize("closer", ["trained", "original"])
def test_of_two_ways_to_merge_the_closer_one_is_kept(export: Callable[..., Artifact], closer: str) -> None:
    trainer = Better(closer)
    artifact = export(trainer=trainer)
    assert trainer.asked == ["trained", "original"]
    assert artifact.onto == closer
    assert json.loads((artifact.path / "config.json").read_text())["onto"] == closer
    assert [path.name for path in artifact.path.parent.iterdir()] == ["lila-merged"]


def test_one_way_can_be_chosen(export: Callable[..., Artifact]) -> None:
    trainer = Better("trained")
    assert export(trainer=trainer, onto="original").onto == "original"
    assert trainer.asked == ["original"]


def test_a_base_that_was_not_quantised_has_one_way(export: Callable[..., Artifact], adapter: Adapter) -> None:
    trainer = Better("trained")
    export(trainer=trainer, adapter=Adapter(adapter.folder, BaseModel("bundled:smollm2-135m")))
    assert trainer.asked == ["original"]


def test_an_export_that_is_not_what_was_trained_does_not_get_its_name(export: Callable[..., Artifact]) -> None:
    with pytest.raises(EngineError, match="not what was trained") as refused:
        export(trainer=Spoiling())
    for part in ("other token ids", "does not end", "nats away", "0.0% of its tokens"):
        assert part in str(refused.value)


def test_an_interrupted_export_is_gone_on_with(export: Callable[..., Artifact], tmp_path: Path) -> None:
    class Interrupted(FakeTrainer):
        def merge(self, adapter, folder, **settings) -> None:
            super().merge(adapter, folder, **settings)
            raise KeyboardInterrupt

    class GoesOn(FakeTrainer):
        def merge(self, adapter, folder, **settings) -> None:
            found.append((folder / "model.safetensors").is_file())
            super().merge(adapter, folder, **settings)

    found: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        export(trainer=Interrupted())
    export(trainer=GoesOn())
    assert found == [True, False]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["lila-merged"]


def test_what_is_merged_is_not_merged_again_when_the_comparison_was_interrupted(
    export: Callable[..., Artifact],
) -> None:
    class Interrupted(Better):
        def compare(self, adapter, folders, examples, prompts):
            raise KeyboardInterrupt

    first, second = Interrupted("trained"), Better("trained")
    with pytest.raises(KeyboardInterrupt):
        export(trainer=first)
    artifact = export(trainer=second)

    assert (first.asked, second.asked) == (["trained", "original"], [])
    files = [path for path in artifact.path.iterdir() if path.name != "duologue-export.json"]
    assert artifact.sha256 == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_card_that_an_interrupted_export_had_written_is_written_anew(
    export: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("duologue.export.merged.swap_in", interrupted)
        with pytest.raises(KeyboardInterrupt):
            export(rating="mature")
    artifact = export(rating="general")

    card = (artifact.path / "README.md").read_bytes()
    assert b"not-for-all-audiences" not in card
    assert artifact.sha256["README.md"] == hashlib.sha256(card).hexdigest()


def test_of_two_merges_the_one_that_was_interrupted_is_gone_on_with(export: Callable[..., Artifact]) -> None:
    class Interrupted(Better):
        def merge(self, adapter, folder, **settings) -> None:
            super().merge(adapter, folder, **settings)
            if settings["onto"] == "original":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(trainer=Interrupted("trained"))
    trainer = Better("trained")
    export(trainer=trainer)

    assert trainer.asked == ["original"]


@pytest.mark.parametrize("change", ["weights", "adapter", "base", "dtype"])
def test_what_was_merged_of_other_parts_is_merged_again(
    export: Callable[..., Artifact], adapter: Adapter, tmp_path: Path, change: str
) -> None:
    class Interrupted(Better):
        def compare(self, adapter, folders, examples, prompts):
            raise KeyboardInterrupt

    base = tmp_path / "models" / "lighthouse-7b"
    base.mkdir(parents=True)
    (base / "tokenizer_config.json").write_text("{}")
    local = replace(adapter, base=replace(BASE, name=str(base), quantization="none"))
    with pytest.raises(KeyboardInterrupt):
        export(adapter=local, trainer=Interrupted("original"), dtype="float16")
    (staging,) = (tmp_path / "out").iterdir()
    changes = {
        "weights": lambda: (staging / "model.safetensors").write_bytes(b"other bytes"),
        "adapter": lambda: (local.folder / "adapter_model.safetensors").write_bytes(b"trained again"),
        "base": lambda: (base / "tokenizer_config.json").write_text('{"chat_template": "another"}'),
        "dtype": lambda: None,
    }
    changes[change]()
    trainer = Better("original")
    artifact = export(adapter=local, trainer=trainer, dtype="float32" if change == "dtype" else "float16")

    assert trainer.asked == ["original"]
    assert (artifact.path / "model.safetensors").read_bytes() == (
        local.folder / "adapter_model.safetensors"
    ).read_bytes()


def test_the_label_calls_a_local_base_by_its_name_and_not_by_its_place(
    export: Callable[..., Artifact], adapter: Adapter, tmp_path: Path
) -> None:
    base = tmp_path / "ann" / "lighthouse-7b"
    base.mkdir(parents=True)
    artifact = export(adapter=replace(adapter, base=replace(BASE, name=str(base))))

    label = (artifact.path / "duologue-export.json").read_text()
    assert json.loads(label)["base"] == "lighthouse-7b"
    assert str(base.parent) not in label


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "Llama 3.1 is licensed under"),
        ("google/gemma-2-2b-it", "Gemma Terms of Use"),
        ("bundled:smollm2-135m", ""),
    ],
)
def test_the_notice_that_the_licence_asks_for_is_part_of_the_export(
    export: Callable[..., Artifact], adapter: Adapter, base: str, words: str
) -> None:
    artifact = export(adapter=replace(adapter, base=replace(BASE, name=base)))

    notice = artifact.path / "NOTICE"
    assert notice.exists() == bool(words)
    assert ("NOTICE" in artifact.sha256) == bool(words)
    if words:
        assert words in notice.read_text()


def test_a_notice_that_the_base_brings_stays_as_it_is(export: Callable[..., Artifact], adapter: Adapter) -> None:
    class Bringing(FakeTrainer):
        def merge(self, adapter, folder, **settings) -> None:
            super().merge(adapter, folder, **settings)
            (folder / "NOTICE").write_text("the publisher's own words\n")

    base = replace(BASE, name="meta-llama/Llama-3.1-8B-Instruct")
    artifact = export(adapter=replace(adapter, base=base), trainer=Bringing())

    assert (artifact.path / "NOTICE").read_text() == "the publisher's own words\n"


def test_the_experts_of_a_mixture_are_counted_before_the_disk_is_filled(
    export: Callable[..., Artifact], tmp_path: Path
) -> None:
    class Mixture(FakeTrainer):
        def facts(self, base: BaseModel) -> ModelFacts:
            facts = known_facts("bundled:smollm2-135m")
            assert facts is not None
            return replace(facts, num_experts=10_000_000, num_experts_per_token=2)

    with pytest.raises(EngineError, match="GiB free") as caught:
        export(trainer=Mixture())
    experts = 30 * 10_000_000 * 3 * 576 * 1536
    assert float(caught.value.needed.split()[0]) > 2 * 2 * experts / 2**30
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_weights_are_written_in_the_asked_type_whatever_was_trained_in(
    export: Callable[..., Artifact], dtype: str
) -> None:
    artifact = export(dtype=dtype)
    assert json.loads((artifact.path / "config.json").read_text())["dtype"] == dtype
    assert f'dtype="{dtype}"' in (artifact.path / "README.md").read_text()


def test_an_earlier_export_is_replaced_as_a_whole(export: Callable[..., Artifact], adapter: Adapter) -> None:
    export()
    (adapter.folder / "adapter_model.safetensors").write_bytes(b"newer weights")
    artifact = export()
    assert (artifact.path / "model.safetensors").read_bytes() == b"newer weights"
    assert [path.name for path in artifact.path.parent.iterdir()] == ["lila-merged"]


def test_an_empty_folder_is_used(export: Callable[..., Artifact], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "README.md" in export(folder=tmp_path / "empty").sha256


@pytest.mark.parametrize("name", ["notes.txt", "sub/notes.txt", "README.md"])
def test_a_folder_with_other_files_is_refused_and_left_alone(
    export: Callable[..., Artifact], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("my thesis")
    with pytest.raises(ConfigError, match=name.split("/", maxsplit=1)[0]):
        export(folder=tmp_path / "mine")
    assert path.read_text() == "my thesis"


@pytest.mark.parametrize("name", ["lila.gguf", "more/lila.gguf", "README.md"])
def test_an_earlier_export_to_which_a_person_added_something_is_refused(
    export: Callable[..., Artifact], name: str
) -> None:
    path = export().path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("made by hand")
    with pytest.raises(ConfigError, match=name):
        export()
    assert path.read_text() == "made by hand"


def test_a_file_in_the_way_is_refused(export: Callable[..., Artifact], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="a folder"):
        export(folder=tmp_path / "file")


def test_a_merge_that_fails_leaves_the_earlier_export_and_nothing_else(export: Callable[..., Artifact]) -> None:
    artifact = export()
    with pytest.raises(EngineError, match="memory ran out"):
        export(trainer=Failing())
    assert (artifact.path / "model.safetensors").read_bytes() == WEIGHTS
    assert [path.name for path in artifact.path.parent.iterdir()] == ["lila-merged"]


def test_a_disk_that_is_too_full_is_noticed_before_anything_is_written(
    export: Callable[..., Artifact], tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match="GiB free") as caught:
        export(trainer=Huge())
    # 40,000 blocks of 4 x 5120^2 + 3 x 5120 x 13824 weights and two norms, two tables of 32000 x 5120, one last norm
    blocks = 40_000 * (4 * 5120**2 + 3 * 5120 * 13824 + 2 * 5120)
    expected = 2 * 1.1 * 2 * (blocks + 2 * 32000 * 5120 + 5120) / 2**30
    assert f"{expected:.2f} GiB for the merged weights in bfloat16 written twice" in str(caught.value)
    assert list((tmp_path / "out").iterdir()) == []


def test_float32_needs_twice_the_room(export: Callable[..., Artifact]) -> None:
    def needed(dtype: str) -> float:
        with pytest.raises(EngineError) as caught:
            export(trainer=Huge(), dtype=dtype)
        return float(caught.value.needed.split()[0])

    assert needed("float32") == pytest.approx(2 * needed("bfloat16"))


def test_the_current_folder_can_be_the_target(
    export: Callable[..., Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    export(folder=Path())
    assert (here / "model.safetensors").is_file()


def test_a_damaged_ledger_is_noticed_before_the_merge(export: Callable[..., Artifact], adapter: Adapter) -> None:
    (adapter.folder.parent / "evaluation.json").write_text("{")
    with pytest.raises(EngineError, match=r"evaluation\.json"):
        export(trainer=Failing())


def test_a_run_without_ledger_still_exports(export: Callable[..., Artifact], adapter: Adapter) -> None:
    (adapter.folder.parent / "evaluation.json").unlink()
    (adapter.folder.parent / "data.json").unlink()
    text = (export().path / "README.md").read_text()
    assert "## Loading" in text
    assert "## Data" not in text
    assert "## Evaluation" not in text


def test_the_exported_folder_can_be_moved(export: Callable[..., Artifact], tmp_path: Path) -> None:
    artifact = export()
    shutil.move(artifact.path, tmp_path / "elsewhere")
    assert export(folder=tmp_path / "elsewhere").sha256.keys() == artifact.sha256.keys()
