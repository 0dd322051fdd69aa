"""Bases as they are found: with other files beside them, quantised as published, not made for chat."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub.utils import filter_repo_objects
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, LogitsProcessor

from duologue.engine import Adapter, BaseModel, open_trainer
from duologue.engine.hf.fold import FETCHED, NOT_FETCHED
from duologue.engine.hf.load import quiet
from duologue.errors import EngineError
from tests.engine.tiny_models import byte_level_tokenizer, save, tiny_config, tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose settings name the end of a text only, and whose template ends turns with another token."""
    tokenizer = byte_level_tokenizer("qwen2")
    model = tiny_model(tiny_config("qwen2", vocab_size=len(tokenizer)))
    return save(model, tokenizer, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    return an_adapter(base, tmp_path_factory.mktemp("run") / "adapter")


def an_adapter(base: Path, folder: Path) -> Adapter:
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    with quiet():
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), lora)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    model.save_pretrained(str(folder))
    (folder / "README.md").unlink()
    return Adapter(folder, BaseModel(str(base)))


def merged(adapter: Adapter, folder: Path, *, onto: str = "original") -> Path:
    open_trainer("hf").merge(adapter, folder, dtype="float32", onto=onto, on_event=lambda _: None)
    return folder


def copied(base: Path, folder: Path) -> Path:
    shutil.copytree(base, folder)
    return folder


class Always(LogitsProcessor):
    """Makes one token the only one."""

    def __init__(self, token: int) -> None:
        self.token = token

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        only = torch.full_like(scores, -torch.inf)
        only[:, self.token] = 0.0
        return only


@pytest.mark.parametrize("has_settings", [True, False])
@pytest.mark.parametrize("end", ["<|im_end|>", "</s>"])
def test_transformers_ends_a_reply_of_the_merged_model_where_chat_does(
    base: Path, adapter: Adapter, tmp_path: Path, end: str, has_settings: bool
) -> None:
    found = copied(base, tmp_path / "base")
    if not has_settings:
        (found / "generation_config.json").unlink()
    folder = merged(Adapter(adapter.folder, BaseModel(str(found))), tmp_path / "merged")

    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    token = tokenizer.convert_tokens_to_ids(end)
    model = AutoModelForCausalLM.from_pretrained(folder)
    output = model.generate(**prompt, max_new_tokens=6, do_sample=False, logits_processor=[Always(token)])

    assert output[0, prompt["input_ids"].shape[1] :].tolist() == [token]
    assert model.generation_config.bos_token_id == 1


def test_the_order_of_ends_and_other_settings_of_the_base_are_kept(
    base: Path, adapter: Adapter, tmp_path: Path
) -> None:
    found = copied(base, tmp_path / "base")
    (found / "generation_config.json").write_text('{"eos_token_id": [4, 2], "temperature": 0.7, "do_sample": true}')

    folder = merged(Adapter(adapter.folder, BaseModel(str(found))), tmp_path / "merged")

    settings = json.loads((folder / "generation_config.json").read_text())
    tokenizer = open_trainer("hf").tokenizer(BaseModel(str(folder)))
    assert settings["eos_token_id"][:2] == [4, 2]
    assert set(settings["eos_token_id"]) == {4, 2} | tokenizer.stop_token_ids
    assert (settings["temperature"], settings["do_sample"]) == (0.7, True)


def test_only_the_files_that_transformers_reads_are_folded(base: Path, adapter: Adapter, tmp_path: Path) -> None:
    found = copied(base, tmp_path / "base")
    save_file({"layers.0.attention.wq.weight": torch.zeros(4, 4)}, found / "consolidated.safetensors")
    save_file({"base_model.model.x.lora_A.weight": torch.zeros(4, 4)}, found / "adapter_model.safetensors")

    folder = merged(Adapter(adapter.folder, BaseModel(str(found))), tmp_path / "merged")

    assert [path.name for path in folder.glob("*.safetensors*")] == ["model.safetensors"]
    assert load_file(folder / "model.safetensors").keys() == load_file(base / "model.safetensors").keys()


def test_of_a_repository_only_those_files_are_fetched() -> None:
    wanted = ["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json", "LICENSE", "NOTICE"]
    others = [
        "consolidated.safetensors",
        "adapter_model.safetensors",
        "original/model.safetensors",
        "pytorch_model.bin",
    ]

    fetched = filter_repo_objects([*wanted, *others], allow_patterns=[*FETCHED], ignore_patterns=[*NOT_FETCHED])

    assert list(fetched) == wanted


@pytest.mark.parametrize("onto", ["original", "trained"])
def test_a_base_that_was_published_quantised_is_refused_before_anything_is_written(
    base: Path, adapter: Adapter, tmp_path: Path, onto: str
) -> None:
    settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    AutoModelForCausalLM.from_pretrained(base, quantization_config=settings).save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "base")
    on_it = Adapter(adapter.folder, BaseModel(str(tmp_path / "base"), quantization="nf4"))

    with pytest.raises(EngineError, match="quantised as published") as refused:
        merged(on_it, tmp_path / "merged", onto=onto)

    assert "bitsandbytes" in str(refused.value)
    assert not (tmp_path / "merged").exists()


def test_an_adapter_of_a_narrower_base_is_refused_by_its_shape(base: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    config = tiny_config("qwen2", vocab_size=len(tokenizer), hidden_size=128)
    other = an_adapter(save(tiny_model(config), tokenizer, tmp_path / "narrow"), tmp_path / "adapter")

    with pytest.raises(EngineError, match="as a weight of shape") as refused:
        merged(Adapter(other.folder, BaseModel(str(base))), tmp_path / "merged")

    assert "[512, 256]" in refused.value.needed
    assert not (tmp_path / "merged").exists()


def test_no_place_on_the_publishers_disk_travels(base: Path, adapter: Adapter, tmp_path: Path) -> None:
    found = copied(base, tmp_path / "base")
    config = json.loads((found / "config.json").read_text())
    (found / "config.json").write_text(json.dumps({**config, "_name_or_path": "/home/ann/models/base"}))

    folder = merged(Adapter(adapter.folder, BaseModel(str(found))), tmp_path / "merged")

    assert "/home/ann" not in (folder / "config.json").read_text()


def test_a_model_that_also_sees_is_refused_with_a_sentence(tmp_path: Path) -> None:
    AutoConfig.for_model("gemma3").save_pretrained(tmp_path)

    with pytest.raises(EngineError, match="'gemma3', which sees or hears") as refused:
        open_trainer("hf").facts(BaseModel(str(tmp_path)))

    assert "text-only" in refused.value.action
