"""Token counts without a tokenizer: for a plan, which must not load a model library, and a check without the model."""

from collections.abc import Sequence
from dataclasses import replace

from duologue import prompt
from duologue.characters import Character
from duologue.config import Config
from duologue.data.account import Account, DataStats, TokenCounts
from duologue.data.load import Splits
from duologue.messages import Conversation

# English dialogue under SmolLM2's vocabulary: 4.3 characters per token on the shipped data, 4.4 on Synthetic-Persona-
# Chat; Llama-2's smaller vocabulary gives 3.9. Role markers of a ChatML template: 5 tokens per message.
_CHARS_PER_TOKEN = 4.2
_TOKENS_PER_MESSAGE = 5


def estimate_stats(splits: Splits, config: Config, character: Character) -> DataStats:
    """Return token counts estimated from text lengths; long conversations count as the examples they are cut into."""
    trained = 0
    lengths: list[int] = []
    limit = config.data.max_length_tokens
    for place, conversation in enumerate(splits.train):
        tokens, own = _estimate(conversation, config, character)
        times = splits.times[place]
        trained += times * own
        lengths += ([limit] * (tokens // limit) + ([tokens % limit] if tokens % limit else [])) * times
    validation = [_estimate(conversation, config, character)[0] for conversation in splits.validation]
    lengths.sort()
    return DataStats(
        num_train_examples=len(lengths),
        num_validation_examples=len(validation),
        num_tokens=sum(lengths),
        num_trained_tokens=trained,
        num_validation_tokens=sum(validation),
        max_tokens=lengths[-1] if lengths else 0,
        lengths=tuple(lengths),
    )


def estimate_tokens(splits: Splits, config: Config, character: Character) -> Account:
    """Return the account of the splits with token counts estimated from text lengths."""
    total, trained = 0, 0
    for conversations in (splits.train, splits.validation):
        for conversation in conversations:
            tokens, own = _estimate(conversation, config, character)
            total += tokens
            trained += own
    tokens_of = TokenCounts(trained, total - trained, are_estimated=total > 0, tokenizer=config.model.base)
    return replace(splits.account, tokens=tokens_of)


def _estimate(conversation: Conversation, config: Config, character: Character) -> tuple[int, int]:
    """Return all tokens and trained tokens of one conversation."""
    messages = prompt.build(character, conversation.messages, user_name=config.character.user_name)

    def count(texts: Sequence[str]) -> int:
        return sum(round(len(text) / _CHARS_PER_TOKEN) for text in texts)

    own = [m.content for m in messages if m.role == "assistant"]
    return count([m.content for m in messages]) + _TOKENS_PER_MESSAGE * len(messages), count(own) + len(own)
