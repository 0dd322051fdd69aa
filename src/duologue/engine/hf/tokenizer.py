"""A transformers tokenizer behind our Protocol: one way from messages to ids, for training and for chat."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from duologue.engine.base import TemplateTraits
from duologue.engine.chat_text import ChatText
from duologue.engine.hf.words import WordEncoder
from duologue.engine.neutral import template_marks
from duologue.engine.template import ChatTemplate
from duologue.errors import EngineError
from duologue.messages import Message

# End-of-turn tokens of the chat templates in use, where they are not the model's own end-of-text token.
_END_OF_TURN = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<|eom_id|>")


class HfTokenizer:
    """Chat template and vocabulary of a model loaded by transformers."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, name: str) -> None:
        """Wrap a loaded tokenizer.

        Raises:
            EngineError: It has no chat template, or one that is not ordinary.
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
        self._template = _compile(tokenizer, name=name)
        source = tokenizer.get_chat_template()
        marks = template_marks(source)
        self._special = tuple(dict.fromkeys([*tokenizer.all_special_tokens, *added, *marks]))
        self._text = ChatText(self._fill, self._special, source=source)
        self._words: WordEncoder | None = None  # for tokenizers of the tokenizers library, which are nearly all
        if isinstance(tokenizer, PreTrainedTokenizerFast):
            tokenizer.backend_tokenizer.no_truncation()  # some files bring either
            tokenizer.backend_tokenizer.no_padding()
            self._words = WordEncoder(tokenizer.backend_tokenizer)
        vocabulary = tokenizer.get_vocab()
        stops = {vocabulary[token] for token in _END_OF_TURN if token in vocabulary}
        self._stops = frozenset(stops | {tokenizer.eos_token_id}) - {None}

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids that end a reply."""
        return self._stops

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Texts that the vocabulary reads as control tokens, and marks that the template writes."""
        return self._special

    @property
    def pad_token_id(self) -> int:
        """An id to fill up with; padding is told apart by the attention mask, never by this id."""
        pad = self._tokenizer.pad_token_id
        return int(pad) if pad is not None else min(self._stops)

    @property
    def traits(self) -> TemplateTraits:
        """What the chat template carries as it is."""
        return self._text.traits

    @property
    def fingerprint(self) -> str:
        """A digest of vocabulary and chat template."""
        if isinstance(self._tokenizer, PreTrainedTokenizerFast):
            vocabulary = self._tokenizer.backend_tokenizer.to_str()
        else:
            vocabulary = repr((type(self._tokenizer), sorted(self._tokenizer.get_vocab().items())))
        parts = (vocabulary, self._tokenizer.get_chat_template(), *self._special, *map(str, sorted(self._stops)))
        return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool, continues: bool = False
    ) -> tuple[int, ...]:
        """Return the token ids of the chat template filled with `messages`; the template brings its own BOS.

        Args:
            messages: The conversation.
            add_generation_prompt: End with the header of a reply.
            continues: End with the content of the last message, which is an assistant's.

        Raises:
            DataError: The template refuses these messages, or the message to go on from is not an assistant's.
        """
        text = self._text.render(messages, add_generation_prompt=add_generation_prompt, continues=continues)
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def render_text(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> str:
        """Return the text of the filled template.

        Raises:
            DataError: The template refuses these messages.
        """
        return self._text.render(messages, add_generation_prompt=add_generation_prompt)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each text; control tokens in it are read as such, and nothing is added."""
        if self._words is None:
            return [list(self._tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
        return self._words.encode_batch(texts)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text as it stands inside a message."""
        return self.encode_batch([text])[0]

    def token_texts(self) -> list[str]:
        """Return the text of every token by itself, control tokens included."""
        ids = [[token] for token in range(len(self._tokenizer))]
        if isinstance(self._tokenizer, PreTrainedTokenizerFast):
            return list(self._tokenizer.backend_tokenizer.decode_batch(ids, skip_special_tokens=False))
        return [str(self._tokenizer.decode(one)) for one in ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without control tokens."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def save(self, folder: Path) -> None:
        """Write the tokenizer and its chat template beside a model."""
        self._tokenizer.save_pretrained(str(folder))

    def _fill(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        return self._template.render(messages, add_generation_prompt=add_generation_prompt)


def _compile(tokenizer: PreTrainedTokenizerBase, *, name: str) -> ChatTemplate:
    try:
        source = tokenizer.get_chat_template()
    except ValueError as error:  # several templates, and none of them is the default
        raise EngineError(f"the model '{name}' has no default chat template ({error})", where=name) from error
    return ChatTemplate(str(source), tokens=tokenizer.special_tokens_map, where=name)
