"""The loss: summed over trained tokens only, without logits for tokens that nobody looks at."""

from collections.abc import Sequence

import torch
from torch.nn import functional

from duologue.engine.base import NOT_TRAINED
from duologue.engine.hf.load import HfModel

# B batch, T tokens, H hidden size, N trained tokens, V vocabulary
# Models whose logits are exactly head(last hidden state). Others go through their own forward.
_PLAIN_HEADS = {"llama", "mistral", "mixtral", "qwen2", "qwen3", "phi3", "smollm3", "olmo2"}


def summed_loss(model: HfModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return the summed cross entropy in nats over the trained tokens of a batch, in float32.

    Args:
        model: The causal language model (with or without adapter layers inside).
        batch: As `batches.collate` or `batches.collate_packed` returns it, labels already shifted.
    """
    labels_BT = batch["labels"]
    is_trained_BT = labels_BT != NOT_TRAINED
    inputs = _inputs(batch)
    if model.config.model_type in _PLAIN_HEADS:
        hidden_BTH = model.base_model(**inputs, use_cache=False).last_hidden_state
        logits_NV = model.get_output_embeddings()(hidden_BTH[is_trained_BT])
    else:
        logits_NV = model(**inputs, use_cache=False).logits[is_trained_BT]
    return functional.cross_entropy(logits_NV.float(), labels_BT[is_trained_BT], reduction="sum")


@torch.no_grad()
def packing_gap(model: HfModel, first: Sequence[int], second: Sequence[int]) -> float:
    """Return how much `second` notices of `first` in a packed row: 0 nothing, 1 as much as in one text.

    The gap between its logits packed and alone is divided by the gap between one running text and alone.
    """
    device = model.get_input_embeddings().weight.device
    alone_TV = model(input_ids=torch.tensor([second], device=device), use_cache=False).logits[0].float()
    ids_BT = torch.tensor([[*first, *second]], device=device)
    positions_BT = torch.tensor([[*range(len(first)), *range(len(second))]], device=device)
    packed_TV = model(input_ids=ids_BT, position_ids=positions_BT, use_cache=False).logits[0, len(first) :].float()
    joined_TV = model(input_ids=ids_BT, use_cache=False).logits[0, len(first) :].float()
    return float((packed_TV - alone_TV).abs().max() / (joined_TV - alone_TV).abs().max())


def _inputs(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor | None]:
    if "position_ids" in batch:  # packed: without a mask, so that the model makes one from the positions
        return {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
    mask_BT = batch["attention_mask"]
    # Without padding the mask says nothing, and attention without a mask takes the faster path.
    return {"input_ids": batch["input_ids"], "attention_mask": None if bool(mask_BT.all()) else mask_BT}
