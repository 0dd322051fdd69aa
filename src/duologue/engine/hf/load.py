"""Base models from packages, files, folders or the hub, in the weight format a run asks for."""

import contextlib
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import torch
import transformers
from bitsandbytes.nn.modules import Int8Params, Linear4bit, Linear8bitLt, Params4bit
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from duologue.engine.bundled import PREFIX, bundled_file
from duologue.engine.facts import ModelFacts
from duologue.engine.gguf.metadata import read_metadata
from duologue.engine.hf.gguf_weights import load_llama, read_llama_config
from duologue.engine.hf.tokenizer import HfTokenizer
from duologue.engine.hf.trust import require_plain_model, trusts_code
from duologue.engine.job import BaseModel
from duologue.errors import EngineError

HfModel = Any  # transformers and PEFT wrap models in ways that their type hints do not follow
Context = Any  # what torch hands an autograd function to keep things in
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def device() -> torch.device:
    """Return the first GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_tokenizer(base: BaseModel) -> HfTokenizer:
    """Return the tokenizer of a base model.

    Raises:
        EngineError: It is not there, or has no chat template.
    """
    file = _gguf_file(base.name)
    with quiet():
        try:
            if file is not None:
                tokenizer = PreTrainedTokenizerFast.from_pretrained(str(file.parent), gguf_file=file.name)
            else:
                _require_reachable(base.name)
                require_plain_model(base)
                tokenizer = AutoTokenizer.from_pretrained(base.name, trust_remote_code=trusts_code(base))
        except (OSError, ValueError) as error:
            raise _not_there(base.name, error) from error
    return HfTokenizer(tokenizer, name=base.name)


def read_facts(base: BaseModel) -> ModelFacts:
    """Return the shape of a base model without loading its weights.

    Raises:
        EngineError: It is not there, or does more than language.
    """
    config = read_config(base)
    if config.get_text_config() is not config:
        raise EngineError(
            f"the model '{base.name}' is of the type '{config.model_type}', which sees or hears besides reading",
            where="model.base",
            needed="a model of language alone",
            action="Take the text-only model of the same family (its config.json names no vision_config).",
        )
    num_heads = config.num_attention_heads
    file = _gguf_file(base.name)
    num_experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None) or 0
    inner = config.intermediate_size
    return ModelFacts(
        name=base.name,
        hidden_size=config.hidden_size,
        num_layers=config.num_hidden_layers,
        intermediate_size=(getattr(config, "moe_intermediate_size", None) or inner) if num_experts else inner,
        num_heads=num_heads,
        num_kv_heads=getattr(config, "num_key_value_heads", None) or num_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // num_heads,
        vocab_size=config.vocab_size,
        has_tied_embeddings=bool(config.tie_word_embeddings),
        context_tokens=config.max_position_embeddings,
        weights_bytes=file.stat().st_size if file else 0,
        num_experts=num_experts,
        num_experts_per_token=getattr(config, "num_experts_per_tok", 0) if num_experts else 0,
        has_softcap=bool(getattr(config, "attn_logit_softcapping", None)),
    )


def load_model(base: BaseModel, *, on: torch.device | None = None) -> HfModel:
    """Return the base model, frozen, in the requested weight format.

    Args:
        base: Which, and how its weights are held.
        on: Where it goes; the run's device when it is not given.

    Raises:
        EngineError: It is not there or does not fit into memory.
    """
    file = _gguf_file(base.name)
    try:
        with quiet():
            model = _load_gguf(file, base, on or device()) if file else _load_folder_or_hub(base, on or device())
    except (OSError, ValueError) as error:
        raise _not_there(base.name, error) from error
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise EngineError(
            f"memory ran out while loading '{base.name}' as {base.quantization}",
            action="Run duologue plan: it names a format that fits.",
        ) from error
    model.requires_grad_(False)
    model.config.use_cache = False
    for layer in model.modules():
        _keep_weights_as_loaded(layer)
    return model


def _gguf_file(name: str) -> Path | None:
    if name.startswith(PREFIX):
        return bundled_file(name)
    file = Path(name)
    if not name.endswith(".gguf") or not file.is_file():
        return None
    read_metadata(file)  # refuses a header that is made to exhaust the memory, which the libraries would follow
    return file


def _require_reachable(name: str) -> None:
    """Say at once that a hub model cannot be fetched; the hub's own retries take half a minute to say it.

    Raises:
        EngineError: The model is neither a folder nor in the local cache, and the hub's address is unknown; or it is a
            file that is not there.
    """
    is_proxied = any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    if name.endswith(".gguf") and not Path(name).exists():
        raise _not_there(name, FileNotFoundError("there is no such file"))
    if Path(name).exists() or is_proxied:
        return
    host = urlsplit(huggingface_hub.constants.ENDPOINT).hostname
    try:
        if isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str):
            return
        socket.getaddrinfo(host, 443)
    except (OSError, ValueError) as error:
        raise _not_there(name, error) from error


def read_config(base: BaseModel) -> PreTrainedConfig:
    """Return the settings of a base model.

    Raises:
        EngineError: It is not there.
    """
    name = base.name
    file = _gguf_file(name)
    try:
        if file is not None:
            return read_llama_config(file) or AutoConfig.from_pretrained(str(file.parent), gguf_file=file.name)
        _require_reachable(name)
        require_plain_model(base)
        return AutoConfig.from_pretrained(name, trust_remote_code=trusts_code(base))
    except (OSError, ValueError) as error:
        raise _not_there(name, error) from error


def _load_gguf(file: Path, base: BaseModel, on: torch.device) -> HfModel:
    config = read_llama_config(file)
    model: HfModel
    if config is not None:
        model = load_llama(file, config)
    else:
        model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    for parameter in model.parameters():  # not the buffers: rotary frequencies lose too much in 16 bit
        parameter.data = parameter.data.to(DTYPES[base.compute_dtype])
    if base.quantization != "none":
        _quantise(model, base)
    return model.to(on)


def _load_folder_or_hub(base: BaseModel, on: torch.device) -> HfModel:
    _require_reachable(base.name)
    require_plain_model(base)
    settings: dict[str, Any] = {
        "dtype": DTYPES[base.compute_dtype],
        "trust_remote_code": trusts_code(base),
        "use_safetensors": True,
    }
    if base.quantization == "nf4":
        settings["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=base.use_double_quantization,
            bnb_4bit_compute_dtype=DTYPES[base.compute_dtype],
        )
    elif base.quantization == "int8":
        settings["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=base.int8_threshold)
    return AutoModelForCausalLM.from_pretrained(base.name, device_map={"": on}, **settings)


def _quantise(model: HfModel, base: BaseModel) -> None:
    """Replace the linear layers of the blocks in place, as transformers does when it loads from safetensors.

    The output projection and the embedding stay unquantised.
    """
    for parent in list(model.base_model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                setattr(parent, name, quantised(layer, base))
    # PEFT chooses its layer classes by these two flags.
    model.is_loaded_in_4bit = base.quantization == "nf4"
    model.is_loaded_in_8bit = base.quantization == "int8"


def quantised(layer: nn.Linear, base: BaseModel) -> nn.Module:
    """Return the layer in the base's weight format on the run's device."""
    has_bias = layer.bias is not None
    new: nn.Module
    if base.quantization == "nf4":
        new = Linear4bit(
            layer.in_features,
            layer.out_features,
            bias=has_bias,
            compute_dtype=DTYPES[base.compute_dtype],
            compress_statistics=base.use_double_quantization,
            quant_type="nf4",
        )
        new.weight = Params4bit(
            layer.weight.data,
            requires_grad=False,
            compress_statistics=base.use_double_quantization,
            quant_type="nf4",
            module=new,
        )
    else:
        new = Linear8bitLt(
            layer.in_features,
            layer.out_features,
            bias=has_bias,
            has_fp16_weights=False,
            threshold=base.int8_threshold,
        )
        new.weight = Int8Params(layer.weight.data, requires_grad=False, has_fp16_weights=False)
    if has_bias:
        new.bias = layer.bias
    _keep_weights_as_loaded(new)
    return new.to(device())


def _keep_weights_as_loaded(layer: nn.Module) -> None:
    """Forbid bitsandbytes to repack a layer's NF4 weights when it is first evaluated on a CPU with AVX-512 BF16.

    The repacked layout rounds the scales to bfloat16, has no gradient, and is not what `dequantize_4bit` reads: a run
    that evaluates itself would go on training on other weights.
    """
    if isinstance(layer, Linear4bit):
        layer.support_avx512bf16_for_cpu = False


def _not_there(name: str, error: Exception) -> EngineError:
    first_line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return EngineError(
        f"the base model '{name}' cannot be loaded ({first_line})",
        where="model.base",
        needed="a bundled name, a local folder, a .gguf file, or a Hugging Face id and a network",
        action="Check the name and the network, or take bundled:smollm2-135m, which needs neither.",
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' own progress bars and their notes to each other about future versions off the screen."""
    was_on = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if was_on:
            transformers.utils.logging.enable_progress_bar()
