"""Messages as ids for a server whose chat template and vocabulary we do not have.

A prompt is ids everywhere in this package, but `/chat/completions` takes messages. So the ids here are an envelope:
they carry the messages without loss, the generator opens it again, and the server renders. An id is up to three bytes
of UTF-8 text, so their number estimates the server's tokens, and rather above than below: English has four to five
bytes per token, Chinese and Japanese about three, Cyrillic and Arabic three to six. Long rows of digits come to more
tokens than ids; the server then refuses a prompt that does not fit, and the error says so.
"""

from collections.abc import Sequence

from duologue.engine.chat_text import require_reply
from duologue.engine.neutral import neutralise
from duologue.errors import DataError
from duologue.messages import ROLES, Message

BYTES_PER_ID = 3
OVERHEAD_IDS = 5  # what ChatML and Llama 3 put around a message; the role mark is one of them
_REPLY_MARK = len(ROLES)
CONTINUE_MARK = len(ROLES) + 1  # stands last: the reply goes on from the last message
_FILLER = len(ROLES) + 2
_LEADING_ONE = b"\x01"  # makes the ids of b"\x00" and b"\x00\x00" differ, and all of them larger than any mark
# The control tokens of the chat templates in use. The server's own list is unknown, and some servers read control
# tokens in a message as such.
CONTROL_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|im_sep|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|start|>",
    "<|message|>",
    "<|channel|>",
    "<|return|>",
    "<|call|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|turn>",
    "<turn|>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "<<SYS>>",
    "<</SYS>>",
    "<\uff5cbegin▁of▁sentence\uff5c>",
    "<\uff5cend▁of▁sentence\uff5c>",
    "<\uff5cUser\uff5c>",
    "<\uff5cAssistant\uff5c>",
)


class RemoteTokenizer:
    """Packs messages into ids and unpacks them again."""

    @property
    def stop_token_ids(self) -> frozenset[int]:
        """None: the server ends its replies itself."""
        return frozenset()

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The control tokens of the chat templates in use; `render` neutralises them inside messages."""
        return CONTROL_TOKENS

    def render(
        self, messages: Sequence[Message], *, add_generation_prompt: bool, continues: bool = False
    ) -> tuple[int, ...]:
        """Return the messages as ids, about one per token of the server and never none for a message.

        Args:
            messages: The conversation.
            add_generation_prompt: A reply is to come.
            continues: It goes on from the last message, which is an assistant's.

        Raises:
            DataError: A text holds half a surrogate pair, which no server can be sent, or the message to go on from
                is not an assistant's.
        """
        if continues:
            require_reply(messages)
        ids: list[int] = []
        for message in messages:
            ids += [ROLES.index(message.role), *[_FILLER] * (OVERHEAD_IDS - 1)]
            ids += _pack(neutralise(message.content, CONTROL_TOKENS))
        if continues:
            ids.append(CONTINUE_MARK)
        elif add_generation_prompt:
            ids.append(_REPLY_MARK)
        return tuple(ids)

    def unpack(self, ids: Sequence[int]) -> tuple[Message, ...]:
        """Return the messages that `render` packed."""
        parts: list[tuple[int, bytearray]] = []
        for number in ids:
            if number < len(ROLES):
                parts.append((number, bytearray()))
            elif number > _FILLER:
                parts[-1][1].extend(_chunk(number))
        return tuple(Message(ROLES[role], raw.decode()) for role, raw in parts)

    def encode(self, text: str) -> list[int]:
        """Refuse: the server's vocabulary is not known here.

        Raises:
            DataError: Always.
        """
        raise DataError(
            f"the tokens of '{text[:40]}' are not known: the vocabulary is on the server",
            needed="token ids as numbers",
            action="Write the ids that the server's tokenizer gives, or use a local engine.",
        )

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of `ids` without the marks between messages."""
        return b"".join(_chunk(number) for number in ids if number > _FILLER).decode("utf-8", "replace")


def _pack(text: str) -> list[int]:
    try:
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the text holds half a surrogate pair at character {error.start}") from error
    chunks = (raw[at : at + BYTES_PER_ID] for at in range(0, len(raw), BYTES_PER_ID))
    return [int.from_bytes(_LEADING_ONE + chunk) for chunk in chunks]


def _chunk(number: int) -> bytes:
    return number.to_bytes(BYTES_PER_ID + 1).lstrip(b"\x00")[1:]
