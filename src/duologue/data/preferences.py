"""What people liked better, tokenized: prompts of the very ids that chat sends, replies with their end-of-turn token.

A preference brings the messages that came before a reply, without the card. Here they get what chat puts around them:
the card's system text, the user's persona, the model's template. What chat added for that one turn only (recalled
lines, lore, notes) is not part of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from duologue.characters import Character
from duologue.config import Config
from duologue.data.account import DataStats
from duologue.data.cut import turns_of
from duologue.data.label import Labeller, Script
from duologue.engine import (
    NOT_TRAINED,
    Example,
    FeedbackExample,
    LikedExample,
    PreferenceExample,
    TextTokenizer,
    neutralise,
)
from duologue.errors import DataError
from duologue.messages import Correction, Message, Opinion, Preference
from duologue.prompt import Block, arrange, persona_text, system_text

EMPTY = "a reply is empty"
EQUAL = "both replies are the same"
AGAIN = "the same was said before"
LONG = "prompt and reply are longer than data.max_length_tokens with the last turn alone"
NO_QUESTION = "no message of the user comes before the reply"


@dataclass(frozen=True, slots=True)
class FeedbackNote:
    """What happened to one piece of feedback.

    Attributes:
        source: Where it comes from.
        reason: What was found.
        action: What was done about it.
    """

    source: str
    reason: str
    action: str


@dataclass(frozen=True, slots=True)
class FeedbackExamples:
    """Tokenized feedback.

    Attributes:
        corrections: Replies as people rewrote them.
        pairs: Better and worse replies to one turn; a rewritten reply is better than what the model had said.
        likes: Replies that were liked or not.
        notes: What was cut or left out, and why.
        num_cut: Examples whose oldest turns were cut away.
        num_contradictions: Pairs whose opposite is among them too.
    """

    corrections: tuple[Example, ...]
    pairs: tuple[PreferenceExample, ...]
    likes: tuple[LikedExample, ...]
    notes: tuple[FeedbackNote, ...]
    num_cut: int
    num_contradictions: int


def render_feedback(
    *,
    preferences: Sequence[Preference],
    opinions: Sequence[Opinion],
    corrections: Sequence[Correction],
    tokenizer: TextTokenizer,
    character: Character,
    config: Config,
) -> FeedbackExamples:
    """Return the examples of a person's feedback; what cannot be used is noted, nothing is raised for it.

    Args:
        preferences: Pairs.
        opinions: Single replies.
        corrections: Rewritten replies; each gives an example, and a pair with what it was before.
        tokenizer: Of the base model.
        character: Whose card is in front.
        config: The user's name and persona, and the longest example.

    Raises:
        DataError: The chat template cannot be labelled.
    """
    renderer = _Renderer(tokenizer, character, config)
    corrected = [renderer.correction(correction) for correction in corrections]
    known = {(pair.context, pair.chosen, pair.rejected) for pair in preferences}
    edits = [Preference(c.context, c.reply, c.before, c.source) for c in corrections if c.before.strip()]
    edits = [pair for pair in edits if (pair.context, pair.chosen, pair.rejected) not in known]
    pairs = [renderer.pair(preference) for preference in (*preferences, *edits)]
    likes = [renderer.like(opinion) for opinion in opinions]
    made = [pair for pair in pairs if pair is not None]
    directions = {(pair.prompt_ids, pair.chosen_ids, pair.rejected_ids) for pair in made}
    return FeedbackExamples(
        corrections=tuple(example for example in corrected if example is not None),
        pairs=tuple(made),
        likes=tuple(like for like in likes if like is not None),
        notes=tuple(renderer.notes),
        num_cut=renderer.num_cut,
        num_contradictions=sum((prompt, worse, better) in directions for prompt, better, worse in directions),
    )


def feedback_stats(examples: Sequence[FeedbackExample], validation: Sequence[Example]) -> DataStats:
    """Return the token counts of a run on feedback; a pair counts as one example of both its replies."""
    lengths = tuple(sorted(example.num_tokens for example in examples))
    return DataStats(
        num_train_examples=len(examples),
        num_validation_examples=len(validation),
        num_tokens=sum(lengths),
        num_trained_tokens=sum(example.num_trained_tokens for example in examples),
        num_validation_tokens=sum(example.num_tokens for example in validation),
        max_tokens=lengths[-1] if lengths else 0,
        lengths=lengths,
    )


def pairs_as_likes(pairs: Sequence[PreferenceExample]) -> tuple[LikedExample, ...]:
    """Return pairs taken apart: the better reply as liked, the other as not liked; each reply to a prompt once."""
    found: dict[tuple[tuple[int, ...], tuple[int, ...], bool], LikedExample] = {}
    for pair in pairs:
        for reply, is_liked in ((pair.chosen_ids, True), (pair.rejected_ids, False)):
            like = LikedExample(pair.prompt_ids, reply, is_liked, pair.source)
            found.setdefault((pair.prompt_ids, reply, is_liked), like)
    return tuple(found.values())


@dataclass(frozen=True, slots=True)
class _Answered:
    """A prompt and replies to it, as ids."""

    prompt_ids: tuple[int, ...]
    replies: tuple[tuple[int, ...], ...]


class _Renderer:
    """What every piece of feedback of one call is rendered with."""

    def __init__(self, tokenizer: TextTokenizer, character: Character, config: Config) -> None:
        """Learn the template."""
        self.notes: list[FeedbackNote] = []
        self.num_cut = 0
        self._labeller = Labeller(tokenizer)
        self._special_tokens = tokenizer.special_tokens
        self._character = character
        self._user_name = config.character.user_name
        self._limit = config.data.max_length_tokens
        persona = self._resolved(config.character.persona)
        self._head = [
            Block("system", system_text(character, user_name=self._user_name)),
            Block("persona", persona_text(persona, user_name=self._user_name)),
        ]
        self._seen: set[tuple[object, ...]] = set()

    def correction(self, correction: Correction) -> Example | None:
        """Return a rewritten reply as an example."""
        answered = self._answered(correction.context, (correction.reply,), correction.source)
        if answered is None or self._is_again(("correction", answered), correction.source):
            return None
        [reply] = answered.replies
        return _example(answered.prompt_ids, reply, correction.source)

    def pair(self, preference: Preference) -> PreferenceExample | None:
        """Return two replies as a pair."""
        if preference.chosen.strip() == preference.rejected.strip():
            self._leave_out(preference.source, EQUAL)
            return None
        replies = (preference.chosen, preference.rejected)
        answered = self._answered(preference.context, replies, preference.source)
        if answered is None or self._is_again(("pair", answered), preference.source):
            return None
        chosen, rejected = answered.replies
        if chosen == rejected:
            self._leave_out(preference.source, EQUAL)
            return None
        return PreferenceExample(answered.prompt_ids, chosen, rejected, preference.source)

    def like(self, opinion: Opinion) -> LikedExample | None:
        """Return one reply with what was thought of it."""
        answered = self._answered(opinion.context, (opinion.reply,), opinion.source)
        if answered is None or self._is_again(("like", opinion.is_liked, answered), opinion.source):
            return None
        [reply] = answered.replies
        return LikedExample(answered.prompt_ids, reply, opinion.is_liked, opinion.source)

    def _answered(self, context: Sequence[Message], replies: Sequence[str], source: str) -> _Answered | None:
        """Return prompt and replies as ids, with as many of the last turns as fit."""
        if not all(reply.strip() for reply in replies):
            self._leave_out(source, EMPTY)
            return None
        spoken = [message for message in context if message.role != "system"]
        if not any(message.role == "user" for message in spoken):
            self._leave_out(source, NO_QUESTION)
            return None
        turns = turns_of([*spoken, Message("assistant", replies[0])])
        for number, turn in enumerate(turns):
            try:
                found = self._labelled(spoken[turn.start :], replies)
            except DataError as error:
                self._leave_out(source, error.found)
                return None
            if len(found.prompt_ids) + max(map(len, found.replies)) <= self._limit:
                if number:
                    self.num_cut += 1
                    self.notes.append(
                        FeedbackNote(source, "longer than data.max_length_tokens", f"first {number} turns cut away")
                    )
                return found
        self._leave_out(source, f"{LONG} ({self._limit:,})")
        return None

    def _labelled(self, spoken: Sequence[Message], replies: Sequence[str]) -> _Answered:
        body = [Block("message", message.content, role=message.role) for message in spoken]
        messages = [self._neutral(message) for message in arrange(self._head, body)]
        scripts = [
            Script((*messages, self._neutral(Message("assistant", reply))), frozenset({len(messages)}))
            for reply in replies
        ]
        prompts: list[tuple[int, ...]] = []
        ends: list[tuple[int, ...]] = []
        for labelled in self._labeller.label(scripts):
            piece = next(piece for piece in (labelled.whole, *labelled.apart) if piece.spans)
            begin, end = piece.spans[-1]
            prompts.append(tuple(piece.ids[:begin]))
            ends.append(tuple(piece.ids[begin:end]))
        if len(set(prompts)) > 1:
            raise DataError("the chat template renders the prompt differently for each reply")
        return _Answered(prompts[0], tuple(ends))

    def _neutral(self, message: Message) -> Message:
        return replace(message, content=neutralise(self._resolved(message.content), self._special_tokens))

    def _resolved(self, text: str) -> str:
        return self._character.resolve_macros(text, user_name=self._user_name)

    def _is_again(self, key: tuple[object, ...], source: str) -> bool:
        if key in self._seen:
            self._leave_out(source, AGAIN)
            return True
        self._seen.add(key)
        return False

    def _leave_out(self, source: str, reason: str) -> None:
        self.notes.append(FeedbackNote(source, reason, "left out"))


def _example(prompt_ids: tuple[int, ...], reply: tuple[int, ...], source: str) -> Example:
    labels = (*(NOT_TRAINED,) * len(prompt_ids), *reply)
    return Example((*prompt_ids, *reply), labels, source)
