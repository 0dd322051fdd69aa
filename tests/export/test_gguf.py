"""GGUF exports of a really trained adapter, opened by llama.cpp."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from transformers import GPTNeoXConfig, MixtralConfig, Qwen3MoeConfig

from duologue.characters import Character
from duologue.config import Config
from duologue.config.measuring import GgufForm as ConfiguredForm
from duologue.engine import GGUF_FORMS, Adapter, BaseModel, LoraSettings, open_trainer
from duologue.errors import ConfigError, EngineError
from duologue.export import Artifact, HeldOut, find_gguf, run_gguf, run_merged
from duologue.export import gguf as exporting
from duologue.messages import Message
from tests.engine.fitting import fit
from tests.engine.made import a_job, some_examples

FORM = "f32"
SAID = ([Message("system", "You are Ada."), Message("user", "Hello.")], [Message("user", "Where to?")])
ADA = Character(name="Ada Bell", description="The conductor.", greeting="Good evening.")
TEMPLATE_MARK, EOS_KEY = b"<|im_start|>assistant", b"tokenizer.ggml.eos_token_id"


class Watched:
    """The engine that trains, counting how often it merges."""

    def __init__(self) -> None:
        self.real = open_trainer("hf")
        self.num_merges = 0

    def merge(self, *args, **settings) -> None:
        self.num_merges += 1
        self.real.merge(*args, **settings)

    def __getattr__(self, name: str):
        return getattr(self.real, name)


def trained(base: str, folder: Path, **lora: object) -> Adapter:
    job = a_job(BaseModel(base), folder / "runs" / "2026-11-22-1", lora=LoraSettings(rank=4, alpha=8, **lora))
    return fit(job, some_examples(8))[0].adapter


@pytest.fixture(scope="module")
def adapter(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return trained(tiny_model, tmp_path_factory.mktemp("ada"))


@pytest.fixture
def trainer() -> Watched:
    return Watched()


@pytest.fixture
def export(adapter: Adapter, tmp_path: Path, trainer: Watched) -> Callable[..., Artifact]:
    def run(**changed) -> Artifact:
        config = Config(model={"base": adapter.base.name}, data={"train": ["x"]}, export={"gguf_forms": [FORM]})
        parts = {
            "adapter": adapter,
            "folder": tmp_path / "out" / "exports" / "gguf",
            "trainer": trainer,
            "config": config,
            "character": ADA,
            "held_out": HeldOut(some_examples(2), SAID),
        }
        return run_gguf(**{**parts, **changed})

    return run


def left_over(tmp_path: Path) -> list[str]:
    place = tmp_path / "out" / "exports"
    return sorted(path.name for path in place.iterdir()) if place.is_dir() else []


def changed_after_writing(monkeypatch: pytest.MonkeyPatch, change: Callable[[bytearray], None]) -> None:
    """Let something go wrong in a file that is written."""
    real = exporting.write_gguf

    def write(folder: Path, file: Path, **settings) -> None:
        real(folder, file, **settings)
        content = bytearray(file.read_bytes())
        change(content)
        file.write_bytes(content)

    monkeypatch.setattr(exporting, "write_gguf", write)


def test_the_folder_holds_compared_files_and_what_other_programs_need(
    export: Callable[..., Artifact], tmp_path: Path
) -> None:
    artifact = export(forms=("f32", "q8_0", "f32"))
    document = json.loads(json.dumps(artifact.as_json()))
    assert [row["form"] for row in document["files"]] == ["f32", "q8_0"]
    for row in document["files"]:
        file = artifact.path / row["file"]
        assert file.read_bytes()[:4] == b"GGUF"
        assert file.stat().st_size == row["bytes"]
        assert row["sha256"] == document["sha256"][row["file"]]
        assert row["parity"]["ids_equal"]
        assert row["parity"]["stops"]
    exact, rounded = (row["parity"]["mean_kl_nats"] for row in document["files"])
    assert exact < 1e-5
    assert document["parity"]["mean_kl_nats"] == max(exact, rounded)
    assert {"Modelfile", "ada-bell.preset.json", "README.md"} <= set(document["sha256"])
    assert (artifact.path / "Modelfile").read_text().splitlines()[1] == "FROM ./ada-bell-F32.gguf"
    assert left_over(tmp_path) == ["gguf"]


@pytest.mark.parametrize(("user_name", "names_user"), [("Zelda", True), ("User", False)])
def test_the_label_says_whether_the_user_is_called_by_name_and_the_notice_lies_beside(
    export: Callable[..., Artifact],
    adapter: Adapter,
    tiny_model: str,
    tmp_path: Path,
    user_name: str,
    names_user: bool,
) -> None:
    base = tmp_path / "llama-3.1-tiny"
    shutil.copytree(tiny_model, base)
    config = Config(
        model={"base": str(base)},
        data={"train": ["x"]},
        character={"user_name": user_name},
        export={"gguf_forms": [FORM]},
    )
    speaks = replace(ADA, greeting="Good evening, {{user}}.")
    artifact = export(adapter=replace(adapter, base=BaseModel(str(base))), config=config, character=speaks)

    label = json.loads((artifact.path / "duologue-export.json").read_text())
    assert label["names_user"] is names_user
    assert f"Good evening, {user_name}." in (artifact.path / "Modelfile").read_text()
    assert str(tmp_path) not in json.dumps(label)
    assert "Llama 3.1 is licensed under" in (artifact.path / "NOTICE").read_text()
    assert 'LICENSE """The base model\'s licence applies' in (artifact.path / "Modelfile").read_text()


def test_an_export_is_found_again_only_for_its_adapter_and_unchanged(
    export: Callable[..., Artifact], adapter: Adapter, tmp_path: Path
) -> None:
    assert find_gguf(tmp_path / "out", adapter) is None
    artifact = export()
    found = find_gguf(tmp_path / "out", adapter)
    assert found is not None
    assert (found.file, found.fault, found.run) == (artifact.path / "ada-bell-F32.gguf", "", "2026-11-22-1")
    newer = tmp_path / "runs" / "2026-11-23-1" / "adapter"
    shutil.copytree(adapter.folder, newer)
    (newer / "adapter_config.json").write_text((newer / "adapter_config.json").read_text() + "\n")
    stale = find_gguf(tmp_path / "out", Adapter(newer, adapter.base))
    assert stale is not None
    assert "run 2026-11-22-1" in stale.fault
    assert "run 2026-11-23-1" in stale.fault
    with found.file.open("ab") as stream:
        stream.write(b"more")
    changed = find_gguf(tmp_path / "out", adapter)
    assert changed is not None
    assert "was changed" in changed.fault


def test_another_chat_template_is_noticed_and_nothing_is_left(
    export: Callable[..., Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def misspell(content: bytearray) -> None:
        at = content.index(TEMPLATE_MARK)
        content[at : at + len(TEMPLATE_MARK)] = TEMPLATE_MARK.replace(b"assistant", b"Assistant")

    changed_after_writing(monkeypatch, misspell)
    with pytest.raises(EngineError, match="other token ids"):
        export()
    assert left_over(tmp_path) == []


def test_another_end_token_is_noticed(export: Callable[..., Artifact], monkeypatch: pytest.MonkeyPatch) -> None:
    def end_at_another(content: bytearray) -> None:
        at = content.index(EOS_KEY) + len(EOS_KEY) + 4  # behind the value's type
        content[at : at + 4] = (260).to_bytes(4, "little")

    changed_after_writing(monkeypatch, end_at_another)
    with pytest.raises(EngineError, match="other token ids"):
        export()


@pytest.mark.parametrize(
    "phase", ["write", *(pytest.param(name, marks=pytest.mark.slow) for name in ("merge", "compare"))]
)
def test_an_interrupted_export_leaves_no_half_one_and_is_gone_on_with(
    export: Callable[..., Artifact], trainer: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    def interrupted(real: Callable, at: int) -> Callable:
        calls = iter(range(100))

        def call(*args, **settings):
            if next(calls) == at:
                raise KeyboardInterrupt
            return real(*args, **settings)

        return call

    owner, name, at = {
        "merge": (trainer, "compare", 0),  # merged, not yet compared
        "write": (exporting, "write_gguf", 1),  # one of two forms is written
        "compare": (exporting, "compare_gguf", 0),
    }[phase]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, interrupted(getattr(owner, name), at), raising=False)
        with pytest.raises(KeyboardInterrupt):
            export(forms=("f32", "f16"))
    assert "gguf" not in left_over(tmp_path)
    exports = tmp_path / "out" / "exports"
    sibling, earlier = exports / ".gguf.small.0123456789ab.export", exports / ".gguf.0123456789ab.export"
    for place in (sibling, earlier):
        place.mkdir()
    written: list[str] = []
    real = exporting.write_gguf
    monkeypatch.setattr(
        exporting, "write_gguf", lambda *args, **settings: (written.append(settings["form"]), real(*args, **settings))
    )
    artifact = export(forms=("f32", "f16"))
    assert written == {"merge": ["f32", "f16"], "write": ["f16"], "compare": []}[phase]
    assert trainer.num_merges == 1
    assert [row["form"] for row in artifact.more["files"]] == ["f32", "f16"]
    assert sibling.is_dir(), "what an export to gguf.small left is not this one's"
    assert not earlier.exists(), "what another export to this target left is"
    sibling.rmdir()
    assert left_over(tmp_path) == ["gguf"]


@pytest.mark.slow
def test_a_merged_export_of_the_same_adapter_is_used_and_a_changed_one_is_not(
    export: Callable[..., Artifact], adapter: Adapter, trainer: Watched, tmp_path: Path
) -> None:
    merged = tmp_path / "merged"
    run_merged(
        adapter,
        merged,
        trainer=trainer,
        dtype="bfloat16",
        character=ADA,
        held_out=HeldOut(some_examples(2), SAID),
    )
    export(merged=merged)
    assert trainer.num_merges == 1
    with (merged / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x01")
    export(merged=merged)
    assert trainer.num_merges == 2


def test_the_base_and_the_adapter_apart_say_the_same(export: Callable[..., Artifact], adapter: Adapter) -> None:
    artifact = export(is_lora=True)
    rows = {row["form"]: row for row in artifact.more["files"]}
    assert rows.keys() == {"f32", "lora"}
    assert rows["f32"]["parity"]["mean_kl_nats"] < 1e-4
    assert rows["lora"]["file"] == "lora/ada-bell-lora.gguf"
    assert "ADAPTER ./lora/ada-bell-lora.gguf" in (artifact.path / "Modelfile").read_text()
    found = find_gguf(artifact.path.parents[1], adapter)
    assert found is not None
    base, lora = found.model()
    assert base.name == str(artifact.path / rows["f32"]["file"])
    assert lora is not None
    assert lora.folder == artifact.path / "lora"


def test_what_llama_cpp_cannot_apply_is_refused_beside_a_base_and_merges(
    export: Callable[..., Artifact], tiny_model: str, tmp_path: Path
) -> None:
    dora = trained(tiny_model, tmp_path / "dora", use_dora=True)
    with pytest.raises(ConfigError, match="DoRA") as refused:
        export(adapter=dora, is_lora=True)
    assert "without --lora" in str(refused.value)
    assert left_over(tmp_path) == []
    assert export(adapter=dora).more["files"][0]["parity"]["mean_kl_nats"] < 1e-3


def test_an_adapter_whose_keys_do_not_match_is_refused_and_nothing_is_left(
    export: Callable[..., Artifact], adapter: Adapter, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    other = tmp_path / "other" / "adapter"
    shutil.copytree(adapter.folder, other)
    file = other / "adapter_model.safetensors"
    save_file({name.replace("q_proj", "z_proj"): tensor for name, tensor in load_file(file).items()}, file)
    for is_lora in (False, True):
        with pytest.raises(EngineError):
            export(adapter=Adapter(other, adapter.base), is_lora=is_lora)
        assert left_over(tmp_path) == []


def test_an_adapter_of_another_base_is_refused(export: Callable[..., Artifact], adapter: Adapter, tmp_path: Path):
    with pytest.raises(EngineError):
        export(adapter=Adapter(adapter.folder, BaseModel("bundled:smollm2-135m")))
    assert left_over(tmp_path) == []


def test_a_full_disk_is_noticed_before_anything_is_written(
    export: Callable[..., Artifact], trainer: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(EngineError, match=r"GiB for the GGUF files \(f32\) and the merged model"):
        export()
    assert trainer.num_merges == 0
    assert left_over(tmp_path) == []


def test_a_folder_with_other_files_is_refused_and_left_alone(
    export: Callable[..., Artifact], trainer: Watched, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"thesis\.txt"):
        export(folder=tmp_path / "mine")
    assert trainer.num_merges == 0
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "mine"


def test_the_configuration_knows_the_forms_that_the_engine_writes() -> None:
    assert get_args(ConfiguredForm) == GGUF_FORMS


@pytest.mark.slow
@pytest.mark.parametrize("is_spoilt", [False, True])
def test_attention_rows_in_the_order_of_transformers_are_noticed(
    export: Callable[..., Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_spoilt: bool
) -> None:
    from gguf import GGUFReader

    def put_back(file: Path) -> None:
        """Undo the order that llama.cpp's rotation needs: pairs beside each other, instead of half a head apart."""
        for tensor in GGUFReader(file, "r+").tensors:
            if tensor.name.endswith(("attn_q.weight", "attn_k.weight")):
                num_rows, num_columns = tensor.data.shape
                heads = tensor.data.reshape(num_rows // 64, 32, 2, num_columns)
                tensor.data[:] = heads.swapaxes(1, 2).reshape(num_rows, num_columns).copy()

    real = exporting.write_gguf

    def write(folder: Path, file: Path, **settings) -> None:
        real(folder, file, **settings)
        if is_spoilt:
            put_back(file)

    monkeypatch.setattr(exporting, "write_gguf", write)
    bundled = trained("bundled:smollm2-135m", tmp_path / "bundled")
    if is_spoilt:
        with pytest.raises(EngineError, match="nats away"):
            export(adapter=bundled, forms=("f16",))
        assert left_over(tmp_path) == []
    else:
        assert export(adapter=bundled, forms=("f16",)).more["files"][0]["parity"]["mean_kl_nats"] < 0.01


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (MixtralConfig(num_local_experts=8), "a mixture of 8 experts of the type 'mixtral' cannot be written as GGUF"),
        (Qwen3MoeConfig(num_experts=16), "a mixture of 16 experts of the type 'qwen3_moe' cannot be written as GGUF"),
        (GPTNeoXConfig(), "a model of the type 'gpt_neox' cannot be written as GGUF"),
    ],
    ids=["mixtral", "qwen3_moe", "gpt_neox"],
)
@pytest.mark.parametrize("is_lora", [False, True])
def test_what_llama_cpp_is_not_written_for_is_refused_before_anything_is_merged(
    export, adapter, trainer, tmp_path, settings, words, is_lora
) -> None:
    settings.save_pretrained(tmp_path / "base")
    with pytest.raises(EngineError, match=re.escape(words)) as refused:
        export(adapter=replace(adapter, base=BaseModel(str(tmp_path / "base"))), is_lora=is_lora)
    assert "export merged" in refused.value.action
    assert trainer.num_merges == 0
    assert left_over(tmp_path) == []
