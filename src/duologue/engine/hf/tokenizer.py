"""A transformers tokenizer behind our Protocol: one way from messages to ids, for training and for chat."""

from collections.abc import Sequence
from pathlib import Path

import jinja2
from transformers import PreTrainedTokenizerBase

from duologue.engine.neutral import neutralise
from duologue.errors import DataError, EngineError
from duologue.messages import Message

# End-of-turn tokens of the chat templates in use, where they are not the model's own end-of-text token.
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|eom_id|>")


class HfTokenizer:
    """Chat template and vocabulary of a model loaded by transformers."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
        """Wrap a loaded tokenizer.

        Raises:
            EngineError: It has no chat template.
        """
        if not tokenizer.chat_template:
            raise EngineError(
                f"the model '{name}' has no chat template",
                needed="a chat (instruct) model",
                action="Choose one whose tokenizer carries a chat template.",
            )
        self._tokenizer = tokenizer
        self._name = name
        added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._special = tuple(dict.fromkeys([*tokenizer.all_special_tokens, *added]))
        vocabulary = tokenizer.get_vocab()
        stops = {vocabulary[token] for token in _END_OF_TURN if token in vocabulary}
        self._stops = frozenset(stops | {tokenizer.eos_token_id}) - {None}

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids that end a reply."""
        return self._stops

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Texts that the vocabulary reads as control tokens."""
        return self._special

    @property
    def pad_token_id(self) -> int:
        """An id to fill up with; padding is told apart by the attention mask, never by this id."""
        pad = self._tokenizer.pad_token_id
        return int(pad) if pad is not None else min(self._stops)

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> tuple[int, ...]:
        """Return the token ids of the chat template filled with `messages`; the template brings its own BOS.

        Raises:
            DataError: The template refuses these messages.
        """
        rows = [{"role": m.role, "content": neutralise(m.content, self._special)} for m in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                rows, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except jinja2.TemplateError as error:
            raise DataError(
                f"the chat template of '{self._name}' refuses the roles {[m.role for m in messages]}: {error}",
                action="Use conversations that start with the user, or another base model.",
            ) from error
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without control tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def save(self, folder: Path) -> None:
        """Write the tokenizer and its chat template beside a model."""
        self._tokenizer.save_pretrained(str(folder))
