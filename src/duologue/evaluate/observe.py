"""`observe`: one model is opened, scored and talked to. Nothing else in an evaluation runs a model."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from duologue import prompt
from duologue.characters import Character
from duologue.chat import MAX_CONTEXT_TOKENS, Room, Scene, TokenCounter, fit_buffer, make_sampling
from duologue.config import Config
from duologue.engine import NOT_TRAINED, Event, Example, Generator, OnEvent, Sampling
from duologue.errors import DuologueError
from duologue.evaluate.case import Case
from duologue.evaluate.material import GeneralText
from duologue.evaluate.observed import Dialogue, Observed, Score, ScoreKind, Speed, Spoken
from duologue.evaluate.speeds import measure_speeds
from duologue.messages import FinishReason, Message
from duologue.prompt import Block

_SCORE_CHUNK = 16  # examples between two moves of the progress bar
_MOST_FAULTS = 20  # of one kind are told one by one
PROMPT_SEED = -1
"""Seed of a dialogue that was drawn with the most likely tokens."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one model is asked for; the same for every model.

    Attributes:
        config: Supplies sampling, context and the user's name.
        character: Whose system text stands before every dialogue.
        examples: What is scored, by kind.
        texts: Running texts that are scored.
        cases: The dialogues.
        seeds: Each is had once with each.
        max_new_tokens: Longest reply; 0 is that of the configuration.
        prompts: Answered one by one with the most likely tokens.
        speed_lengths: Lengths of context, in tokens, at which speed is measured.
    """

    config: Config
    character: Character
    examples: Mapping[ScoreKind, Sequence[Example]] = field(default_factory=dict)
    texts: Sequence[GeneralText] = ()
    cases: Sequence[Case] = ()
    seeds: Sequence[int] = ()
    max_new_tokens: int = 0
    prompts: Sequence[str] = ()
    speed_lengths: Sequence[int] = ()

    @property
    def num_scores(self) -> int:
        """Texts to score."""
        return sum(len(items) for items in self.examples.values()) + len(self.texts)

    @property
    def num_replies(self) -> int:
        """Replies to draw."""
        return len(self.prompts) + len(self.seeds) * sum(len(case.user_turns) for case in self.cases)


@dataclass(frozen=True, slots=True)
class Begun:
    """Where an interrupted look goes on.

    Attributes:
        dialogues: What was had before, by case and seed; it is not had again.
        keep: Is given each further dialogue when it is over.
    """

    dialogues: Mapping[tuple[str, int], Dialogue] = field(default_factory=dict)
    keep: Callable[[Dialogue], None] = lambda _dialogue: None


@dataclass(frozen=True, slots=True)
class Opener:
    """How a model is opened.

    Attributes:
        engine: Names the speeds.
        open: Loads it.
    """

    engine: str
    open: Callable[[], Generator]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is put to the questions.

    Attributes:
        name: `base`, or the name of a run.
        model: What it is, to repeat it; part of the digest under which it is kept.
        scorer: What scores texts, and talks where there is no talker.
        talker: What draws the replies, where another engine does it quicker.
        timed: What else its speed is measured on.
    """

    name: str
    model: Mapping[str, Any]
    scorer: Opener
    talker: Opener | None = None
    timed: tuple[Opener, ...] = ()


def observe(
    work: Work,
    subject: Subject,
    *,
    which: Literal["base", "tuned"],
    on_event: OnEvent,
    begun: Begun | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Observed:
    """Return what was seen of a model; the answers to the prompts are dialogues with the seed `PROMPT_SEED`.

    Args:
        work: What it is asked for.
        subject: The model; on each engine it is closed again before the next one is opened, whatever happens.
        which: Whose progress is told.
        on_event: Receives `evaluating` events with `which`, `done` and `total` (texts and replies), and
            `seconds_to_go` once it can be told.
        begun: Where an interrupted look goes on; None begins anew and keeps nothing.
        clock: Seconds.

    Raises:
        EngineError: Loading or scoring failed. A dialogue that fails is noted, and the others go on.
    """
    bar = _Bar(work, which, on_event, clock)
    faults: list[str] = []
    scores: list[Score] = []
    dialogues: list[Dialogue] = []
    speeds: list[Speed] = []
    talker = subject.talker or subject.scorer
    for opener in dict.fromkeys((subject.scorer, talker, *(subject.timed if work.speed_lengths else ()))):
        with closing(opener.open()) as generator:
            bar.report()
            if opener is subject.scorer:
                scores += [*_scores(generator, work, bar, faults), *_text_scores(generator, work, bar, faults)]
            if opener is talker:
                dialogues += _dialogues(generator, work, bar, faults, begun or Begun())
            speeds += _speeds(generator, work, faults, engine=opener.engine)
    return Observed(subject.name, subject.model, tuple(scores), tuple(dialogues), tuple(speeds), tuple(faults))


class _Bar:
    """Counts what is done and how long the rest takes: scoring and replying have a pace of their own."""

    def __init__(
        self, work: Work, which: Literal["base", "tuned"], on_event: OnEvent, clock: Callable[[], float]
    ) -> None:
        self.clock = clock
        self._total = {"score": work.num_scores, "reply": work.num_replies}
        self._done: Counter[str] = Counter()
        self._seconds = {"score": 0.0, "reply": 0.0}
        self._which = which
        self._on_event = on_event

    def add(self, kind: Literal["score", "reply"], num: int, seconds: float) -> None:
        self._done[kind] += num
        self._seconds[kind] += seconds
        self.report()

    def leave_out(self, kind: Literal["score", "reply"], num: int) -> None:
        """Count on fewer: what was seen before has no pace."""
        self._total[kind] -= num
        self.report()

    def report(self) -> None:
        values: dict[str, float | int | str] = {
            "which": self._which,
            "done": self._done.total(),
            "total": sum(self._total.values()),
        }
        open_kinds = [kind for kind, total in self._total.items() if total > self._done[kind]]
        if all(self._done[kind] for kind in open_kinds):
            values["seconds_to_go"] = float(
                sum(
                    self._seconds[kind] / self._done[kind] * (self._total[kind] - self._done[kind])
                    for kind in open_kinds
                )
            )
        self._on_event(Event("evaluating", values=values))


def _scores(generator: Generator, work: Work, bar: _Bar, faults: list[str]) -> list[Score]:
    scores = []
    for kind, examples in work.examples.items():
        fitting = [example for example in examples if example.num_tokens <= generator.context_tokens]
        if len(fitting) < len(examples):
            left = len(examples) - len(fitting)
            faults.append(f"{left} {kind} examples are longer than the context of {generator.context_tokens} tokens")
            bar.add("score", left, 0.0)
        by_place: dict[int, Score] = {}
        order = sorted(range(len(fitting)), key=lambda place: fitting[place].num_tokens)  # alike lengths together
        for at in range(0, len(order), _SCORE_CHUNK):
            places = order[at : at + _SCORE_CHUNK]
            started = bar.clock()
            found = generator.score([fitting[place] for place in places])
            for place, (nats, num) in zip(places, found, strict=True):
                by_place[place] = Score(
                    fitting[place].source, kind, nats, num, _num_bytes(generator, fitting[place].labels)
                )
            bar.add("score", len(places), bar.clock() - started)
        scores += [by_place[place] for place in range(len(fitting))]
    return scores


def _text_scores(generator: Generator, work: Work, bar: _Bar, faults: list[str]) -> list[Score]:
    """Score running texts; the first token of each follows nothing and is not scored."""
    if not work.texts:
        return []
    try:
        encoded = [(item.source, tuple(generator.tokenizer.encode(item.text))) for item in work.texts]
    except DuologueError as error:
        faults.append(f"general text: {error}")
        bar.add("score", len(work.texts), 0.0)
        return []
    examples = [Example(ids, ids, source) for source, ids in encoded]
    return _scores(generator, replace(work, examples={"general": examples}), bar, faults)


def _num_bytes(generator: Generator, labels: Sequence[int]) -> int:
    """Return the length of the text of the scored tokens; end tokens have none."""
    stops = generator.tokenizer.stop_token_ids
    total, run = 0, []
    for label in (*labels[1:], NOT_TRAINED):  # reply by reply, as a decoder may drop a space between two
        if label != NOT_TRAINED and label not in stops:
            run.append(label)
        elif run:
            total += len(generator.tokenizer.decode(run).encode())
            run = []
    return total


def _dialogues(generator: Generator, work: Work, bar: _Bar, faults: list[str], begun: Begun) -> list[Dialogue]:
    dialogues: list[Dialogue] = []

    host = _Host(generator, work, bar, begun)
    greedy = Sampling(
        max_new_tokens=work.config.evaluation.max_new_tokens,
        temperature=0,
        repetition_penalty=work.config.generation.repetition_penalty,
    )
    for number, text in enumerate(work.prompts, start=1):
        case = Case(f"prompt-{number}", "written", (text,), source="evaluation.prompts")
        dialogues.append(host.have(case, greedy, PROMPT_SEED))
    if not work.cases:
        return dialogues
    sampling = make_sampling(work.config, generator.tokenizer)
    if work.max_new_tokens:
        sampling = replace(sampling, max_new_tokens=work.max_new_tokens)
    num_failed = 0
    for case in work.cases:
        for seed in work.seeds:
            try:
                dialogues.append(host.have(case, replace(sampling, seed=seed), seed))
            except DuologueError as error:
                num_failed += 1
                if num_failed <= _MOST_FAULTS:
                    faults.append(f"case {case.id}, seed {seed}: {error}")
    if num_failed > _MOST_FAULTS:
        faults.append(f"and {num_failed - _MOST_FAULTS} more dialogues could not be had")
    if missing := generator.unsupported(sampling):
        faults.append(f"this engine does not honour {', '.join(missing)} of [generation]")
    return dialogues


class _Host:
    """Has each dialogue that was not had before an interruption."""

    def __init__(self, generator: Generator, work: Work, bar: _Bar, begun: Begun) -> None:
        self._generator = generator
        self._work = work
        self._bar = bar
        self._begun = begun

    def have(self, case: Case, sampling: Sampling, seed: int) -> Dialogue:
        before = self._begun.dialogues.get((case.id, seed))
        if before is not None:
            self._bar.leave_out("reply", len(before.replies))
            return before
        talk = _Talk(self._generator, self._work, sampling, self._bar)
        try:
            dialogue = talk.go_through(case, seed)
        except DuologueError:
            self._bar.add("reply", len(case.user_turns) - talk.num_said, 0.0)
            raise
        self._begun.keep(dialogue)
        return dialogue


class _Talk:
    """A dialogue as a chat would have it, without memory and lore: the oldest turns leave when the context is full."""

    def __init__(self, generator: Generator, work: Work, sampling: Sampling, bar: _Bar) -> None:
        wanted = work.config.generation.context_tokens
        context = min(generator.context_tokens, MAX_CONTEXT_TOKENS if wanted == "auto" else wanted)
        self._sampling = replace(sampling, max_new_tokens=max(1, min(sampling.max_new_tokens, context // 2)))
        self._room = Room(context, self._sampling.max_new_tokens)
        self._generator = generator
        self._work = work
        self._bar = bar
        self._counter = TokenCounter(generator.tokenizer)
        self.num_said = 0

    def go_through(self, case: Case, seed: int) -> Dialogue:
        user_name = self._work.config.character.user_name
        messages = prompt.build(self._work.character, case.opening, user_name=user_name)
        head = [Block("system", messages[0].content)]
        if text := prompt.persona_text(self._work.config.character.persona, user_name=user_name):
            head.append(Block("persona", text))
        said = list(messages[1:])
        num_left = 0
        replies = []
        for turn in case.user_turns:
            said.append(Message("user", self._work.character.resolve_macros(turn, user_name=user_name)))
            lines = tuple(
                Block("message", item.content, role=item.role, message_id=at) for at, item in enumerate(said, start=1)
            )
            buffer = fit_buffer(Scene(tuple(head), lines, num_left=num_left), counter=self._counter, room=self._room)
            num_left = buffer.num_forgotten_messages
            spoken = self._speak(buffer.prompt_ids)
            replies.append(spoken)
            said.append(Message("assistant", spoken.text))
        return Dialogue(case, seed, tuple(replies))

    def _speak(self, prompt_ids: Sequence[int]) -> Spoken:
        clock = self._bar.clock
        started = clock()
        texts: list[str] = []
        first: float | None = None
        latest, num_tokens = 0.0, 0
        reason: FinishReason = "cancelled"
        for piece in self._generator.stream(prompt_ids, self._sampling, cancel=threading.Event()):
            texts.append(piece.text)
            if piece.num_tokens > num_tokens:
                latest, num_tokens = clock() - started, piece.num_tokens
                first = latest if first is None else first
            reason = piece.finish_reason or reason
        self.num_said += 1
        self._bar.add("reply", 1, clock() - started)
        return Spoken("".join(texts).strip(), reason, num_tokens, first, latest, len(prompt_ids))


def _speeds(generator: Generator, work: Work, faults: list[str], *, engine: str) -> Sequence[Speed]:
    if not work.speed_lengths:
        return ()
    try:
        return measure_speeds(generator, engine=engine, lengths=work.speed_lengths, seed=work.config.run.seed)
    except DuologueError as error:
        faults.append(f"speed: {error}")
        return ()
