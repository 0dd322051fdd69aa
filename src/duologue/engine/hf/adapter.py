"""The adapter on the frozen base: `with_adapter`."""

import warnings

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer

from duologue.engine.hf.attention import use_documents
from duologue.engine.hf.compiling import compile_blocks, compile_fault
from duologue.engine.hf.fused import fuse
from duologue.engine.hf.init import start_loftq, start_pissa
from duologue.engine.hf.load import DTYPES, HfModel, quiet
from duologue.engine.job import LoraSettings, TrainingJob
from duologue.errors import EngineError

_LINEAR_NAMES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def with_adapter(model: HfModel, job: TrainingJob) -> PeftModel:
    """Return the frozen model with a fresh adapter on it, ready to train.

    Nothing of the base is converted to float32: norms, embedding and output projection stay in the type of the
    activations. The base's weights stay as they are, whatever the adapter starts at, so a saved adapter is valid on
    the base as it was loaded.

    Raises:
        EngineError: `lora.target_modules` names no linear layer of the model, or `lora.init_weights` does not fit it.
    """
    _require_possible(model, job)
    is_compiled = job.use_compile and not compile_fault()
    documents_fault = "the model is compiled" if is_compiled else use_documents(model)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
            peft_model = get_peft_model(model, _config(model, job.lora), autocast_adapter_dtype=False)
    except ValueError as error:
        raise EngineError(
            f"the adapter cannot be put on '{job.base.name}' ({error})",
            where="lora.target_modules",
            action='Use "all-linear" or the names of linear layers of this model.',
        ) from error
    dtype = DTYPES[job.adapter_dtype]
    for parameter in peft_model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(dtype)
    layers = [module for module in peft_model.modules() if isinstance(module, LoraLayer)]
    if job.lora.init_weights == "pissa":
        start_pissa(layers, rank=job.lora.rank)
    elif job.lora.init_weights == "loftq":
        start_loftq(peft_model, job)
    if job.neftune_alpha:
        _add_noise(model, job.neftune_alpha)
    if job.use_gradient_checkpointing:
        with quiet():
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    if is_compiled:
        compile_blocks(model)
        fused_faults: tuple[str, ...] = ("linear layers and adapters are left to the compiler",)
    else:
        fused_faults = fuse(model)
    model.fast_path_faults = (*([documents_fault] if documents_fault else []), *fused_faults)
    return peft_model.train()


def _require_possible(model: HfModel, job: TrainingJob) -> None:
    """Refuse what PEFT 0.21 fails at in the middle of the first step: it loses int8 scales when DoRA asks for them."""
    device = model.get_input_embeddings().weight.device
    if job.lora.use_dora and job.base.quantization == "int8" and device.type == "cpu":
        raise EngineError(
            "DoRA cannot be trained on an int8 base on a CPU",
            where="lora.use_dora",
            action='Set model.quantization to "nf4" or "none", or lora.use_dora to false.',
        )


def _config(model: HfModel, lora: LoraSettings) -> LoraConfig:
    num_layers = model.config.num_hidden_layers
    adapted = list(range(num_layers - lora.num_layers, num_layers)) if 0 < lora.num_layers < num_layers else None
    names = list(lora.target_modules) if isinstance(lora.target_modules, tuple) else "all-linear"
    if names == "all-linear" and adapted is not None:
        present = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
        names = [name for name in _LINEAR_NAMES if name in present]  # PEFT filters layers only for named modules
    # PiSSA takes the base's largest directions out and trains them: W - s B0 A0 + s B A. Both pairs together are a
    # plain LoRA of twice the rank on the base as it is; the scale s must stay what the settings say.
    ranks = 2 if lora.init_weights == "pissa" else 1
    return LoraConfig(
        r=lora.rank * ranks,
        lora_alpha=lora.alpha * (ranks**0.5 if lora.use_rslora else ranks),
        lora_dropout=lora.dropout,
        target_modules=names,
        layers_to_transform=adapted,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        task_type="CAUSAL_LM",
    )


def _add_noise(model: HfModel, alpha: float) -> None:
    """Add uniform noise of at most alpha / sqrt(L x H) to the embeddings of L tokens while training (Jain 2023).

    L is the length of the example a token belongs to, without padding and in packed rows too: `loss` sets
    `noise_lengths` before each forward.
    """

    def add(_embedding: torch.nn.Module, _inputs: tuple[object, ...], output_BTH: torch.Tensor) -> torch.Tensor:
        if not model.training:
            return output_BTH
        lengths_BT = model.noise_lengths
        limit_BT1 = alpha / (lengths_BT.to(output_BTH.dtype) * output_BTH.shape[-1]).sqrt()[..., None]
        return output_BTH + torch.empty_like(output_BTH).uniform_(-1, 1) * limit_BT1

    model.get_input_embeddings().register_forward_hook(add)
    model.adds_noise = True
