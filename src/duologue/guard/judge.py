"""A model that is asked as well: it can refuse what the rules let pass, and never lets pass what they refuse."""

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from duologue.engine import Generator, Sampling
from duologue.errors import DuologueError
from duologue.guard.judge_formats import JudgeFormat, UnreadableAnswer, Verdict, parse, question
from duologue.guard.policy import Rating
from duologue.messages import Message

TIMEOUT_SECONDS = 20.0  # a guard model of 8 billion parameters answers within one or two
_ANSWER_TOKENS = 64  # the longest form, Qwen3Guard's three lines, takes about 30
_NUM_MESSAGES = 12  # of the chat; those before them have been judged in their turn
_MAX_CARD_CHARS = 4_000


class Judge(Protocol):
    """Says whether the last message of a chat should be refused."""

    def judge(self, messages: Sequence[Message]) -> Verdict:
        """Return the verdict; where there is none, the one that is safe at the operator's rating."""
        ...

    def notices(self) -> tuple[str, ...]:
        """Return what the operator should know, each once."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class ModelJudge:
    """Asks a generator, one question at a time.

    A judge that fails, is silent for too long or cannot be understood refuses at `mature` and `adult`, where a mistake
    does harm. At `general`, where the rules refuse all sexual content anyway, the message passes. Both are counted.

    Args:
        open_model: Opens the judge model; called when it is first needed, and again after it could not be opened.
        judge_format: How it is asked and answers.
        rating: What the operator allows.
        timeout_seconds: Longest wait for an answer.
    """

    def __init__(
        self,
        open_model: Callable[[], Generator],
        judge_format: JudgeFormat,
        *,
        rating: Rating,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """Ask nothing yet."""
        self._open_model = open_model
        self._generator: Generator | None = None
        self._format = judge_format
        self._rating = rating
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()
        self.num_faults = 0
        self._fault = ""

    def judge(self, messages: Sequence[Message]) -> Verdict:
        """Return the verdict on the last message, which is the user's or a reply."""
        try:
            with self._lock:
                return parse(self._format, self._ask(_chat(messages)), self._rating)
        except UnreadableAnswer as error:
            return self._failed(f"its answer {str(error)!r} is none of the format {self._format}")
        except TimeoutError:
            return self._failed(f"it was silent for {self._timeout_seconds:.0f} seconds")
        except DuologueError as error:
            return self._failed(str(error))

    def notices(self) -> tuple[str, ...]:
        """Return that the judge failed, and what that meant, once for each new reason."""
        fault, self._fault = self._fault, ""
        if not fault:
            return ()
        meant = "messages passed without it" if self._rating == "general" else "messages were refused"
        return (f"the judge (guard.judge) failed {self.num_faults} times, and {meant}: {fault}",)

    def close(self) -> None:
        """Free the model."""
        if self._generator is not None:
            self._generator.close()

    def _ask(self, chat: tuple[Message, ...]) -> str:
        if self._generator is None:
            self._generator = self._open_model()
        tokenizer = self._generator.tokenizer
        room = self._generator.context_tokens - _ANSWER_TOKENS
        while True:
            ids = tokenizer.render(question(self._format, chat, self._rating), add_generation_prompt=True)
            if len(ids) <= room or len(chat) < 3:  # what does not fit then is refused by the engine
                break
            chat = chat[2:]
        cancel, text = threading.Event(), ""
        timer = threading.Timer(self._timeout_seconds, cancel.set)
        timer.daemon = True
        timer.start()
        try:
            for piece in self._generator.stream(ids, _GREEDY, cancel=cancel):
                text += piece.text
                if piece.finish_reason == "cancelled":
                    raise TimeoutError
        finally:
            timer.cancel()
        return text

    def _failed(self, why: str) -> Verdict:
        self.num_faults += 1
        self._fault = why
        return Verdict() if self._rating == "general" else Verdict("the judge could not be asked")


_GREEDY = Sampling(max_new_tokens=_ANSWER_TOKENS, temperature=0.0, top_p=1.0, min_p=0.0, repetition_penalty=1.0)


def _chat(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the end of a chat with alternating roles, the user's first, as judges' templates want it.

    What the system prompt says stands before the user's first words: a judge has to know the card.
    """
    card = "\n".join(message.content for message in messages if message.role == "system")[:_MAX_CARD_CHARS]
    said: list[Message] = []
    for message in [message for message in messages if message.role != "system"][-_NUM_MESSAGES:]:
        if said and said[-1].role == message.role:
            said[-1] = Message(message.role, f"{said[-1].content}\n\n{message.content}")
        else:
            said.append(message)
    if said and said[0].role != "user":
        said.insert(0, Message("user", card or "(The chat begins.)"))
    elif said and card:
        said[0] = Message("user", f"{card}\n\n{said[0].content}")
    return tuple(said)
