"""An exported model beside the adapter on the base it was trained on: the same conversations through both."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from psutil import virtual_memory
from transformers import AutoModelForCausalLM

from duologue.engine.base import Tokenizer
from duologue.engine.hf.load import HfModel, device, load_model, load_tokenizer, quiet
from duologue.engine.hf.merge import attach
from duologue.engine.hf.recover import free_memory
from duologue.engine.job import NOT_TRAINED, Adapter, BaseModel, Example
from duologue.engine.merging import Parity
from duologue.errors import EngineError
from duologue.messages import Message

_MAX_POSITIONS = 512  # their probabilities are kept: 300 MB with the largest vocabularies
_OFFLOADED = ".offloaded"  # in the model's folder, while it is read block by block
_MAX_TOKENS = 2048  # of a conversation; what follows is left out
_FRACTION_OF_FREE = 0.7
_MISSED_FRACTION = 0.1  # of the ends, which rounding may move where another token was nearly as likely
# P positions, V vocabulary, T tokens, B batch


@dataclass(frozen=True, slots=True)
class Compared:
    """A conversation, cut to what is compared of it.

    Attributes:
        input_ids: Its token ids.
        places: The positions that foretell the tokens of its replies.
    """

    input_ids: tuple[int, ...]
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """What the adapter on its own base says.

    Attributes:
        rows: The conversations.
        logits: Of each conversation, positions x vocabulary, float32.
        tokenizer: The base's.
    """

    rows: tuple[Compared, ...]
    logits: tuple[torch.Tensor, ...]
    tokenizer: Tokenizer


def compare(
    adapter: Adapter, folders: Sequence[Path], examples: Sequence[Example], prompts: Sequence[Sequence[Message]]
) -> tuple[Parity, ...]:
    """Return how near each exported folder is to the adapter on its own base.

    Args:
        adapter: The reference, on the base as it was quantised for training.
        folders: Exported models.
        examples: Conversations, best those that were never trained on; their replies are compared token by token.
        prompts: Messages whose rendered ids are compared.

    Raises:
        EngineError: A model cannot be loaded, or there is nothing to compare.
    """
    expected = reference(adapter, examples)
    return tuple(_compared(folder, expected, prompts) for folder in folders)


def reference(adapter: Adapter, examples: Sequence[Example], *, max_positions: int = _MAX_POSITIONS) -> Reference:
    """Return what the adapter on its own base says of the first conversations, as many as `max_positions` allow.

    Raises:
        EngineError: The model cannot be loaded, or there is nothing to compare.
    """
    rows = _chosen(examples, max_positions)
    if not rows:
        raise EngineError(
            "there is no reply to compare the export on", action="Hold some out: data.validation_fraction"
        )
    logits = tuple(_logits(attach(load_model(adapter.base), adapter), rows))
    free_memory()
    return Reference(rows, logits, load_tokenizer(adapter.base))


def _compared(folder: Path, reference: Reference, prompts: Sequence[Sequence[Message]]) -> Parity:
    tokenizer = load_tokenizer(BaseModel(str(folder)))
    is_equal = tokenizer.stop_token_ids == reference.tokenizer.stop_token_ids and all(
        tokenizer.render(messages, add_generation_prompt=True)
        == reference.tokenizer.render(messages, add_generation_prompt=True)
        for messages in prompts
    )
    model = open_merged(folder)
    ends = torch.tensor(sorted(tokenizer.stop_token_ids))
    kl, largest = 0.0, 0.0
    num_same = num_positions = num_ends = num_missed = 0
    for expected_PV, found_PV in zip(reference.logits, _logits(model, reference.rows), strict=True):
        expected, found = expected_PV.log_softmax(-1), found_PV.log_softmax(-1)
        kl += float((expected.exp() * (expected - found)).sum())
        wanted, got = expected.argmax(-1), found.argmax(-1)
        num_same += int((wanted == got).sum())
        num_positions += len(wanted)
        largest = max(largest, float((expected_PV - found_PV).abs().max()))
        is_end = torch.isin(wanted, ends)
        num_ends += int(is_end.sum())
        num_missed += int((is_end & ~torch.isin(got, ends)).sum())
    del model
    free_memory()
    shutil.rmtree(folder / _OFFLOADED, ignore_errors=True)
    return Parity(
        mean_kl_nats=max(0.0, kl / num_positions),
        greedy_agreement=num_same / num_positions,
        num_prompts=len(reference.rows),
        num_positions=num_positions,
        ids_equal=is_equal,
        stops=num_missed <= _MISSED_FRACTION * num_ends,
        max_logit_difference=largest,
    )


def open_merged(folder: Path, *, free_bytes: int = 0) -> HfModel:
    """Return a merged model for reading: in memory where it fits, else block by block from its files.

    Args:
        folder: The model.
        free_bytes: Memory that may be used; what is free now when 0.
    """
    needed = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    free = free_bytes or (torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else virtual_memory().available)
    settings = {"dtype": "auto", "use_safetensors": True}
    with quiet():
        if needed < _FRACTION_OF_FREE * free:
            model: HfModel = AutoModelForCausalLM.from_pretrained(str(folder), **settings)
            return model.to(device()).eval()
        place = 0 if torch.cuda.is_available() else "cpu"
        model = AutoModelForCausalLM.from_pretrained(
            str(folder),
            device_map="auto",
            max_memory={place: int(_FRACTION_OF_FREE * free)},
            offload_folder=str(folder / _OFFLOADED),
            **settings,
        )
    return model.eval()


def _chosen(examples: Sequence[Example], max_positions: int) -> tuple[Compared, ...]:
    """Return the first examples that have replies, up to the positions that can be kept."""
    chosen: list[Compared] = []
    num_positions = 0
    for example in examples:
        labels = example.labels[1:_MAX_TOKENS]
        places = tuple(at for at, label in enumerate(labels) if label != NOT_TRAINED)
        if not chosen:  # a single reply that is longer than all that can be kept is cut
            places = places[:max_positions]
        if places and num_positions + len(places) <= max_positions:
            chosen.append(Compared(example.input_ids[:_MAX_TOKENS], places))
            num_positions += len(places)
    return tuple(chosen)


@torch.no_grad()
def _logits(model: HfModel, rows: Sequence[Compared]) -> Iterator[torch.Tensor]:
    """Yield, for each conversation, the logits that foretell the tokens of its replies."""
    for row in rows:
        ids_BT = torch.tensor([row.input_ids], device=device())
        kept = torch.tensor(row.places, device=device())  # the others need not be made: T x V can be GiB
        yield model(input_ids=ids_BT, use_cache=False, logits_to_keep=kept).logits[0].float().cpu()
