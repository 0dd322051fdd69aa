"""Adapters, optimizers and weight formats mean what their settings say, from the recipe to the layer."""

import math
import os
from dataclasses import replace

import pytest
import torch
from bitsandbytes.nn.modules import Linear4bit, Linear8bitLt
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import LlamaConfig, LlamaForCausalLM

from duologue.config.load import load_recipe
from duologue.engine import BaseModel, LoraSettings
from duologue.engine.hf import fast_path
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.batches import collate
from duologue.engine.hf.load import load_model, quiet
from duologue.engine.hf.loss import summed_loss
from duologue.engine.hf.optimizer import learning_rate, make_optimizer
from duologue.errors import EngineError
from tests.engine.made import a_job, some_examples

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small are quicker on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small_model(tmp_path_factory):
    """A folder with a random Llama whose layers are large enough to be quantised in several blocks."""
    folder = tmp_path_factory.mktemp("small-model")
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "intermediate_size": 192, "num_hidden_layers": 2, "vocab_size": 1024}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
    model = LlamaForCausalLM(LlamaConfig(**shape, **heads))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
    with quiet():
        model.save_pretrained(folder)
    return str(folder)


def adapted_layers(model):
    return [module for module in model.modules() if isinstance(module, LoraLayer)]


def logits(model, examples):
    model.eval()
    with torch.no_grad():
        found = [model(input_ids=torch.tensor([e.input_ids]), use_cache=False).logits[0] for e in examples]
    return torch.cat(found).float()


def train(model, job, examples, *, steps):
    optimizer = make_optimizer(model, job)
    model.train()
    losses = []
    for step in range(steps):
        loss = summed_loss(model.get_base_model(), collate(examples, pad_token_id=0, device=CPU))
        count = sum(example.num_trained_tokens for example in examples)
        (loss / count).backward()
        losses.append(float(loss.detach()) / count)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(job, step) * group["lr_scale"]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return losses


# ------------------------------------------------------------------------------------------------------------ recipes


@pytest.mark.parametrize(
    "name, facts",
    [
        ("original", {"quantization": "nf4", "rank": 64, "micro": 1, "accumulation": 8, "rate": 2e-4, "tokens": 1024}),
        ("optimized", {"quantization": "int8", "rank": 32, "micro": 2, "accumulation": 4, "rate": 5e-4, "tokens": 512}),
    ],
)
def test_a_recipe_builds_the_model_that_it_names(name, facts, small_model, tmp_path):
    config = load_recipe(name)
    assert config.data.max_length_tokens == facts["tokens"]
    assert config.training.micro_batch_size == facts["micro"]
    assert config.training.gradient_accumulation_steps == facts["accumulation"]
    assert config.training.learning_rate == facts["rate"]
    assert config.lora.target_modules == "all-linear" and config.lora.alpha == 16
    base = BaseModel(
        small_model,
        quantization=config.model.quantization,
        use_double_quantization=config.model.use_double_quantization,
        int8_threshold=config.model.int8_threshold,
        compute_dtype="float32",
    )
    lora = LoraSettings(rank=config.lora.rank, alpha=config.lora.alpha, dropout=config.lora.dropout)
    model = with_adapter(load_model(base), a_job(base, tmp_path, lora=lora))
    layers = adapted_layers(model)
    assert len(layers) == 2 * 7
    for layer in layers:
        inner = layer.get_base_layer()
        assert layer.r["default"] == facts["rank"]
        assert layer.scaling["default"] == 16 / facts["rank"]
        if facts["quantization"] == "nf4":
            assert isinstance(inner, Linear4bit)
            state = inner.weight.quant_state
            assert (state.quant_type, state.blocksize, state.nested) == ("nf4", 64, True)
            assert state.state2.blocksize == 256
            assert inner.weight.dtype is torch.uint8
        else:
            assert isinstance(inner, Linear8bitLt)
            assert inner.state.threshold == 6.0
            assert inner.weight.dtype is torch.int8
    trainable = {key for key, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in key for key in trainable) and len(trainable) == 2 * 14
    assert type(model.get_output_embeddings()) is torch.nn.Linear


@pytest.mark.parametrize(
    "changes, check",
    [
        ({"use_double_quantization": False}, lambda inner: inner.weight.quant_state.nested is False),
        ({"quantization": "int8", "int8_threshold": 0.0}, lambda inner: inner.state.threshold == 0.0),
        ({"quantization": "int8", "int8_threshold": 4.5}, lambda inner: inner.state.threshold == 4.5),
    ],
)
def test_settings_of_a_weight_format_reach_the_layers(changes, check, small_model):
    base = replace(BaseModel(small_model, quantization="nf4"), **changes)
    layers = [m for m in load_model(base).modules() if isinstance(m, Linear4bit | Linear8bitLt)]
    assert len(layers) == 14 and all(check(layer) for layer in layers)


def test_a_16_bit_base_stays_16_bit_everywhere_and_the_adapter_has_its_own_type(small_model, tmp_path):
    base = BaseModel(small_model, quantization="nf4", compute_dtype="bfloat16")
    model = with_adapter(load_model(base), a_job(base, tmp_path, adapter_dtype="bfloat16"))
    kinds = {p.dtype for p in model.parameters() if not p.requires_grad}
    assert kinds == {torch.bfloat16, torch.uint8}, "no norm, embedding or projection was converted to float32"
    assert {p.dtype for p in model.parameters() if p.requires_grad} == {torch.bfloat16}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = summed_loss(model.get_base_model(), collate(some_examples(3), pad_token_id=0, device=CPU))
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"use_dora": True}, {"dropout": 0.1}])
@pytest.mark.filterwarnings("ignore")
def test_every_kind_of_adapter_learns_on_every_weight_format(quantization, settings, small_model, tmp_path):
    base = BaseModel(small_model, quantization=quantization)
    job = a_job(base, tmp_path, lora=LoraSettings(rank=4, alpha=8, **settings), max_steps=20)
    torch.manual_seed(0)
    loaded = load_model(base)
    if settings.get("use_dora") and quantization == "int8":
        with pytest.raises(EngineError, match="DoRA cannot be trained on an int8 base on a CPU"):
            with_adapter(loaded, job)
        return
    model = with_adapter(loaded, job)
    losses = train(model, job, some_examples(4), steps=6)
    assert losses[-1] < losses[0]
    layer = adapted_layers(model)[0]
    assert layer.scaling["default"] == (8 / math.sqrt(4) if settings.get("use_rslora") else 2)
    assert bool(layer.lora_variant) == bool(settings.get("use_dora"))


def test_nf4_weights_stay_as_they_were_loaded_when_the_model_is_evaluated(small_model):
    """On a processor with AVX-512 BF16, bitsandbytes repacks them at the first evaluation unless it is kept from it."""
    model = load_model(BaseModel(small_model, quantization="nf4")).eval()
    layers = [layer for layer in model.modules() if isinstance(layer, Linear4bit)]
    before = [(layer.weight.data.clone(), layer.weight.quant_state.absmax.clone()) for layer in layers]
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3]]))
    for layer, (weight, scales) in zip(layers, before, strict=True):
        assert torch.equal(layer.weight.data, weight)
        assert torch.equal(layer.weight.quant_state.absmax, scales)
    features = torch.randn(1, layers[0].in_features, requires_grad=True)
    layers[0](features).sum().backward()
    assert features.grad.abs().sum() > 0


# --------------------------------------------------------------------------------------------------------------- init


@pytest.mark.parametrize("quantization", ["none", "nf4", "int8"])
@pytest.mark.parametrize("use_rslora", [False, True])
def test_pissa_starts_at_nothing_trains_the_largest_directions_and_is_valid_on_the_untouched_base(
    quantization, use_rslora, small_model, tmp_path
):
    base = BaseModel(small_model, quantization=quantization)
    examples = some_examples(4)
    expected = logits(load_model(base), examples)
    lora = LoraSettings(rank=4, alpha=8, init_weights="pissa", use_rslora=use_rslora)
    job = a_job(base, tmp_path, lora=lora, weight_decay=0.1)
    model = with_adapter(load_model(base), job)
    torch.testing.assert_close(logits(model, examples), expected, rtol=1e-3, atol=2e-3)
    layer = adapted_layers(model)[0]
    a, b = layer.lora_A["default"].weight.detach().clone(), layer.lora_B["default"].weight.detach().clone()
    scale = 8 / math.sqrt(4) if use_rslora else 2
    assert layer.scaling["default"] == pytest.approx(scale)
    if quantization == "none":
        weight = layer.get_base_layer().weight
        values = torch.linalg.svdvals(weight)
        residual = weight - scale * b[:, :4] @ a[:4]
        assert float(torch.linalg.svdvals(residual)[0]) == pytest.approx(float(values[4]), rel=1e-3)
    losses = train(model, job, examples, steps=6)
    assert losses[-1] < losses[0]
    assert torch.equal(layer.lora_A["default"].weight[4:], a[4:]), "the subtracted half never moves"
    assert torch.equal(layer.lora_B["default"].weight[:, 4:], b[:, 4:])
    assert not torch.equal(layer.lora_A["default"].weight[:4], a[:4])
    trained = logits(model, examples)
    with quiet():
        model.save_pretrained(tmp_path / "saved")
        again = PeftModel.from_pretrained(load_model(base), str(tmp_path / "saved"))
    allowed = 5e-3 if quantization == "int8" else 1e-4  # int8 rounds activations, in half precision
    torch.testing.assert_close(logits(again, examples), trained, rtol=1e-4, atol=allowed)


def test_loftq_starts_nearer_to_the_exact_base_than_nf4_alone(small_model, tmp_path):
    base = BaseModel(small_model, quantization="nf4")
    exact = load_model(BaseModel(small_model)).state_dict()
    job = a_job(base, tmp_path, lora=LoraSettings(rank=8, alpha=16, init_weights="loftq"))
    model = with_adapter(load_model(base), job)
    import bitsandbytes.functional as bits

    for name, layer in model.get_base_model().named_modules():
        if isinstance(layer, LoraLayer):
            weight = layer.get_base_layer().weight
            held = bits.dequantize_4bit(weight.data, weight.quant_state).float()
            added = layer.scaling["default"] * layer.lora_B["default"].weight.data @ layer.lora_A["default"].weight.data
            lost = float((exact[f"{name}.weight"] - held).norm())
            assert float((exact[f"{name}.weight"] - held - added).norm()) < 0.95 * lost


def test_loftq_on_a_base_that_lost_nothing_is_refused(small_model, tmp_path):
    job = a_job(BaseModel(small_model), tmp_path, lora=LoraSettings(rank=4, alpha=8, init_weights="loftq"))
    with pytest.raises(EngineError, match="4-bit") as caught:
        with_adapter(load_model(job.base), job)
    assert caught.value.where == "lora.init_weights"


# ---------------------------------------------------------------------------------------------------------- optimizer


@pytest.mark.parametrize("name", ["adamw", "adamw_8bit", "paged_adamw", "paged_adamw_8bit"])
def test_every_optimizer_learns_on_this_machine(name, small_model, tmp_path):
    job = a_job(BaseModel(small_model), tmp_path, lora=LoraSettings(rank=64, alpha=64), optimizer=name, max_steps=20)
    torch.manual_seed(0)
    model = with_adapter(load_model(job.base), job)
    losses = train(model, job, some_examples(4), steps=6)
    assert losses[-1] < losses[0] - 0.1
    line = next(line for line in fast_path.describe(model, job) if line.startswith("optimizer"))
    assert ("pages need a GPU" in line) == (name.startswith("paged") and not torch.cuda.is_available())
    assert ("8bit" in line.split(";")[0]) == name.endswith("8bit")


def test_fused_adamw_takes_the_steps_of_the_plain_one(small_model, tmp_path):
    job = a_job(BaseModel(small_model), tmp_path, weight_decay=0.01)
    torch.manual_seed(0)
    model = with_adapter(load_model(job.base), job)
    fused = make_optimizer(model, job)
    assert fused.defaults["fused"] is True
    parameters = [p for p in model.parameters() if p.requires_grad]
    copies = [p.detach().clone().requires_grad_() for p in parameters]
    plain = torch.optim.AdamW(copies, lr=job.learning_rate, weight_decay=0.01)
    for _ in range(3):
        for parameter, copy in zip(parameters, copies, strict=True):
            parameter.grad = torch.randn_like(parameter)
            copy.grad = parameter.grad.clone()
        fused.step()
        plain.step()
    for parameter, copy in zip(parameters, copies, strict=True):
        torch.testing.assert_close(parameter, copy, rtol=1e-5, atol=1e-7)


def test_lora_plus_gives_the_second_matrices_their_own_rate(small_model, tmp_path):
    job = a_job(BaseModel(small_model), tmp_path, lora=LoraSettings(rank=4, alpha=8, lr_ratio=16.0))
    model = with_adapter(load_model(job.base), job)
    first, second = make_optimizer(model, job).param_groups
    assert (first["lr_scale"], second["lr_scale"]) == (1.0, 16.0)
    by_name = {id(p): name for name, p in model.named_parameters()}
    assert all("lora_A" in by_name[id(p)] for p in first["params"]) and len(first["params"]) == 14
    assert all("lora_B" in by_name[id(p)] for p in second["params"]) and len(second["params"]) == 14


@pytest.mark.parametrize("schedule, middle, last", [("cosine", 0.55, 0.1), ("linear", 0.55, 0.1), ("constant", 1, 1)])
def test_schedules_rise_and_then_fall_as_named(schedule, middle, last, tmp_path):
    job = a_job(BaseModel("x"), tmp_path, max_steps=110, warmup_steps=10, learning_rate=1.0, lr_schedule=schedule)
    assert [learning_rate(job, step) for step in range(10)] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert learning_rate(job, 60) == pytest.approx(middle)
    assert learning_rate(job, 109) == pytest.approx(last, abs=0.02)


# ----------------------------------------------------------------------------------------------------- noise, fast path


@pytest.mark.parametrize("pack_length", [0, 64])
def test_noise_is_scaled_by_the_real_length_of_each_example_and_only_while_training(pack_length, small_model, tmp_path):
    job = a_job(BaseModel(small_model), tmp_path, neftune_alpha=5.0)
    model = with_adapter(load_model(job.base), job)
    base, seen = model.get_base_model(), {}
    base.model.layers[0].register_forward_pre_hook(lambda _m, args, kwargs: seen.update(x=args[0]), with_kwargs=True)
    examples = some_examples(2)
    assert examples[0].num_tokens != examples[1].num_tokens
    summed_loss(base, collate(examples, pad_token_id=0, device=CPU))
    begin = 0
    for example in examples:
        end = begin + example.num_tokens
        clean = base.model.embed_tokens.weight[list(example.input_ids)]
        noise = (seen["x"][0, begin:end] - clean).abs().max()
        limit = 5.0 / math.sqrt(example.num_tokens * 128)
        assert 0.9 * limit < float(noise) <= limit * 1.0001
        begin = end
    model.eval()
    first = float(summed_loss(base, collate(examples, pad_token_id=0, device=CPU)).detach())
    assert first == float(summed_loss(base, collate(examples, pad_token_id=0, device=CPU)).detach())


def test_the_fast_path_says_what_is_on_and_what_switched_a_part_off(small_model, tmp_path):
    job = a_job(BaseModel(small_model), tmp_path)
    lines = "\n".join(fast_path.describe(with_adapter(load_model(job.base), job), job))
    assert "example by example in rows without padding, equal beginnings once" in lines
    assert "in chunks" in lines and "14 linears, 5 norms, 2 gates" in lines and "adamw, fused" in lines
    slow = replace(
        job,
        lora=LoraSettings(rank=4, alpha=8, dropout=0.1),
        base=BaseModel(small_model, quantization="int8"),
        use_gradient_checkpointing=True,
    )
    lines = "\n".join(fast_path.describe(with_adapter(load_model(slow.base), slow), slow))
    assert "outliers above 6 in 16 bit" in lines and "recomputed" in lines
    assert "computed apart: dropout" in lines
    assert "equal beginnings repeated" in lines


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_model_has_the_same_loss_and_gradients(small_model, tmp_path):
    results = []
    for use_compile in (False, True):
        job = a_job(BaseModel(small_model), tmp_path, use_compile=use_compile)
        torch.manual_seed(0)
        model = with_adapter(load_model(job.base), job)
        loss = summed_loss(model.get_base_model(), collate(some_examples(3), pad_token_id=0, device=CPU))
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters() if p.requires_grad)])
    assert any(line.startswith("compile: on; the first step waits") for line in fast_path.describe(model, job))
    for plain, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-3)


def test_compiling_without_a_compiler_is_off_and_says_so(small_model, tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    job = a_job(BaseModel(small_model), tmp_path, use_compile=True)
    lines = fast_path.describe(with_adapter(load_model(job.base), job), job)
    assert "compile: off, because there is no C++ compiler (no-such-compiler)" in lines


def test_what_a_person_set_in_the_environment_stays(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTORCH_CUDA_ALLOC_CONF", "max_split_size_mb:64")
    fast_path.prepare(a_job(BaseModel("x"), tmp_path))
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "max_split_size_mb:64"
    monkeypatch.delenv("PYTORCH_CUDA_ALLOC_CONF")
    fast_path.prepare(a_job(BaseModel("x"), tmp_path))
    assert os.environ["PYTORCH_CUDA_ALLOC_CONF"] == "expandable_segments:True"


def test_matrix_units_are_told_by_the_processors_flags():
    assert fast_path.has_matrix_units(flags="fpu avx2 avx512_bf16")
    assert fast_path.has_matrix_units(flags="amx_bf16 amx_tile")
    assert not fast_path.has_matrix_units(flags="fpu avx2 fma")
