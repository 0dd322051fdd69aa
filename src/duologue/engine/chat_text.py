"""Messages to the text that a chat template makes of them: one way for every engine, for training and for chat.

Every template has limits. They are found by filling it with made-up messages, once, and met in the same way wherever
a prompt is made: a system message it cannot carry is folded into a user message, a conversation it would not begin with
a greeting gets an opening line, and a reply stays behind the generation prompt it was generated from.
"""

from collections.abc import Callable, Sequence
from functools import cached_property

from duologue.engine.base import TemplateTraits
from duologue.engine.neutral import neutralise, watched_texts
from duologue.errors import DataError
from duologue.messages import Message, Role

Fill = Callable[[Sequence[Message], bool], str]

OPENING = "(The conversation begins.)"  # said by the user where a template lets nobody else begin
_NOTE = "[System note: {text}]"
_THINK_CLOSED = "\n</think>\n\n"


class ChatText:
    """Fills a chat template.

    Args:
        fill: Fills the template with the messages as they are; True adds the generation prompt. It
            raises `DataError` when the template refuses them.
        special_tokens: Texts to neutralise inside messages.
        source: The template's source.
    """

    def __init__(self, fill: Fill, special_tokens: Sequence[str], *, source: str) -> None:
        """Keep the parts; the template is tried out when its traits are first asked for."""
        self._fill = fill
        self._special_tokens = tuple(special_tokens)
        self._source = source

    def render(self, messages: Sequence[Message], *, add_generation_prompt: bool, continues: bool = False) -> str:
        """Return the filled template.

        Args:
            messages: The conversation.
            add_generation_prompt: End with the header of a reply.
            continues: End with the content of the last message, which is an assistant's.

        Raises:
            DataError: The template refuses these messages, or the message to go on from is not an assistant's.
        """
        if continues:
            return self._render_open(messages)
        traits = self.traits
        kept = folded(messages, traits, before_reply=add_generation_prompt)
        safe = [Message(m.role, neutralise(m.content, self._special_tokens)) for m in kept]
        if not traits.reply_primer:
            return self._fill(safe, add_generation_prompt)
        reply_mark, end_mark = _marks(safe)
        marked = [Message(m.role, reply_mark + m.content) if m.role == "assistant" else m for m in safe]
        if add_generation_prompt:
            text = self._fill(marked, True) + self._think_end
        elif marked[-1].role == "assistant":
            # The last reply looks different from earlier ones in such templates, so it must not be the last.
            text = self._fill([*marked, Message("user", end_mark)], False)
            text = text[: text.index(end_mark)].removesuffix(self._user_header)
        else:
            text = self._fill(marked, False)
        return text.replace(reply_mark, traits.reply_primer)

    def _render_open(self, messages: Sequence[Message]) -> str:
        require_reply(messages)
        if not messages[-1].content:
            return self.render(messages[:-1], add_generation_prompt=True)
        traits = self.traits
        kept = folded(messages, traits, before_reply=False)
        safe = [Message(m.role, neutralise(m.content, self._special_tokens)) for m in kept]
        reply_mark, end_mark = _marks(safe)
        # The mark at its end keeps the template from trimming what will be gone on from.
        safe[-1] = Message("assistant", safe[-1].content + end_mark)
        if traits.reply_primer:
            marked = [Message(m.role, reply_mark + m.content) if m.role == "assistant" else m for m in safe]
            text = self._fill([*marked, Message("user", "Word0word")], False)
        else:
            text = self._fill(safe, False)
        return text.partition(end_mark)[0].replace(reply_mark, traits.reply_primer)

    @cached_property
    def traits(self) -> TemplateTraits:
        """What the template carries as it is.

        Raises:
            DataError: It refuses even a user's message with a reply.
        """
        self._fill([Message("user", "one"), Message("assistant", "two")], False)
        turns: tuple[Role, ...] = ("user", "assistant", "user", "assistant")
        head: tuple[Role, ...] = ("system",) if self._carries(("system", *turns)) else ()
        late: tuple[Role, ...] = ("user", "assistant", "system", "user", "assistant", "user", "system", "assistant")
        return TemplateTraits(
            carries_system=bool(head),
            carries_late_system=bool(head) and self._carries((*head, *late)),
            carries_greeting=self._carries((*head, "assistant", "user", "assistant")),
            reply_primer=self._primer() + self._think_end,
            watched_texts=watched_texts(self._source),
        )

    def _carries(self, roles: Sequence[Role]) -> bool:
        """Tell whether each content appears once, in its place, and stays there when the conversation grows."""
        words = [f"Word{index}word" for index in range(len(roles))]
        rows = [Message(role, word) for role, word in zip(roles, words, strict=True)]
        try:
            whole = self._fill(rows, False)
            places = [whole.find(word) for word in words]
            if -1 in places or places != sorted(places) or any(whole.count(word) != 1 for word in words):
                return False
            for index, role in enumerate(roles):
                said = places[index - 1] + len(words[index - 1]) if index else 0
                if role == "assistant" and index and self._fill(rows[:index], True)[:said] != whole[:said]:
                    return False
        except DataError:
            return False
        return True

    def _primer(self) -> str:
        """Return what the generation prompt has in front of a reply that the template leaves out once it is said."""
        question, answer = Message("user", "Word0word"), Message("assistant", "Word1word")
        prompt = self._fill([question], True)
        later = self._fill([question, answer, Message("user", "Word2word")], False)
        before = later.partition("Word1word")[0]
        return prompt[len(before) :] if prompt.startswith(before) else ""

    @cached_property
    def _think_end(self) -> str:
        """Return what closes the thoughts that the generation prompt opens; a character replies without any."""
        prompt = self._primer()
        return _THINK_CLOSED if "<think>" in prompt and "</think>" not in prompt else ""

    @cached_property
    def _user_header(self) -> str:
        rows = [Message("user", "Word0word"), Message("assistant", "Word1word"), Message("user", "Word2word")]
        ending = self._fill(rows[:2], False).partition("Word1word")[2]
        between = self._fill(rows, False).partition("Word1word")[2].partition("Word2word")[0]
        return between.removeprefix(ending)


def require_reply(messages: Sequence[Message]) -> None:
    """Refuse to go on from a message that is not a reply.

    Raises:
        DataError: The last message is not an assistant's.
    """
    found = f"the last message is the {messages[-1].role}'s" if messages else "there is no message"
    if not messages or messages[-1].role != "assistant":
        raise DataError(f"no reply can be gone on with: {found}", needed="a message of the assistant at the end")


def folded(messages: Sequence[Message], traits: TemplateTraits, *, before_reply: bool) -> list[Message]:
    """Return the messages in the order and roles that a template with these traits carries.

    System messages that follow each other are joined. One that cannot stay where it is goes, as a note in brackets, in
    front of the next user message, or behind the last one when a reply comes next. At the front it becomes the first
    lines of the first user message, or that message itself before a greeting.

    Args:
        messages: The conversation so far.
        traits: Of the template.
        before_reply: The generation prompt comes next.
    """
    joined: list[Message] = []
    for message in messages:
        if message.role == "system" and joined and joined[-1].role == "system":
            joined[-1] = Message("system", f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    out: list[Message] = []
    waiting = ""  # text for the next user message
    for index, message in enumerate(joined):
        if message.role == "system":
            if traits.carries_late_system if index else traits.carries_system:
                out.append(message)
            elif index == 0:
                waiting = message.content
            elif out and out[-1].role == "user":
                out[-1] = Message("user", f"{out[-1].content}\n\n{_NOTE.format(text=message.content)}")
            else:
                waiting = _NOTE.format(text=message.content)
        elif message.role == "user":
            out.append(Message("user", f"{waiting}\n\n{message.content}") if waiting else message)
            waiting = ""
        else:
            out += _opening(out, waiting, traits)
            out.append(message)
            waiting = ""
    if waiting or before_reply:
        out += _opening(out, waiting, traits)
    return out


def _opening(before: Sequence[Message], waiting: str, traits: TemplateTraits) -> list[Message]:
    """Return the user message that must stand in front of a reply, if any."""
    if waiting:
        return [Message("user", waiting)]
    is_greeting = not any(message.role == "user" for message in before)
    return [Message("user", OPENING)] if is_greeting and not traits.carries_greeting else []


def _marks(messages: Sequence[Message]) -> tuple[str, str]:
    """Return two texts of private-use characters that no message holds."""
    number = 0
    while any(f"\ue0f1{number}" in message.content for message in messages):
        number += 1
    return f"\ue0f1{number}reply\ue0f2", f"\ue0f1{number}end\ue0f2"
