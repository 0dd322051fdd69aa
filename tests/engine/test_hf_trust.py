"""A model brings weights, settings and a vocabulary; an adapter brings matrices; neither brings code."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from duologue.config.schema import ModelSection
from duologue.engine import Adapter, BaseModel
from duologue.engine.hf.load import load_model, load_tokenizer, quiet, read_facts
from duologue.engine.hf.merge import attach, merge_adapter
from duologue.engine.hf.trust import base_of_adapter, require_plain_adapter, require_plain_model
from duologue.errors import EngineError

MODELING = """
from pathlib import Path
Path({marker!r}).write_text("code of the repository ran")
from transformers import LlamaConfig, LlamaForCausalLM
class NiceConfig(LlamaConfig):
    model_type = "nice"
class NiceModel(LlamaForCausalLM):
    config_class = NiceConfig
class NiceTokenizer:
    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        raise ValueError("no tokenizer")
"""


class Trap:
    """A pickle of it writes a file when it is opened."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.write_text, (self.marker, "a pickle ran")


def changed(path: Path, **values) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


@pytest.fixture
def model(tiny_model, tmp_path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for path in Path(tiny_model).iterdir():
        if path.suffix == ".safetensors":
            os.link(path, folder / path.name)
        else:
            shutil.copy(path, folder)
    return folder


@pytest.fixture
def marker(tmp_path) -> Path:
    return tmp_path / "ran.txt"


@pytest.fixture
def with_code(model, marker) -> Path:
    """A repository that brings its own model, as some of the hub do."""
    (model / "modeling_nice.py").write_text(MODELING.format(marker=str(marker)))
    names = {"AutoConfig": "modeling_nice.NiceConfig", "AutoModelForCausalLM": "modeling_nice.NiceModel"}
    changed(model / "config.json", auto_map=names, model_type="nice")
    return model


OPENED = pytest.mark.parametrize("opened", [load_tokenizer, read_facts, load_model])


@OPENED
def test_code_of_a_repository_is_refused_and_does_not_run(with_code, marker, opened):
    with pytest.raises(EngineError, match="brings its own code") as refused:
        opened(BaseModel(str(with_code)))
    assert f'model.trusted_code = "{with_code}"' in str(refused.value)
    assert not marker.exists()


def test_code_runs_only_when_this_very_repository_is_named(with_code, marker):
    with pytest.raises(EngineError, match="brings its own code"):
        read_facts(BaseModel(str(with_code), trusted_code=str(with_code.parent)))
    assert not marker.exists()
    assert read_facts(BaseModel(str(with_code), trusted_code=str(with_code))).hidden_size == 64
    assert marker.read_text() == "code of the repository ran"


def test_the_config_trusts_its_own_base_and_nothing_else():
    assert ModelSection(base="a/b").trusted_code == ""
    assert ModelSection(base="a/b", trusted_code="a/b").trusted_code == "a/b"
    with pytest.raises(ValueError, match="trusted_code names 'a/c', but the base is 'a/b'"):
        ModelSection(base="a/b", trusted_code="a/c")


@OPENED
def test_code_of_a_tokenizer_is_refused_and_does_not_run(model, marker, opened):
    (model / "tokenization_nice.py").write_text(MODELING.format(marker=str(marker)))
    changed(model / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tokenization_nice.NiceTokenizer", None]})
    with pytest.raises(EngineError, match=r"'auto_map' in tokenizer_config\.json"):
        opened(BaseModel(str(model)))
    assert not marker.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.PT", "rng_state.pth", "training_args.bin", "x.pkl"])
def test_a_pickle_beside_the_weights_is_refused_and_not_opened(model, marker, name):
    (model / name).write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(EngineError, match="can run code when it is opened") as refused:
        load_model(BaseModel(str(model)))
    assert refused.value.where.endswith(name)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["nice", "", None, 7, "clip", "vit"])
def test_a_model_of_a_type_that_cannot_chat_is_refused(model, kind):
    changed(model / "config.json", model_type=kind)
    with pytest.raises(EngineError, match=r"of the type .* cannot chat with"):
        require_plain_model(BaseModel(str(model)))


@pytest.mark.parametrize(
    "content", ["", "[", "[" * 100_000, "[]", '"x"', "\xff", "{" + '"a":1,' * 1_000_000 + '"b":1}']
)
def test_settings_that_are_no_table_are_refused(model, content):
    (model / "config.json").write_text(content, encoding="latin-1")
    with pytest.raises(EngineError, match=r"config\.json"):
        require_plain_model(BaseModel(str(model)))


@pytest.mark.parametrize("shard", ["../other.safetensors", "/etc/x.safetensors", "a\\b.safetensors", "model.bin", 5])
def test_a_list_of_weights_that_points_elsewhere_is_refused(model, shard):
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": shard}}))
    with pytest.raises(EngineError, match="the list of weights names"):
        load_model(BaseModel(str(model)))


def test_a_vocabulary_of_any_size_is_not_read(model):
    with (model / "tokenizer.json").open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(EngineError, match=r"tokenizer\.json has 209715200 bytes"):
        load_tokenizer(BaseModel(str(model)))


def test_a_hostile_chat_template_stops_the_loading_of_its_tokenizer(model):
    (model / "chat_template.jinja").write_text("{{ 'A' * 10**9 }}")
    with pytest.raises(EngineError, match="budget of steps"):
        assert load_tokenizer(BaseModel(str(model))).traits


# ------------------------------------------------------------------------------------------------------------ adapters


@pytest.fixture(scope="module")
def made_adapter(tiny_model, tmp_path_factory) -> Path:
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("made") / "adapter"
    with quiet():
        settings = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
        get_peft_model(load_model(BaseModel(tiny_model)), settings).save_pretrained(str(folder))
    return folder


@pytest.fixture
def adapter(made_adapter, tiny_model, tmp_path) -> Adapter:
    return Adapter(Path(shutil.copytree(made_adapter, tmp_path / "adapter")), BaseModel(tiny_model))


def test_an_ordinary_adapter_is_put_on_and_names_its_base(adapter):
    require_plain_adapter(adapter)
    assert attach(load_model(adapter.base), adapter).peft_config["default"].r == 4
    assert base_of_adapter(adapter.folder) == adapter.base.name


FAULTS = {
    "auto_map": ({"auto_map": {"AutoConfig": "x.Y"}}, "sets 'auto_map'"),
    "megatron": ({"megatron_config": {"a": 1}, "megatron_core": "os"}, "sets 'megatron_config'"),
    "layers": ({"layer_replication": [[0, 2]] * 10_000}, "sets 'layer_replication'"),
    "library": ({"auto_mapping": {"parent_library": "antigravity", "base_model_class": "X"}}, "would import"),
    "kind": ({"peft_type": "PROMPT_TUNING"}, "of the kind 'PROMPT_TUNING'"),
    "pattern": ({"target_modules": "(a+)+b"}, "could take very long"),
    "rank pattern": ({"rank_pattern": {"(x*)*y": 4}}, "could take very long"),
    "rank": ({"r": 10**9}, "has the rank 1000000000"),
    "no rank": ({"r": None}, "has the rank None"),
    "other rank": ({"r": 8}, r"says rank 8, its weights have \[4\]"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_adapter_that_asks_for_more_than_its_matrices_is_refused(adapter, name):
    values, found = FAULTS[name]
    changed(adapter.folder / "adapter_config.json", **values)
    with pytest.raises(EngineError, match=found):
        attach(None, adapter)


@pytest.mark.parametrize("name", ["adapter_model.bin", "optimizer.pt"])
def test_a_pickled_adapter_is_refused_and_not_opened(adapter, marker, name):
    (adapter.folder / "adapter_model.safetensors").unlink()
    (adapter.folder / name).write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(EngineError, match="can run code when it is opened"):
        attach(None, adapter)
    with pytest.raises(EngineError, match="can run code when it is opened"):
        merge_adapter(adapter, adapter.folder / "merged", dtype="float32", onto="base", on_event=lambda event: None)
    assert not marker.exists()


def test_an_adapter_for_another_base_is_refused_with_the_name_of_its_own(adapter):
    weights = adapter.folder / "adapter_model.safetensors"
    save_file({name: tensor[:, :32].contiguous() for name, tensor in load_file(weights).items()}, weights)
    changed(adapter.folder / "adapter_config.json", base_model_name_or_path="somebody/another-model")
    with pytest.raises(EngineError, match=r"cannot be put on .*trained on \(somebody/another-model\)"):
        attach(load_model(adapter.base), adapter)


@pytest.mark.parametrize("keep", [0, 7, 40])
def test_a_cut_adapter_is_an_engine_error(adapter, keep):
    weights = adapter.folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(EngineError, match="weights cannot be read"):
        attach(None, adapter)
