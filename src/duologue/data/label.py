"""Token ids and labels of conversations, many at once, with every id the one that chat would send or produce.

The short way fills a skeleton and encodes its chunks (`template.py`). It is compared with the tokenizer's own rendering
the first time a skeleton is used and then for every 64th conversation; when they differ once, the scripts labelled
together with that one and everything after go the long way, which renders and encodes each reply's context in full.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby

from duologue.data.template import NO_END, NO_PREFIX, Skeleton, Template, filled
from duologue.engine import NOT_TRAINED, TextTokenizer, neutralise
from duologue.errors import DataError
from duologue.messages import Message, Role

_CHECK_EVERY = 64  # conversations
_MAX_CACHED_TEXTS = 50_000
_MAX_CACHED_CHARS = 20_000_000
_MAX_SKELETONS = 2_000
_OTHER_BASE = "Use a base model with another chat template."
_TOKENS_AROUND = 8  # what a template puts around a message, at most, where nothing better is known


@dataclass(frozen=True, slots=True)
class Script:
    """What is to be labelled.

    Attributes:
        messages: As `prompt.build` made them, control tokens neutralised.
        trained: Places of the replies to learn.
    """

    messages: tuple[Message, ...]
    trained: frozenset[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """Ids, and where the trained ones among them stand, as (begin, end)."""

    ids: list[int]
    spans: tuple[tuple[int, int], ...]

    def labels(self) -> list[int]:
        """Return the label of every id."""
        labels = [NOT_TRAINED] * len(self.ids)
        for begin, end in self.spans:
            labels[begin:end] = self.ids[begin:end]
        return labels


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled script.

    Attributes:
        whole: The conversation with the replies that can be trained in it.
        apart: Replies that only stand behind the ids chat sends when nothing follows them, each in a piece of its own.
    """

    whole: Piece
    apart: tuple[Piece, ...]


class Labeller:
    """Labels scripts for one tokenizer.

    Attributes:
        is_short: Whether the short way is still believed.
    """

    def __init__(self, tokenizer: TextTokenizer, *, whole_tokens: int | None = None) -> None:
        """Try the template out.

        Args:
            tokenizer: Of the base model.
            whole_tokens: A longer conversation will be cut anyway: no replies of it are put apart.

        Raises:
            DataError: It cannot be labelled: it refuses a plain conversation, puts no end after a reply, or does not
                let a reply be told from its context.
        """
        self.is_short = True
        self._tokenizer = tokenizer
        self._whole_tokens = whole_tokens
        self._template = Template(tokenizer)
        watched = tokenizer.traits.watched_texts
        self._watched = [text for text in watched if neutralise(text, tokenizer.special_tokens) == text]
        self._skeletons: dict[tuple[Role, ...], Skeleton] = {}
        self._checked: set[tuple[Role, ...]] = set()
        self._num_labelled = 0
        self._ids: dict[str, list[int]] = {}
        self._num_cached_chars = 0
        question, answer = Message("user", "What time is it?"), Message("assistant", "Half past nine.")
        self.label([Script((question, answer, question, answer), frozenset({1, 3}))])

    def label(self, scripts: Sequence[Script]) -> list[Labelled]:
        """Return the labelled scripts, in order.

        Raises:
            DataError: The template refuses one of them, or one of its replies cannot be trained.
        """
        self._forget_if_full()
        plans = [self._plan(script) for script in scripts]
        self._encode(text for plan in plans if plan is not None for text in plan.texts())
        labelled: list[Labelled] = []
        for script, plan in zip(scripts, plans, strict=True):
            if plan is None:
                labelled.append(self._label_long(script))
                continue
            short = self._label_short(plan)
            self._num_labelled += 1
            is_new = bool(script.trained) and plan.roles not in self._checked
            if is_new:
                self._checked.add(plan.roles)
            if (is_new or self._num_labelled % _CHECK_EVERY == 0) and not self._is_exact(script, short, is_new=is_new):
                self.is_short = False
                return [self._label_long(script) for script in scripts]
            labelled.append(short)
        return labelled

    def starts(self, script: Script) -> list[int]:
        """Return about where each message begins among the ids of the whole, then how many these are.

        Exact where every message has a chunk to itself; otherwise a chunk is shared out by the lengths of its messages.
        """
        self._forget_if_full()
        plan = self._plan(script)
        contents = [message.content for message in script.messages]
        self._encode([*contents, *(plan.texts() if plan else ())])
        weights = [len(self._ids[content]) + _TOKENS_AROUND for content in contents]
        if plan is None:
            return [0, *accumulate(weights)]
        chunk_of = plan.skeleton.chunk_of
        begins = [0, *accumulate(len(self._ids[text]) for text in plan.chunks)]
        owners = sorted(set(chunk_of))
        ends = dict(zip(owners, [*(begins[chunk] for chunk in owners[1:]), begins[-1]], strict=True))
        starts: list[int] = []
        for chunk, group in groupby(range(len(contents)), key=chunk_of.__getitem__):
            places = list(group)
            begin = begins[chunk] if starts else 0
            total = sum(weights[place] for place in places)
            shares = accumulate((weights[place] for place in places[:-1]), initial=0)
            starts += [begin + (ends[chunk] - begin) * share // total for share in shares]
        return [*starts, begins[-1]]

    def _plan(self, script: Script) -> "_Plan | None":
        """Return how to go the short way; None for scripts whose contents the template might change."""
        if not self.is_short:
            return None
        contents = [message.content for message in script.messages]
        if any(not text or text != text.strip() for text in contents):
            return None
        if self._watched and any(word in text for text in contents for word in self._watched):
            return None
        return self._make_plan(script, contents)

    def _make_plan(self, script: Script, contents: Sequence[str]) -> "_Plan":
        roles = tuple(message.role for message in script.messages)
        skeleton = self._skeleton(roles)
        places = sorted(script.trained)
        spots = {place: skeleton.spots[place] for place in places if place in skeleton.spots}
        apart = [place for place in places if place not in spots]
        if apart and apart[-1] + 1 == len(roles):
            raise DataError(f"the model's chat template {skeleton.refusals[apart[-1]]}", action=_OTHER_BASE)
        return _Plan(
            script=script,
            roles=roles,
            contents=contents,
            skeleton=skeleton,
            chunks=skeleton.fill(contents),
            contexts={place: filled(spot.context, contents) for place, spot in spots.items()},
            apart=apart,
        )

    def _skeleton(self, roles: tuple[Role, ...]) -> Skeleton:
        if roles not in self._skeletons:
            if len(self._skeletons) >= _MAX_SKELETONS:
                self._skeletons.clear()
                self._checked.clear()
            self._skeletons[roles] = self._template.skeleton(roles)
        return self._skeletons[roles]

    def _forget_if_full(self) -> None:
        if len(self._ids) > _MAX_CACHED_TEXTS or self._num_cached_chars > _MAX_CACHED_CHARS:
            self._ids.clear()
            self._num_cached_chars = 0

    def _will_be_cut(self, ids: Sequence[int]) -> bool:
        return self._whole_tokens is not None and len(ids) > self._whole_tokens

    def _encode(self, texts: Iterable[str]) -> None:
        missing = [text for text in dict.fromkeys(texts) if text not in self._ids]
        self._num_cached_chars += sum(map(len, missing))
        self._ids.update(zip(missing, self._tokenizer.encode_batch(missing), strict=True))

    def _label_short(self, plan: "_Plan") -> Labelled:
        ids: list[int] = []
        begins: list[int] = []
        for text in plan.chunks:
            begins.append(len(ids))
            ids += self._ids[text]
        if self._will_be_cut(ids):
            return Labelled(Piece(ids, ()), ())
        spans: list[tuple[int, int]] = []
        apart: list[Piece] = []
        for place, context in plan.contexts.items():
            chunk = plan.skeleton.spots[place].chunk
            head = self._ids[context]
            if self._ids[plan.chunks[chunk]][: len(head)] == head:
                spans.append((begins[chunk] + len(head), begins[chunk + 1] + 1))
            else:  # the vocabulary joins the end of the prompt and the beginning of the reply
                before = ids[: begins[chunk]] + head
                rest = filled(plan.skeleton.spots[place].rest, plan.contents)
                apart.append(self._continued(before, rest, plan.chunks[chunk + 1]))
        apart += self._beginnings(plan)
        return Labelled(Piece(ids, tuple(spans)), tuple(apart))

    def _beginnings(self, plan: "_Plan") -> list[Piece]:
        """Return, for each reply that must come last, the beginning of the conversation up to its end."""
        scripts = [Script(plan.script.messages[: place + 1], frozenset({place})) for place in plan.apart]
        plans = [self._make_plan(script, plan.contents[: len(script.messages)]) for script in scripts]
        self._encode(text for part in plans for text in part.texts())
        beginnings: list[Piece] = []
        for part in plans:
            labelled = self._label_short(part)
            [piece] = labelled.apart or [labelled.whole]
            end = piece.spans[-1][1]
            beginnings.append(Piece(piece.ids[:end], piece.spans))
        return beginnings

    def _continued(self, before: list[int], rest: str, ending: str) -> Piece:
        reply = [*self._encode_continuation(rest), self._ids[ending][0]]
        return Piece(before + reply, ((len(before), len(before) + len(reply)),))

    def _encode_continuation(self, text: str) -> list[int]:
        """Return the ids of a text that follows others, as a model that goes on from there would write them."""
        token = self._template.control_token
        if token is None:
            return self._tokenizer.encode_batch([text])[0]
        return self._tokenizer.encode_batch([token + text])[0][1:]

    def _is_exact(self, script: Script, short: Labelled, *, is_new: bool) -> bool:
        """Compare the ids, and the context of a few replies, with what the tokenizer renders from the messages."""
        messages = script.messages
        if tuple(short.whole.ids) != self._tokenizer.render(messages, add_generation_prompt=False):
            return False
        replies = [] if self._will_be_cut(short.whole.ids) else sorted(script.trained)
        pieces = [short.whole, *short.apart]
        middle = len(replies) // 2
        some = {*replies[:1], *replies[middle : middle + 1], *replies[-1:]}
        turn = self._num_labelled // _CHECK_EVERY % max(1, len(replies))
        for place in some if is_new else replies[turn : turn + 1]:
            sent = self._tokenizer.render(messages[:place], add_generation_prompt=True)
            if not any(tuple(p.ids[:begin]) == sent for p in pieces for begin, _ in p.spans if begin == len(sent)):
                return False
        return True

    def _label_long(self, script: Script) -> Labelled:
        messages = script.messages
        ids = list(self._tokenizer.render(messages, add_generation_prompt=False))
        if self._will_be_cut(ids):
            return Labelled(Piece(ids, ()), ())
        spans: list[tuple[int, int]] = []
        apart: list[Piece] = []
        for place in sorted(script.trained):
            sent = list(self._tokenizer.render(messages[:place], add_generation_prompt=True))
            following = self._reply_ids(messages[: place + 1], sent)
            if ids[: len(sent) + len(following)] == sent + following:
                spans.append((len(sent), len(sent) + len(following)))
            else:
                apart.append(Piece(sent + following, ((len(sent), len(sent) + len(following)),)))
        return Labelled(Piece(ids, tuple(spans)), tuple(apart))

    def _reply_ids(self, messages: tuple[Message, ...], sent: list[int]) -> list[int]:
        """Return the ids of the last message and its end, as they come after the ids that chat sends."""
        ids = list(self._tokenizer.render(messages, add_generation_prompt=False))
        if ids[: len(sent)] == sent:
            following = ids[len(sent) :]
        else:
            text = self._tokenizer.render_text(messages, add_generation_prompt=False)
            prompt = self._tokenizer.render_text(messages[:-1], add_generation_prompt=True)
            if not text.startswith(prompt):
                raise DataError(f"the model's chat template {NO_PREFIX}", action=_OTHER_BASE)
            following = self._encode_continuation(text[len(prompt) :])
        stops = self._tokenizer.stop_token_ids
        end = next((at for at, token in enumerate(following) if token in stops), None)
        if end is None:
            raise DataError(f"the model's chat template {NO_END}", action=_OTHER_BASE)
        return following[: end + 1]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The texts to encode for one script.

    Attributes:
        script: The script.
        roles: Of its messages.
        contents: Of its messages.
        skeleton: Of its roles.
        chunks: The whole.
        contexts: For every reply that can be trained in the whole, what is in front of it in its chunk.
        apart: The places of the other replies.
    """

    script: Script
    roles: tuple[Role, ...]
    contents: Sequence[str]
    skeleton: Skeleton
    chunks: list[str]
    contexts: dict[int, str]
    apart: list[int]

    def texts(self) -> list[str]:
        """Return every text whose ids are needed."""
        return [*self.chunks, *self.contexts.values()]
