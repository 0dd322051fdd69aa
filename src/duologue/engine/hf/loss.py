"""The loss: summed over trained tokens only, without logits for tokens that nobody looks at."""

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
        batch: As `batches.collate` returns it, labels already shifted.
    """
    labels_BT = batch["labels"]
    is_trained_BT = labels_BT != NOT_TRAINED
    inputs = {"input_ids": batch["input_ids"], "attention_mask": _mask_if_needed(batch["attention_mask"])}
    if model.config.model_type in _PLAIN_HEADS:
        hidden_BTH = model.base_model(**inputs, use_cache=False).last_hidden_state
        logits_NV = model.get_output_embeddings()(hidden_BTH[is_trained_BT])
    else:
        logits_NV = model(**inputs, use_cache=False).logits[is_trained_BT]
    return functional.cross_entropy(logits_NV.float(), labels_BT[is_trained_BT], reduction="sum")


def _mask_if_needed(mask_BT: torch.Tensor) -> torch.Tensor | None:
    # Without padding the mask says nothing, and attention without a mask takes the faster path.
    return None if bool(mask_BT.all()) else mask_BT
