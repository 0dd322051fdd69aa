"""A batch as one row without padding, in which examples that begin alike share their beginning."""

from dataclasses import dataclass

import torch
from torch import nn

from duologue.engine.hf.attention import Document, Documents, no_mask
from duologue.engine.hf.load import HfModel
from duologue.engine.job import NOT_TRAINED

_LEAST_SHARED = 8  # tokens; a shorter beginning is not worth the mask
# B batch, T tokens


@dataclass(frozen=True, slots=True)
class Row:
    """The examples of a batch behind each other.

    Attributes:
        ids: Token ids, of shape (1, T) like the next two.
        positions: Position of each token in its example.
        labels: Shifted labels.
        documents: Where the examples are.
        places: Which example of the batch each document is.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    documents: Documents
    places: tuple[int, ...]

    @property
    def owners(self) -> torch.Tensor:
        """Place in the batch of the example that each token belongs to, of shape (1, T)."""
        sizes = torch.tensor([document.end - document.begin for document in self.documents], device=self.ids.device)
        return torch.tensor(self.places, device=self.ids.device).repeat_interleave(sizes)[None]

    @property
    def lengths(self) -> torch.Tensor:
        """Length of the example that each token belongs to, of shape (1, T)."""
        sizes = [document.end - document.begin for document in self.documents]
        totals = [size + document.num_shared for size, document in zip(sizes, self.documents, strict=True)]
        device = self.ids.device
        return torch.tensor(totals, device=device).repeat_interleave(torch.tensor(sizes, device=device))[None]

    def inputs(self, like: torch.Tensor) -> dict[str, torch.Tensor | Documents]:
        """Return what the model is called with; `like` is a tensor of its type and device."""
        return {
            "input_ids": self.ids,
            "position_ids": self.positions,
            "attention_mask": no_mask(like),
            "documents": self.documents,
        }


def as_row(batch: dict[str, torch.Tensor], *, shares_beginnings: bool) -> Row:
    """Return a padded or packed batch as one row.

    Args:
        batch: As `batches.collate` or `batches.collate_packed` returns it.
        shares_beginnings: Whether equal beginnings stand in the row once. It changes nothing but rounding, unless
            something random is added to each token.
    """
    examples = _examples(batch)
    groups = _groups([ids for ids, _ in examples]) if shares_beginnings else [[at] for at in range(len(examples))]
    pieces: list[tuple[torch.Tensor, torch.Tensor, int]] = []  # ids, labels, position of the first
    documents: list[Document] = []
    at = 0
    for group in groups:
        num_shared = _num_shared([examples[place] for place in group])
        shared_begin = at
        for number, place in enumerate(group):
            ids, labels = examples[place]
            skipped = num_shared if number else 0
            length = len(ids) - skipped
            seen = (shared_begin, shared_begin + skipped) if skipped else (0, 0)
            documents.append(Document(at, at + length, *seen))
            pieces.append((ids[skipped:], labels[skipped:], skipped))
            at += length
    positions = [torch.arange(start, start + len(ids), device=ids.device) for ids, _, start in pieces]
    return Row(
        torch.cat([ids for ids, _, _ in pieces])[None],
        torch.cat(positions)[None],
        torch.cat([labels for _, labels, _ in pieces])[None],
        tuple(documents),
        tuple(place for group in groups for place in group),
    )


def adds_noise(model: HfModel) -> bool:
    """Tell whether the model in its present mode adds something random to each token."""
    if not model.training:
        return False
    if getattr(model, "adds_noise", False) or getattr(model.config, "attention_dropout", 0.0):
        return True
    return any(isinstance(module, nn.Dropout) and module.p > 0 for module in model.modules())


def _examples(batch: dict[str, torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    ids_BT, labels_BT = batch["input_ids"], batch["labels"]
    if "position_ids" in batch:
        starts = (batch["position_ids"][0] == 0).nonzero().flatten().tolist()
        ends = [*starts[1:], ids_BT.shape[1]]
        return [(ids_BT[0, begin:end], labels_BT[0, begin:end]) for begin, end in zip(starts, ends, strict=True)]
    lengths = batch["attention_mask"].sum(dim=1).tolist()
    return [(ids_BT[row, :length], labels_BT[row, :length]) for row, length in enumerate(lengths)]


def _groups(ids: list[torch.Tensor]) -> list[list[int]]:
    """Return the places of examples whose first tokens are equal, in the order of their first."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, tokens in enumerate(ids):
        beginning = tuple(tokens[:_LEAST_SHARED].tolist())
        key = beginning if len(tokens) > _LEAST_SHARED else (-1, place)
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _num_shared(examples: list[tuple[torch.Tensor, torch.Tensor]]) -> int:
    """Return how many first tokens all examples have in common, up to where one of them predicts a target.

    Every example keeps a token of its own.
    """
    if len(examples) == 1:
        return 0
    shortest = min(len(ids) for ids, _ in examples) - 1
    ids = torch.stack([ids[:shortest] for ids, _ in examples])
    labels = torch.stack([labels[:shortest] for _, labels in examples])
    can_share = (ids == ids[0]).all(dim=0) & (labels == NOT_TRAINED).all(dim=0)
    num_shared = int(can_share.long().cumprod(0).sum())
    return num_shared if num_shared >= _LEAST_SHARED else 0
