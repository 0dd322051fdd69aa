"""Chat template and vocabulary of a GGUF file."""

from collections.abc import Sequence

from duologue.engine.base import TemplateTraits
from duologue.engine.chat_text import ChatText
from duologue.engine.gguf.metadata import GgufMetadata
from duologue.engine.gguf.server import LlamaServer
from duologue.engine.neutral import template_marks
from duologue.engine.template import ChatTemplate
from duologue.messages import Message


class GgufTokenizer:
    """Renders with the file's chat template and tokenises with llama.cpp.

    Args:
        metadata: Header of the file.
        server: The loaded model, for its vocabulary.
        where: The file, for errors.
    """

    def __init__(self, metadata: GgufMetadata, server: LlamaServer, *, where: str) -> None:
        """Compile the chat template."""
        self._metadata = metadata
        self._server = server
        tokens = {"bos_token": metadata.bos_token, "eos_token": metadata.eos_token}
        self._template = ChatTemplate(metadata.chat_template, tokens=tokens, where=where)
        marks = template_marks(metadata.chat_template)
        self._special_tokens = tuple(dict.fromkeys([*metadata.control_tokens.values(), *marks]))
        self._text = ChatText(self._fill, self._special_tokens, source=metadata.chat_template)

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """Ids that end a reply."""
        return self._metadata.stop_token_ids

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Control tokens and the template's marks; `render` neutralises them inside messages."""
        return self._special_tokens

    @property
    def traits(self) -> TemplateTraits:
        """What the chat template carries as it is."""
        return self._text.traits

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool, continues: bool = False
    ) -> tuple[int, ...]:
        """Return the token ids of the chat template filled with `messages`.

        Args:
            messages: The conversation.
            add_generation_prompt: End with the header of a reply.
            continues: End with the content of the last message, which is an assistant's.

        Raises:
            DataError: The template refuses these messages, or the message to go on from is not an assistant's.
        """
        text = self._text.render(messages, add_generation_prompt=add_generation_prompt, continues=continues)
        return tuple(self._server.tokenize(text))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text as it stands inside a message."""
        return self._server.tokenize(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without control tokens."""
        return self._server.detokenize([token for token in ids if token not in self._metadata.control_tokens])

    def _fill(self, messages: Sequence[Message], add_generation_prompt: bool) -> str:
        return self._template.render(messages, add_generation_prompt=add_generation_prompt)
