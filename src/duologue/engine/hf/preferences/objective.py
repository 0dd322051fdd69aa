"""What a step of a run on feedback minimises: cross entropy on edits, DPO on pairs, KTO on single replies.

Beside each of them stands the cross entropy of some of the character's own examples, as InstructGPT mixes what was
learned first into its steps on preferences (PPO-ptx, Ouyang 2022, section 3.4): what nobody complained of stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch

from duologue.engine.hf.load import HfModel
from duologue.engine.hf.objective import CrossEntropy, MicroBatch
from duologue.engine.hf.preferences.logps import Asked, Ids, reply_logps
from duologue.engine.hf.preferences.trl_loss import LikeLoss, PairLoss
from duologue.engine.job import Example, TrainingJob
from duologue.engine.preference_job import FeedbackExample, LikedExample, PreferenceExample, PreferenceJob

Reference = tuple[float, float]
# R replies


@dataclass(slots=True)
class _Step:
    """The liked replies of a whole step, and how far the policy has gone from the reference on them."""

    likes: Sequence[LikedExample]
    divergence: float | None = None


@dataclass(frozen=True, slots=True)
class _Pairs:
    pairs: Sequence[PreferenceExample]


@dataclass(frozen=True, slots=True)
class _Likes:
    likes: Sequence[LikedExample]
    step: _Step


@dataclass(frozen=True, slots=True)
class _Replayed:
    inputs: MicroBatch
    weight: float  # of a token's loss, so that the step's mean over the tokens has the job's weight


@dataclass(slots=True)
class Rewards:
    """What the last step's examples say about the policy.

    Attributes:
        margins: Of each example how much more the policy than the reference favours what was liked, times beta.
    """

    margins: list[float] = field(default_factory=list)

    def values(self) -> dict[str, float]:
        """Return the mean margin and the share of examples on the right side; nothing without examples."""
        if not self.margins:
            return {}
        right = fmean(1.0 if margin > 0 else 0.0 for margin in self.margins)
        return {"reward_margin": fmean(self.margins), "reward_accuracy": right}


class Preferring:
    """The objective of a run on feedback; each step has examples of one kind, and replayed ones.

    Attributes:
        references: Log-probabilities of the start adapter by example: of the better and the other reply, or of the
            reply and of one to another prompt.
        rewards: Of the last step.
    """

    def __init__(
        self, job: PreferenceJob, examples: Sequence[FeedbackExample], *, pad_token_id: int, device: torch.device
    ) -> None:
        """Take the job and everything that will be learned."""
        self.references: dict[FeedbackExample, Reference] = {}
        self.rewards = Rewards()
        self._beta = job.beta
        self._replay_weight = job.replay_weight
        self._pad_token_id = pad_token_id
        self._plain = CrossEntropy(pad_token_id=pad_token_id, device=device)
        likes = [example for example in examples if isinstance(example, LikedExample)]
        self._others = _others(likes)
        self._pair_loss = PairLoss(beta=job.beta, sft_weight=job.sft_weight) if job.method == "dpo" else None
        self._like_loss: LikeLoss | None = None
        if likes:
            liked, disliked = like_weights(likes)
            self._like_loss = LikeLoss(beta=job.beta, liked_weight=liked, disliked_weight=disliked)

    def size(self, examples: Sequence[FeedbackExample]) -> int:
        """Return the number of pairs or liked replies, or the number of trained tokens where there is none."""
        num_others = sum(not isinstance(example, Example) for example in examples)
        return num_others or sum(example.num_trained_tokens for example in examples)

    def micro_batches(self, examples: Sequence[FeedbackExample], job: TrainingJob) -> Iterator[MicroBatch]:
        """Yield what goes through the model at a time."""
        self.rewards.margins.clear()
        plain = [example for example in examples if isinstance(example, Example)]
        pairs = [example for example in examples if isinstance(example, PreferenceExample)]
        likes = [example for example in examples if isinstance(example, LikedExample)]
        num_others = len(pairs) + len(likes)
        if not num_others:
            yield from self._plain.micro_batches(plain, job)
            return
        step = _Step(likes)
        for at in range(0, num_others, job.micro_batch_size):
            to = at + job.micro_batch_size
            yield _Pairs(pairs[at:to]) if pairs else _Likes(likes[at:to], step)
        if plain and self._replay_weight:
            weight = self._replay_weight * num_others / self._plain.size(plain)
            for inputs in self._plain.micro_batches(plain, job):
                yield _Replayed(inputs, weight)

    def summed(self, model: HfModel, micro_batch: MicroBatch) -> torch.Tensor:
        """Return the summed loss of a micro-batch."""
        if isinstance(micro_batch, _Pairs):
            return self._of_pairs(model, micro_batch.pairs)
        if isinstance(micro_batch, _Likes):
            return self._of_likes(model, micro_batch)
        if isinstance(micro_batch, _Replayed):
            return micro_batch.weight * self._plain.summed(model, micro_batch.inputs)
        return self._plain.summed(model, micro_batch)

    @torch.no_grad()
    def reference(self, model: HfModel, examples: Sequence[FeedbackExample]) -> list[Reference]:
        """Return what the model at hand makes of each example: what `references` holds of the start adapter."""
        asked = []
        for example in examples:
            if isinstance(example, PreferenceExample):
                asked.append(_asked_pair(example))
            elif isinstance(example, LikedExample):
                asked.append(Asked(example.prompt_ids, (example.reply_ids, self._others[example])))
        logps = reply_logps(model, asked, pad_token_id=self._pad_token_id).tolist()
        return list(zip(logps[0::2], logps[1::2], strict=True))

    def _of_pairs(self, model: HfModel, pairs: Sequence[PreferenceExample]) -> torch.Tensor:
        assert self._pair_loss is not None
        logps_R = reply_logps(model, [_asked_pair(pair) for pair in pairs], pad_token_id=self._pad_token_id).float()
        losses = []
        for number, pair in enumerate(pairs):
            own, reference = logps_R[2 * number : 2 * number + 2], self.references[pair]
            losses.append(self._pair_loss.of(pair, own, reference))
            chosen, rejected = (own.detach().cpu() - torch.tensor(reference)).tolist()
            self.rewards.margins.append(self._beta * (chosen - rejected))
        return torch.stack(losses).sum()

    def _of_likes(self, model: HfModel, batch: _Likes) -> torch.Tensor:
        assert self._like_loss is not None
        if batch.step.divergence is None:
            batch.step.divergence = self._divergence(model, batch.step.likes, at_once=len(batch.likes))
        asked = [Asked(like.prompt_ids, (like.reply_ids,)) for like in batch.likes]
        logps_R = reply_logps(model, asked, pad_token_id=self._pad_token_id).float()
        losses = []
        for number, like in enumerate(batch.likes):
            own, (reference, _) = logps_R[number : number + 1], self.references[like]
            losses.append(self._like_loss.of(like, own, reference, batch.step.divergence))
            gain = float(own.detach()) - reference - max(0.0, batch.step.divergence)
            self.rewards.margins.append(self._beta * (gain if like.is_liked else -gain))
        return torch.stack(losses).sum()

    @torch.no_grad()
    def _divergence(self, model: HfModel, likes: Sequence[LikedExample], *, at_once: int) -> float:
        """Return the mean gain of replies to other prompts, over the whole step: KTO's estimate of the divergence."""
        gains: list[float] = []
        for at in range(0, len(likes), at_once):
            some = likes[at : at + at_once]
            asked = [Asked(like.prompt_ids, (self._others[like],)) for like in some]
            logps = reply_logps(model, asked, pad_token_id=self._pad_token_id).tolist()
            gains += [own - self.references[like][1] for own, like in zip(logps, some, strict=True)]
        return fmean(gains)


def like_weights(likes: Sequence[LikedExample]) -> tuple[float, float]:
    """Return the weights of liked and of other replies: the rarer kind counts as much as the other in all.

    The paper (Ethayarajh 2024, section 4.2) asks for sums between 1 : 1 and 4 : 3.
    """
    num_liked = sum(like.is_liked for like in likes)
    num_others = len(likes) - num_liked
    if not num_liked or not num_others:
        return 1.0, 1.0
    return max(1.0, num_others / num_liked), max(1.0, num_liked / num_others)


def _asked_pair(pair: PreferenceExample) -> Asked:
    return Asked(pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids))


def _others(likes: Sequence[LikedExample]) -> dict[FeedbackExample, Ids]:
    """Return for each reply one that was given to another prompt: the nearest before it that says something else."""
    found: dict[FeedbackExample, Ids] = {}
    for place, like in enumerate(likes):
        around = (likes[place - back] for back in range(1, len(likes)))
        found[like] = next((other.reply_ids for other in around if other.reply_ids != like.reply_ids), like.reply_ids)
    return found
