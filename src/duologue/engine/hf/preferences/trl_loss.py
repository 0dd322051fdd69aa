"""TRL's own losses, fed with log-probabilities that were computed here.

TRL's trainers compute the model's log-probabilities, the loss of them, and run the loop around both. Only the middle is
taken: a trainer is made around a model of a few numbers that is never used, and its `compute_loss` is handed a function
in the model's place that returns the log-probabilities at hand. One example at a time goes in, so what TRL averages
over a micro-batch is averaged over the whole step here, however the step is cut.
"""

import tempfile
import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from duologue.engine.hf.load import quiet
from duologue.engine.hf.randomness import random_state, restore_random
from duologue.engine.preference_job import LikedExample, PreferenceExample

_NO_WORD = "<pad>"
# S sequences of the example, T tokens


class PairLoss:
    """DPO (Rafailov 2023) on one pair, with the better reply's mean negative log-likelihood beside it (RPO, Pang 2024).

    Args:
        beta: How firmly the policy is held to the reference.
        sft_weight: Weight of the second part.
    """

    def __init__(self, *, beta: float, sft_weight: float) -> None:
        """Make TRL's trainer."""
        terms = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, sft_weight]}
        row = {"prompt_ids": [1], "chosen_ids": [1], "rejected_ids": [1], **_pair_reference((0.0, 0.0))}
        settings = {**_settings(), **(terms if sft_weight else {"loss_type": ["sigmoid"]}), "beta": beta}
        self._trainer = _made(_Pairs, DPOConfig, settings, row)

    def of(self, example: PreferenceExample, logps_S: torch.Tensor, reference: tuple[float, float]) -> torch.Tensor:
        """Return the loss of a pair.

        Args:
            example: The pair.
            logps_S: Of the better and of the other reply.
            reference: The same of the reference.
        """
        row = {
            "prompt_ids": list(example.prompt_ids),
            "chosen_ids": list(example.chosen_ids),
            "rejected_ids": list(example.rejected_ids),
            **_pair_reference(reference),
        }
        batch = _on(logps_S.device, self._trainer.data_collator([row]))
        loss: torch.Tensor = self._trainer.compute_loss(_Answer(logps_S), batch)
        _forget_metrics(self._trainer)
        return loss


class LikeLoss:
    """KTO (Ethayarajh 2024) on one reply that was liked or not.

    Args:
        beta: How firmly the policy is held to the reference.
        liked_weight: Weight of a liked reply.
        disliked_weight: Weight of a reply that was not liked.
    """

    def __init__(self, *, beta: float, liked_weight: float, disliked_weight: float) -> None:
        """Make TRL's trainer."""
        row = {"prompt_ids": [1], "completion_ids": [1], "KL_completion_ids": [1], "label": True}
        row |= {"ref_logps": 0.0, "ref_KL_logps": 0.0}
        weights = {"desirable_weight": liked_weight, "undesirable_weight": disliked_weight}
        self._trainer = _made(_Likes, KTOConfig, {**_settings(), **weights, "beta": beta}, row)

    def of(self, example: LikedExample, logps_S: torch.Tensor, reference: float, divergence: float) -> torch.Tensor:
        """Return the loss of a reply.

        Args:
            example: The reply.
            logps_S: Its log-probability, of shape (1,).
            reference: That of the reference.
            divergence: How far the policy has gone from the reference, over the whole step.
        """
        row = {
            "prompt_ids": list(example.prompt_ids),
            "completion_ids": list(example.reply_ids),
            "label": example.is_liked,
            "ref_logps": reference,
            "ref_KL_logps": 0.0,
        }
        batch = _on(logps_S.device, self._trainer.data_collator([row]))
        batch["KL_logps"] = torch.tensor([divergence], device=logps_S.device)
        loss: torch.Tensor = self._trainer.compute_loss(_Answer(logps_S), batch)
        _forget_metrics(self._trainer)
        return loss


class _Answer:
    """Stands where TRL calls a model, and returns log-probabilities: the sum of a reply at its first token."""

    def __init__(self, logps_S: torch.Tensor) -> None:
        self._logps_S = logps_S

    def __call__(self, *, labels: torch.Tensor, **_inputs: object) -> SimpleNamespace:
        is_reply_ST = labels[:, 1:] != -100
        is_first_ST = is_reply_ST & (is_reply_ST.long().cumsum(dim=1) == 1)
        logps_ST = is_first_ST.to(self._logps_S.dtype) * self._logps_S[:, None]
        nothing_ST = torch.zeros_like(logps_ST.detach())
        return SimpleNamespace(
            log_probs=logps_ST, entropy=nothing_ST, mean_logits=nothing_ST, is_top1=torch.zeros_like(is_reply_ST)
        )


class _Pairs(DPOTrainer):
    """Takes rows as they are: token ids and reference come from outside."""

    def _prepare_dataset(self, dataset: Dataset, *_rest: object) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_rest: object) -> Dataset:
        return dataset

    def _send_telemetry(self) -> None:
        """TRL tells its makers of every trainer; nobody is told of ours."""


class _Likes(KTOTrainer):
    """Takes rows as they are, and how far the policy has gone from whoever looked at the whole step."""

    def _prepare_dataset(self, dataset: Dataset, *_rest: object) -> Dataset:
        return dataset

    def _precompute_ref_logps(self, dataset: Dataset, *_rest: object) -> Dataset:
        return dataset

    def _send_telemetry(self) -> None:
        """TRL tells its makers of every trainer; nobody is told of ours."""

    def _compute_kl_logps(self, _model: object, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return batch["KL_logps"]


def _forget_metrics(trainer: Any) -> None:  # noqa: ANN401
    """TRL keeps numbers of every call until its own loop writes them, which does not run here."""
    for values in trainer._metrics.values():
        values.clear()


def _pair_reference(reference: tuple[float, float]) -> dict[str, float]:
    return {"ref_chosen_logps": reference[0], "ref_rejected_logps": reference[1]}


def _settings() -> dict[str, Any]:
    return {
        "output_dir": tempfile.gettempdir(),  # nothing is written there
        "report_to": "none",
        "save_strategy": "no",
        "bf16": False,
        "max_length": None,  # prompts were cut between turns before
        "precompute_ref_log_probs": True,
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
    }


def _made(trainer: Any, config: Any, settings: dict[str, Any], row: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return a trainer around a model that is never used; the random generators are left as they were."""
    begin = random_state()
    with quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        words = Tokenizer(WordLevel({_NO_WORD: 0, "word": 1}, unk_token=_NO_WORD))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token=_NO_WORD, eos_token=_NO_WORD)
        shape = LlamaConfig(
            vocab_size=2,
            hidden_size=4,
            intermediate_size=4,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            bos_token_id=None,
            eos_token_id=None,
        )
        made = trainer(
            model=LlamaForCausalLM(shape),
            args=config(**settings),
            train_dataset=Dataset.from_list([row]),
            processing_class=tokenizer,
        )
    restore_random(begin)
    return made


def _on(device: torch.device, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in batch.items()}
