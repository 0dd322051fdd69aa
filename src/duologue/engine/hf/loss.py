"""The loss: summed over trained tokens only, without logits for tokens that nobody looks at.

The logits of a chunk of trained tokens live at a time. Where nothing in the output projection is trained, their
gradient is taken in the forward pass, so that nothing is computed twice; else the chunk is computed again in the
backward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from duologue.engine.hf.attention import takes_documents
from duologue.engine.hf.load import Context, HfModel
from duologue.engine.hf.rows import adds_noise, as_row
from duologue.engine.job import NOT_TRAINED

# B batch, T tokens, H hidden size, N trained tokens, C those of a chunk, V vocabulary
_CHUNK_BYTES = {"cpu": 2**25, "cuda": 2**28}  # float32 logits of a chunk: a processor's cache, a small part of a card


@dataclass(frozen=True, slots=True)
class Head:
    """What stands between the last hidden state and the logits.

    Attributes:
        scale: The projection is multiplied by this.
        softcap: Then it goes through `softcap * tanh(x / softcap)`; 0 is none.
        fault: Why the model cannot be taken apart here; empty when it can.
    """

    scale: float = 1.0
    softcap: float = 0.0
    fault: str = ""


def summed_loss(model: HfModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the summed cross entropy in nats over the trained tokens of a batch, in float32.

    Args:
        model: The causal language model (with or without adapter layers inside).
        batch: As `batches.collate` or `batches.collate_packed` returns it, labels already shifted.
    """
    head = find_head(model)
    labels_BT = batch["labels"]
    if takes_documents(model):
        row = as_row(batch, shares_beginnings=not adds_noise(model))
        labels_BT = row.labels
        inputs: dict[str, Any] = row.inputs(model.get_input_embeddings().weight)
    else:
        inputs = _inputs(batch)
    if getattr(model, "adds_noise", False):
        model.noise_lengths = row.lengths if takes_documents(model) else _lengths(batch)
    is_trained_BT = labels_BT != NOT_TRAINED
    if head.fault:
        logits_NV = model(**inputs, use_cache=False).logits[is_trained_BT]
        return functional.cross_entropy(logits_NV.float(), labels_BT[is_trained_BT], reduction="sum")
    hidden_BTH = model.base_model(**inputs, use_cache=False).last_hidden_state
    return head_loss(model.get_output_embeddings(), hidden_BTH[is_trained_BT], labels_BT[is_trained_BT], head=head)


@torch.inference_mode()
def example_losses(model: HfModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the cross entropy in nats of each example of a batch, summed over its trained tokens, of shape (B,).

    Args:
        model: The causal language model in evaluation mode.
        batch: As `batches.collate` returns it.
    """
    head = find_head(model)
    labels_BT = batch["labels"]
    num_examples = len(labels_BT)
    if takes_documents(model):
        row = as_row(batch, shares_beginnings=True)
        labels_BT, owners_BT = row.labels, row.owners
        inputs: dict[str, Any] = row.inputs(model.get_input_embeddings().weight)
    else:
        owners_BT = torch.arange(num_examples, device=labels_BT.device)[:, None].expand_as(labels_BT)
        inputs = _inputs(batch)
    is_trained_BT = labels_BT != NOT_TRAINED
    labels_N = labels_BT[is_trained_BT]
    if head.fault:
        logits_NV = model(**inputs, use_cache=False).logits[is_trained_BT]
        losses_N = functional.cross_entropy(logits_NV.float(), labels_N, reduction="none")
    else:
        hidden_BTH = model.base_model(**inputs, use_cache=False).last_hidden_state
        losses_N = _head_losses(model.get_output_embeddings(), hidden_BTH[is_trained_BT], labels_N, head)
    total_B = torch.zeros(num_examples, dtype=torch.float64, device=losses_N.device)
    return total_B.index_add_(0, owners_BT[is_trained_BT], losses_N.double())


def head_loss(
    projection: nn.Module, hidden_NH: torch.Tensor, labels_N: torch.Tensor, *, head: Head, chunk: int = 0
) -> torch.Tensor:
    """Return the summed cross entropy of the logits of `hidden_NH`, a chunk of tokens at a time.

    Args:
        projection: The output projection, plain, quantised or with an adapter on it.
        hidden_NH: Last hidden states of the trained tokens.
        labels_N: Their targets.
        head: What happens to the projection's output.
        chunk: Tokens of a chunk; 0 takes as many as the device's share of memory allows.
    """
    size = chunk or _chunk_size(projection, hidden_NH)
    is_frozen = not any(parameter.requires_grad for parameter in projection.parameters())
    if type(projection) is nn.Linear and is_frozen:
        hidden_NH = hidden_NH.to(projection.weight.dtype)
        loss: torch.Tensor = _FrozenHead.apply(hidden_NH, projection.weight, projection.bias, labels_N, head, size)
        return loss
    total = hidden_NH.new_zeros((), dtype=torch.float32)
    for hidden_CH, labels_C in zip(hidden_NH.split(size), labels_N.split(size), strict=True):
        if torch.is_grad_enabled():
            total = total + checkpoint(_chunk_loss, projection, hidden_CH, labels_C, head, use_reentrant=False)
        else:
            total = total + _chunk_loss(projection, hidden_CH, labels_C, head)
    return total


def find_head(model: HfModel) -> Head:
    """Return how the model makes logits of its last hidden state, tried on a few tokens; found once per model."""
    found: Head | None = getattr(model, "found_head", None)
    if found is None:
        found = _tried_head(model)
        model.found_head = found
    return found


@torch.no_grad()
def packing_gap(model: HfModel, first: Sequence[int], second: Sequence[int]) -> float:
    """Return how much `second` notices of `first` in a packed row: 0 nothing, 1 as much as in one text.

    The gap between its logits packed and alone is divided by the gap between one running text and alone.
    """
    weight = model.get_input_embeddings().weight
    alone_TV = model(input_ids=torch.tensor([second], device=weight.device), use_cache=False).logits[0].float()
    ids_BT = torch.tensor([[*first, *second]], device=weight.device)
    positions_BT = torch.tensor([[*range(len(first)), *range(len(second))]], device=weight.device)
    inputs: dict[str, Any] = {"input_ids": ids_BT, "position_ids": positions_BT}
    if takes_documents(model):
        inputs = as_row({**inputs, "labels": ids_BT}, shares_beginnings=False).inputs(weight)
    packed_TV = model(**inputs, use_cache=False).logits[0, len(first) :].float()
    joined_TV = model(input_ids=ids_BT, use_cache=False).logits[0, len(first) :].float()
    return float((packed_TV - alone_TV).abs().max() / (joined_TV - alone_TV).abs().max())


class _FrozenHead(torch.autograd.Function):
    """Loss and gradient in one pass over the chunks, as in Liger Kernel's fused linear cross entropy (Hsu 2024)."""

    @staticmethod
    def forward(  # noqa: PLR0917  torch passes positions
        ctx: Context,
        hidden_NH: torch.Tensor,
        weight_VH: torch.Tensor,
        bias_V: torch.Tensor | None,
        labels_N: torch.Tensor,
        head: Head,
        size: int,
    ) -> torch.Tensor:
        total = hidden_NH.new_zeros((), dtype=torch.float32)
        gradient_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        for begin in range(0, len(hidden_NH), size):
            here = slice(begin, begin + size)
            labels_C1 = labels_N[here, None]
            logits_CV = functional.linear(hidden_NH[here], weight_VH, bias_V).float()
            if head.scale != 1.0:
                logits_CV.mul_(head.scale)
            slope_CV = None
            if head.softcap:
                logits_CV.div_(head.softcap).tanh_()
                slope_CV = logits_CV.square().neg_().add_(1.0)
                logits_CV.mul_(head.softcap)
            target_C1 = logits_CV.gather(1, labels_C1)
            largest_C1 = logits_CV.amax(dim=1, keepdim=True)
            share_CV = logits_CV.sub_(largest_C1).exp_()
            sum_C1 = share_CV.sum(dim=1, keepdim=True)
            total += (sum_C1.log() + largest_C1 - target_C1).sum()
            if gradient_NH is None:
                continue
            part_CH = gradient_NH[here]
            if slope_CV is None and head.scale == 1.0 and part_CH.dtype is torch.float32:
                # Dividing after the product is V / H times less work; in 16 bit it would be rounded once more.
                torch.mm(share_CV, weight_VH, out=part_CH)
                part_CH.div_(sum_C1).sub_(weight_VH[labels_C1[:, 0]])
                continue
            gradient_CV = share_CV.div_(sum_C1)
            gradient_CV.scatter_add_(1, labels_C1, gradient_CV.new_full((1, 1), -1.0).expand_as(labels_C1))
            gradient_CV.mul_(head.scale if slope_CV is None else slope_CV.mul_(head.scale))
            torch.mm(gradient_CV.to(weight_VH.dtype), weight_VH, out=part_CH)
        ctx.gradient_NH = gradient_NH
        return total

    @staticmethod
    def backward(ctx: Context, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return ctx.gradient_NH * gradients[0], None, None, None, None, None


def _chunk_loss(projection: nn.Module, hidden_CH: torch.Tensor, labels_C: torch.Tensor, head: Head) -> torch.Tensor:
    return functional.cross_entropy(_shaped(projection(hidden_CH).float(), head), labels_C, reduction="sum")


def _head_losses(projection: nn.Module, hidden_NH: torch.Tensor, labels_N: torch.Tensor, head: Head) -> torch.Tensor:
    """Return the cross entropy of each token, of shape (N,), with the logits of a chunk at a time."""
    size = _chunk_size(projection, hidden_NH)
    if type(projection) is nn.Linear:
        hidden_NH = hidden_NH.to(projection.weight.dtype)
    chunks = [
        functional.cross_entropy(_shaped(projection(hidden_CH).float(), head), labels_C, reduction="none")
        for hidden_CH, labels_C in zip(hidden_NH.split(size), labels_N.split(size), strict=True)
    ]
    return torch.cat(chunks)


def _chunk_size(projection: nn.Module, hidden_NH: torch.Tensor) -> int:
    return max(16, _CHUNK_BYTES.get(hidden_NH.device.type, 2**28) // (4 * _num_words(projection)))


def _shaped(logits: torch.Tensor, head: Head) -> torch.Tensor:
    logits = logits * head.scale if head.scale != 1.0 else logits
    return head.softcap * torch.tanh(logits / head.softcap) if head.softcap else logits


def _num_words(projection: nn.Module) -> int:
    return int(getattr(projection, "out_features", 2**17))


@torch.no_grad()
def _tried_head(model: HfModel) -> Head:
    config = model.config.get_text_config()
    scale = float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)
    head = Head(scale, float(getattr(config, "final_logit_softcapping", None) or 0.0))
    projection = model.get_output_embeddings()
    if projection is None or model.base_model is model:
        return Head(fault="the model has no output projection of its own")
    ids_BT = torch.arange(3, 9, device=model.get_input_embeddings().weight.device)[None] % config.vocab_size
    was_training = model.training
    model.eval()
    try:
        expected = model(input_ids=ids_BT, use_cache=False).logits.float()
        hidden_BTH = model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
        found = _shaped(projection(hidden_BTH).float(), head)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        return Head(fault=f"the model's logits cannot be taken apart ({type(error).__name__})")
    finally:
        model.train(was_training)
    allowed = 1e-4 if expected.dtype is torch.float32 and hidden_BTH.dtype is torch.float32 else 2e-2
    if expected.shape != found.shape or float((expected - found).abs().max()) > allowed * float(expected.abs().max()):
        return Head(fault="the model's logits are not its projection of the last hidden state")
    return head


def _lengths(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the length of the example that each token belongs to, of the shape of the batch."""
    if "position_ids" not in batch:
        return batch["attention_mask"].sum(dim=1, keepdim=True).expand_as(batch["input_ids"])
    number_T = (batch["position_ids"][0] == 0).cumsum(0) - 1
    return number_T.bincount()[number_T][None]


def _inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None]:
    if "position_ids" in batch:  # packed: without a mask, so that the model makes one from the positions
        return {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
    mask_BT = batch["attention_mask"]
    # Without padding the mask says nothing, and attention without a mask takes the faster path.
    return {"input_ids": batch["input_ids"], "attention_mask": None if bool(mask_BT.all()) else mask_BT}
