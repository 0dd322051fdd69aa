"""Attention over examples that stand in one row, each seeing only itself: exact, without padding, on any device.

A row holds examples one behind the other. Linear layers see the row as it is; attention goes example by example, with
the causal kernel of torch and no mask of row by row. Examples that begin alike, as all do that share a character card,
can share that beginning: it stands in the row once, and the later ones look back at its keys and values. What a token
sees is the same either way, so loss and gradients are, up to rounding.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

from duologue.engine.hf.load import Context, HfModel, quiet

NAME = "duologue_documents"
_FLASH = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
# H heads, K key/value heads, T tokens of the row, Q and M those of one example, D head size


@dataclass(frozen=True, slots=True)
class Document:
    """One example in a row: its own tokens `begin:end`, and those of the shared beginning before them, or none."""

    begin: int
    end: int
    shared_begin: int = 0
    shared_end: int = 0

    @property
    def num_shared(self) -> int:
        """Tokens of the shared beginning."""
        return self.shared_end - self.shared_begin


Documents = tuple[Document, ...]


def use_documents(model: HfModel) -> str:
    """Let a model with SDPA attention take rows of documents; return why not, or an empty text when it does."""
    name = model.config._attn_implementation
    if name == NAME:
        return ""
    if name != "sdpa":
        return f"the model's attention is '{name}', not SDPA"
    AttentionInterface.register(NAME, attend_documents)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    with quiet():
        model.set_attn_implementation(NAME)
    reason = _fault(model)
    if reason:
        with quiet():
            model.set_attn_implementation("sdpa")
    return reason


def takes_documents(model: HfModel) -> bool:
    """Tell whether the model takes rows of documents."""
    return bool(model.config._attn_implementation == NAME)


def attend_documents(
    module: torch.nn.Module,
    query_BHTD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    documents: Documents | None = None,
    **settings: Any,  # noqa: ANN401  as transformers passes them
) -> tuple[torch.Tensor, None]:
    """Return the attention output of shape (1, T, H, D); without documents, what SDPA gives.

    The signature is that of transformers' attention functions.
    """
    if documents is None:
        if sliding_window is not None:
            settings["sliding_window"] = sliding_window
        output: torch.Tensor = sdpa_attention_forward(
            module, query_BHTD, key_BKTD, value_BKTD, attention_mask, dropout=dropout, scaling=scaling, **settings
        )[0]
        return output, None
    unknown = [name for name in ("softcap", "s_aux", "position_bias", "cache") if settings.get(name) is not None]
    assert not unknown, f"attention with {unknown} is not for rows of documents"
    scale = query_BHTD.shape[-1] ** -0.5 if scaling is None else scaling
    longest = max(document.end - document.begin + document.num_shared for document in documents)
    is_windowed = sliding_window is not None and longest > sliding_window
    if query_BHTD.device.type == "cpu" and not is_windowed and not dropout and key_BKTD.shape == value_BKTD.shape:
        return _OnCpu.apply(query_BHTD, key_BKTD, value_BKTD, documents, scale), None
    parts = [
        _attend_one(query_BHTD, key_BKTD, value_BKTD, document, scale=scale, dropout=dropout, window=sliding_window)
        for document in documents
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def _attend_one(
    query_BHTD: torch.Tensor,
    key_BKTD: torch.Tensor,
    value_BKTD: torch.Tensor,
    document: Document,
    *,
    scale: float,
    dropout: float,
    window: int | None,
) -> torch.Tensor:
    num_own, num_shared = document.end - document.begin, document.num_shared
    key_BKMD, value_BKMD = (_seen(tensor, document) for tensor in (key_BKTD, value_BKTD))
    mask_QM = None
    is_windowed = window is not None and num_own + num_shared > window
    if num_shared or is_windowed:
        at_Q1 = torch.arange(num_own, device=query_BHTD.device)[:, None] + num_shared
        at_1M = torch.arange(num_own + num_shared, device=query_BHTD.device)[None, :]
        mask_QM = at_1M <= at_Q1
        if window is not None and is_windowed:
            mask_QM &= at_1M > at_Q1 - window
    return functional.scaled_dot_product_attention(
        query_BHTD[:, :, document.begin : document.end],
        key_BKMD,
        value_BKMD,
        attn_mask=mask_QM,
        dropout_p=dropout,
        scale=scale,
        is_causal=mask_QM is None,
        enable_gqa=key_BKTD.shape[1] != query_BHTD.shape[1],
    )


def _seen(tensor_BKTD: torch.Tensor, document: Document) -> torch.Tensor:
    own = tensor_BKTD[:, :, document.begin : document.end]
    if not document.num_shared:
        return own
    return torch.cat([tensor_BKTD[:, :, document.shared_begin : document.shared_end], own], dim=2)


class _OnCpu(torch.autograd.Function):
    """Torch's flash attention for CPUs, example by example, into and out of whole rows.

    Slices of a row under plain autograd would each fill a gradient of the whole row with zeros.
    """

    @staticmethod
    def forward(  # noqa: PLR0917  torch passes positions
        ctx: Context,
        query_BHTD: torch.Tensor,
        key_BKTD: torch.Tensor,
        value_BKTD: torch.Tensor,
        documents: Documents,
        scale: float,
    ) -> torch.Tensor:
        output_BTHD = torch.empty_like(query_BHTD.transpose(1, 2), memory_format=torch.contiguous_format)
        log_sums = []
        for document in documents:
            own = slice(document.begin, document.end)
            output_BHQD, log_sum = _FLASH(
                query_BHTD[:, :, own],
                _seen(key_BKTD, document),
                _seen(value_BKTD, document),
                0.0,
                not document.num_shared,
                attn_mask=_later_is_hidden(document, query_BHTD),
                scale=scale,
            )
            output_BTHD[:, own] = output_BHQD.transpose(1, 2)
            log_sums.append(log_sum)
        ctx.save_for_backward(query_BHTD, key_BKTD, value_BKTD, output_BTHD, *log_sums)
        ctx.documents, ctx.scale = documents, scale
        return output_BTHD

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query_BHTD, key_BKTD, value_BKTD, output_BTHD, *log_sums = ctx.saved_tensors
        d_query, d_key, d_value = (_zeros_by_token(tensor) for tensor in (query_BHTD, key_BKTD, value_BKTD))
        for document, log_sum in zip(ctx.documents, log_sums, strict=True):
            own = slice(document.begin, document.end)
            d_query_BHQD, *d_seen = _FLASH_BACKWARD(
                gradients[0][:, own].transpose(1, 2),
                query_BHTD[:, :, own],
                _seen(key_BKTD, document),
                _seen(value_BKTD, document),
                output_BTHD[:, own].transpose(1, 2),
                log_sum,
                0.0,
                not document.num_shared,
                attn_mask=_later_is_hidden(document, query_BHTD),
                scale=ctx.scale,
            )
            d_query[:, :, own] = d_query_BHQD
            for into, part_BKMD in zip((d_key, d_value), d_seen, strict=True):
                into[:, :, own] += part_BKMD[:, :, document.num_shared :]
                if document.num_shared:
                    shared = slice(document.shared_begin, document.shared_end)
                    into[:, :, shared] += part_BKMD[:, :, : document.num_shared]
        return d_query, d_key, d_value, None, None


def _later_is_hidden(document: Document, like: torch.Tensor) -> torch.Tensor | None:
    """Return the additive causal mask of an example with a shared beginning; None where the kernel's own will do."""
    if not document.num_shared:
        return None
    num_own = document.end - document.begin
    mask_QM = like.new_full((num_own, num_own + document.num_shared), float("-inf"))
    return mask_QM.triu_(document.num_shared + 1)[None, None]


def _zeros_by_token(tensor_BHTD: torch.Tensor) -> torch.Tensor:
    """Return zeros of the shape (1, H, T, D) that lie in memory as (1, T, H, D), as the layers before want them."""
    return torch.zeros_like(tensor_BHTD.transpose(1, 2), memory_format=torch.contiguous_format).transpose(1, 2)


@torch.no_grad()
def _fault(model: HfModel) -> str:
    """Return what is wrong with the model's rows of documents, measured on a few tokens; empty when nothing is."""
    weight = model.get_input_embeddings().weight
    size = weight.shape[0]
    first, second = ([(start + 37 * at) % size for at in range(9)] for start in (3, 11))
    ids_BT = torch.tensor([[*first, *second]], device=weight.device)
    positions_BT = torch.tensor([[*range(9), *range(9)]], device=weight.device)
    was_training = model.training
    model.eval()
    try:
        expected = model.base_model(input_ids=ids_BT[:, 9:], use_cache=False).last_hidden_state[0]
        found = model.base_model(
            input_ids=ids_BT,
            position_ids=positions_BT,
            attention_mask=no_mask(weight),
            documents=(Document(0, 9), Document(9, 18)),
            use_cache=False,
        ).last_hidden_state[0, 9:]
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        return f"the model does not take rows of documents ({type(error).__name__})"
    finally:
        model.train(was_training)
    scale = float(expected.float().abs().max())
    gap = float((found.float() - expected.float()).abs().max())
    allowed = _allowed_gap(model, weight.dtype)
    return "" if gap <= allowed * max(scale, 1e-6) else f"its examples would notice each other (gap {gap / scale:.2g})"


def _allowed_gap(model: HfModel, dtype: torch.dtype) -> float:
    """Return which difference is rounding; LLM.int8 chooses its outliers by all tokens of a batch, so it has more."""
    if getattr(model, "is_loaded_in_8bit", False):
        return 0.1
    is_exact = dtype is torch.float32 and not getattr(model, "is_loaded_in_4bit", False)
    return 1e-3 if is_exact else 5e-2


def no_mask(like: torch.Tensor) -> torch.Tensor:
    """Return what keeps transformers from building a mask; `attend_documents` does not look at it."""
    return like.new_zeros((1, 1, 1, 1))
