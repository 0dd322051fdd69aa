"""The order of a run on feedback: corrected replies first, then pairs or liked replies; replayed ones in all."""

from collections.abc import Sequence

from duologue.engine.hf.batches import BatchOrder


class PhasedOrder:
    """Which examples make up each optimizer step; within a phase as `BatchOrder` has it."""

    def __init__(
        self,
        lengths: Sequence[int],
        *,
        num_corrected: int,
        num_replayed: int = 0,
        num_sft_steps: int,
        batch_size: int,
        replay_size: int = 0,
        seed: int,
    ) -> None:
        """Take the lengths of all examples in tokens.

        Args:
            lengths: The corrected ones first, the replayed ones last.
            num_corrected: How many of them are corrected.
            num_replayed: How many of them are replayed.
            num_sft_steps: Steps on the corrected ones.
            batch_size: Examples of a step, besides the replayed ones.
            replay_size: Replayed examples of a step.
            seed: Of the shuffling.
        """
        self._num_corrected = num_corrected
        self._num_sft_steps = num_sft_steps
        self._replay_begin = end = len(lengths) - num_replayed
        self._corrected = BatchOrder(lengths[:num_corrected], batch_size=batch_size, seed=seed)
        self._others = BatchOrder(lengths[num_corrected:end], batch_size=batch_size, seed=seed)
        self._replayed = BatchOrder(lengths[end:], batch_size=replay_size, seed=seed) if num_replayed else None

    def batch(self, step: int) -> list[int]:
        """Return the places of the examples of optimizer step `step` (from 0): longest first, then the replayed."""
        again = self._replayed.batch(step) if self._replayed else []
        replayed = [self._replay_begin + place for place in again]
        if step < self._num_sft_steps:
            return [*self._corrected.batch(step), *replayed]
        others = self._others.batch(step - self._num_sft_steps)
        return [*(self._num_corrected + place for place in others), *replayed]
