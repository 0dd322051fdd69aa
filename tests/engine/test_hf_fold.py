"""A base on disk and an adapter folded into one model, file by file."""

import hashlib
import json
import os
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from duologue.engine import Adapter, BaseModel, LoraSettings, open_trainer
from duologue.engine.hf import fold as hf_fold
from duologue.engine.hf import parity, shard
from duologue.engine.hf.fold import find_files, fold
from duologue.engine.hf.load import load_model
from duologue.engine.hf.merge import attach
from duologue.engine.hf.parity import open_merged
from duologue.engine.hf.shard import ShardWriter, Slot
from duologue.errors import EngineError
from duologue.messages import Message
from tests.engine.made import a_job, some_examples

PROMPTS = ([Message("user", "Where does this train go?")], [Message("system", "Be kind."), Message("user", "Hello")])


@pytest.fixture(scope="module")
def sharded(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tiny model cut into several files, with 8-bit friendly widths."""
    folder = tmp_path_factory.mktemp("sharded")
    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    model.save_pretrained(folder, max_shard_size="100KB")
    for path in Path(tiny_model).glob("tokenizer*"):
        (folder / path.name).write_bytes(path.read_bytes())
    for path in Path(tiny_model).glob("*.jinja"):
        (folder / path.name).write_bytes(path.read_bytes())
    assert len(list(folder.glob("*.safetensors"))) > 2
    return str(folder)


def trained(base: BaseModel, folder: Path, **lora: object) -> Adapter:
    job = a_job(base, folder, lora=LoraSettings(rank=4, alpha=8, **lora), max_steps=3)
    return (
        open_trainer("hf")
        .fit(job, some_examples(8), (), on_event=lambda _: None, should_stop=threading.Event())
        .adapter
    )


@pytest.fixture(scope="module")
def plain(sharded: str, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return trained(BaseModel(sharded), tmp_path_factory.mktemp("plain"))


def merged(adapter: Adapter, folder: Path, **changed: object) -> Path:
    settings = {"dtype": "float32", "onto": "original", "on_event": lambda _: None, **changed}
    open_trainer("hf").merge(adapter, folder, **settings)
    return folder


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"use_dora": True},
        pytest.param({"use_rslora": True}, marks=pytest.mark.slow),
        pytest.param({"init_weights": "pissa"}, marks=pytest.mark.slow),
    ],
)
def test_the_folded_weights_are_those_that_peft_folds_in_memory(
    sharded: str, tmp_path: Path, lora: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = trained(BaseModel(sharded), tmp_path / "run", **lora)
    at_once = merged(adapter, tmp_path / "merged")
    monkeypatch.setattr(hf_fold, "_PART_NUMBERS", 300)
    in_parts = merged(adapter, tmp_path / "in parts")

    expected = attach(load_model(adapter.base), adapter).merge_and_unload().state_dict()

    assert any(tensor.numel() > 10 * 300 for tensor in expected.values())
    for folder in (at_once, in_parts):
        found = AutoModelForCausalLM.from_pretrained(folder).state_dict()
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=1e-5, msg=name)


def test_the_files_are_cut_as_the_bases_and_read_by_the_library(plain: Adapter, sharded: str, tmp_path: Path) -> None:
    folder = merged(plain, tmp_path / "merged")

    names = {path.name for path in Path(sharded).glob("*.safetensors")}
    assert {path.name for path in folder.glob("*.safetensors")} == names
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == names
    assert not list(folder.glob("*.partial"))
    assert not (folder / ".done.json").exists()
    assert json.loads((folder / "config.json").read_text())["dtype"] == "float32"


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_the_weights_of_training_are_closer_than_the_original_ones(
    sharded: str, tmp_path: Path, quantization: str
) -> None:
    adapter = trained(BaseModel(sharded, quantization=quantization), tmp_path / "run")
    trainer = open_trainer("hf")
    folders = [merged(adapter, tmp_path / onto, onto=onto) for onto in ("trained", "original")]

    onto_trained, onto_original = trainer.compare(adapter, folders, some_examples(6), PROMPTS)

    assert onto_trained.mean_kl_nats < onto_original.mean_kl_nats
    assert onto_trained.greedy_agreement >= onto_original.greedy_agreement
    assert onto_trained.ids_equal
    assert onto_trained.num_positions == sum(label != -100 for each in some_examples(6) for label in each.labels[1:])


def test_an_equal_model_is_found_equal_and_another_one_is_not(plain: Adapter, tmp_path: Path) -> None:
    trainer = open_trainer("hf")
    good = merged(plain, tmp_path / "good")
    bad = merged(plain, tmp_path / "bad")
    file = next(path for path in bad.glob("*.safetensors") if "model.norm.weight" in load_file(path))
    save_file({name: -tensor for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})

    equal, other = trainer.compare(plain, [good, bad], some_examples(6), PROMPTS)

    assert equal.mean_kl_nats < 1e-6
    assert equal.greedy_agreement == 1.0
    assert equal.max_logit_difference < 1e-4
    assert other.greedy_agreement < 0.5
    assert other.mean_kl_nats > 100 * max(equal.mean_kl_nats, 1e-9)


def test_another_vocabulary_is_noticed(plain: Adapter, tmp_path: Path) -> None:
    folder = merged(plain, tmp_path / "merged")
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_start|>", "<|im_start|> "))

    (figures,) = open_trainer("hf").compare(plain, [folder], some_examples(2), PROMPTS)

    assert not figures.ids_equal


def test_an_interrupted_merge_goes_on_with_the_files_that_are_whole(plain: Adapter, tmp_path: Path) -> None:
    expected = merged(plain, tmp_path / "expected")
    events = []

    def stop_in_the_middle(event) -> None:
        events.append(event)
        if event.values["done"] > event.values["total"] // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merged(plain, tmp_path / "merged", on_event=stop_in_the_middle)
    whole = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "merged").glob("*.safetensors")}
    merged(plain, tmp_path / "merged")

    assert whole
    for name, written_at in whole.items():
        assert (tmp_path / "merged" / name).stat().st_mtime_ns == written_at
    for path in expected.glob("*.safetensors"):
        assert (tmp_path / "merged" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_what_another_adapter_left_is_not_gone_on_with(plain: Adapter, sharded: str, tmp_path: Path) -> None:
    other = trained(BaseModel(sharded), tmp_path / "run", use_rslora=True)

    def stop(event) -> None:
        if event.values["done"] > event.values["total"] // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merged(other, tmp_path / "merged", on_event=stop)
    merged(plain, tmp_path / "merged")

    expected = merged(plain, tmp_path / "expected")
    for path in expected.glob("*.safetensors"):
        assert (tmp_path / "merged" / path.name).read_bytes() == path.read_bytes()


def test_an_adapter_whose_names_are_not_in_the_base_is_refused(plain: Adapter, sharded: str, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    tensors = load_file(plain.folder / "adapter_model.safetensors")
    save_file(
        {key.replace("layers.1", "layers.7"): value for key, value in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    (folder / "adapter_config.json").write_bytes((plain.folder / "adapter_config.json").read_bytes())
    files = find_files(plain.base)
    assert files is not None

    with pytest.raises(EngineError, match="are not in") as refused:
        fold(
            Adapter(folder, plain.base),
            files,
            tmp_path / "merged",
            dtype="float32",
            onto="original",
            on_event=lambda _: None,
        )

    assert "layers.7" in str(refused.value)
    assert not (tmp_path / "merged").exists()


def test_an_adapter_with_other_tensors_is_refused(plain: Adapter, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    folder.mkdir()
    tensors = {"base_model.model.model.embed_tokens.lora_embedding_A": torch.zeros(2, 2)}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_bytes((plain.folder / "adapter_config.json").read_bytes())

    with pytest.raises(EngineError, match="cannot be folded"):
        merged(Adapter(folder, plain.base), tmp_path / "merged")


def test_a_model_that_does_not_fit_into_memory_is_read_from_its_files(plain: Adapter, tmp_path: Path) -> None:
    folder = merged(plain, tmp_path / "merged")
    ids = torch.tensor([[5, 6, 7, 8]])
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))

    in_memory = open_merged(folder)(input_ids=ids).logits
    from_files = open_merged(folder, free_bytes=size)(input_ids=ids).logits

    torch.testing.assert_close(from_files, in_memory)


def test_a_comparison_from_files_leaves_nothing_in_the_export(
    plain: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = merged(plain, tmp_path / "merged")
    before = sorted(folder.rglob("*"))
    num_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    monkeypatch.setattr(parity, "virtual_memory", lambda: SimpleNamespace(available=num_bytes))

    (found,) = open_trainer("hf").compare(plain, [folder], some_examples(2), PROMPTS)

    assert found.mean_kl_nats < 1e-6
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_written_file_is_what_the_library_reads(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = {"a": torch.randn(3, 5).to(dtype), "b": torch.randn(7).to(dtype), "é": torch.zeros(2, 0, 3, dtype=dtype)}
    writer = ShardWriter(
        tmp_path / "one.safetensors", [Slot(name, tuple(each.shape)) for name, each in tensors.items()], dtype=dtype
    )
    for name, tensor in tensors.items():
        writer.write(name, tensor.split(2))
    digest = writer.close()

    read = load_file(tmp_path / "one.safetensors")

    assert len(digest) == 64
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor)


@pytest.mark.parametrize("sync_bytes", [1, 2**28])
def test_the_hash_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync_bytes: int) -> None:
    monkeypatch.setattr(shard, "_SYNC_BYTES", sync_bytes)
    slots = [Slot(str(number), (number, 1000)) for number in range(40)]
    writer = ShardWriter(tmp_path / "one.safetensors", slots, dtype=torch.float32)
    for slot in slots:
        writer.write(slot.name, torch.randn(slot.shape).split(3))

    assert writer.close() == hashlib.sha256((tmp_path / "one.safetensors").read_bytes()).hexdigest()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_a_disk_that_is_full_in_the_middle_of_a_file_is_said() -> None:
    slots = [Slot(str(number), (2**20,)) for number in range(40)]
    writer = ShardWriter(Path("/dev/full"), slots, dtype=torch.float32)
    written = []

    def write() -> None:
        for slot in slots:
            writer.write(slot.name, [torch.zeros(slot.shape)])
            written.append(slot.name)

    with pytest.raises(OSError, match="No space left"):
        write()
    writer.abandon()

    assert len(written) < len(slots)


def test_a_full_disk_is_said(plain: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(EngineError, match="No space left"):
        merged(plain, tmp_path / "merged")
