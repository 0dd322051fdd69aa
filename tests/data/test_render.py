"""Examples: what is trained, what is context, and that chat sends what training saw."""

from pathlib import Path

import pytest

from duologue import prompt
from duologue.characters import LILA_FOLDER, Character, lila_data_files
from duologue.config import load_recipe
from duologue.data import estimate_stats, load_splits, make_examples, measure, render
from duologue.engine import NOT_TRAINED, BaseModel
from duologue.engine.hf.load import load_tokenizer
from duologue.errors import DataError
from duologue.messages import Conversation, Message

LILA = Character("Lila", description="A night conductor.")
TALK = (
    Message("user", "Is the train late?"),
    Message("assistant", "*winds the watch* Four minutes early, passenger."),
    Message("user", "And tomorrow?"),
    Message("assistant", "Ask me tomorrow."),
)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(BaseModel("bundled:smollm2-135m"))


def rendered(tokenizer, messages=TALK, *, max_length_tokens=512, **options):
    return render(
        Conversation(tuple(messages), "x.json:1"),
        tokenizer,
        character=LILA,
        user_name="Ada",
        max_length_tokens=max_length_tokens,
        **options,
    )


def trained_text(tokenizer, example):
    """The trained tokens, end-of-turn tokens shown as |."""
    stops = tokenizer.stop_token_ids
    parts, current = [], []
    for label in example.labels:
        if label == NOT_TRAINED:
            continue
        if label in stops:
            parts.append(tokenizer.decode(current))
            current = []
        else:
            current.append(label)
    assert not current, "every trained stretch ends with the end-of-turn token"
    return parts


def test_replies_and_their_end_tokens_are_trained_and_nothing_else(tokenizer):
    [example] = rendered(tokenizer)
    assert trained_text(tokenizer, example) == [TALK[1].content, TALK[3].content]
    assert example.num_trained_tokens < example.num_tokens


def test_the_ids_before_a_reply_are_the_ids_that_chat_sends(tokenizer):
    [example] = rendered(tokenizer)
    for index, message in enumerate(TALK):
        if message.role != "assistant":
            continue
        sent = tokenizer.render(prompt.build(LILA, TALK[:index], user_name="Ada"), add_generation_prompt=True)
        assert example.input_ids[: len(sent)] == sent
        assert example.labels[len(sent) - 1] == NOT_TRAINED
        assert example.labels[len(sent)] == example.input_ids[len(sent)], "the first token of the reply is trained"


def test_there_is_one_begin_token_per_message_and_no_second_one_in_front(tokenizer):
    [example] = rendered(tokenizer)
    begin = tokenizer.render([Message("user", "x")], add_generation_prompt=False)[0]
    assert example.input_ids[0] == begin and example.input_ids[1] != begin


def test_a_greeting_is_context_unless_it_is_asked_for(tokenizer):
    talk = (Message("assistant", "Good evening."), *TALK)
    [context] = rendered(tokenizer, talk)
    assert trained_text(tokenizer, context) == [TALK[1].content, TALK[3].content]
    [trained] = rendered(tokenizer, talk, train_on_greeting=True)
    assert trained_text(tokenizer, trained) == ["Good evening.", TALK[1].content, TALK[3].content]
    assert context.input_ids == trained.input_ids


def test_control_tokens_in_a_persons_text_stay_text(tokenizer):
    talk = (Message("user", "say <|im_end|> now"), Message("assistant", "No <|im_start|> from me."))
    [example] = rendered(tokenizer, talk)
    [reply] = trained_text(tokenizer, example)
    assert reply.replace("\u2060", "") == "No <|im_start|> from me."
    stops = sum(token in tokenizer.stop_token_ids for token in example.input_ids)
    assert stops == 3, "system, user and assistant each end once"


def test_a_long_conversation_becomes_windows_that_train_every_turn_once(tokenizer):
    talk = [
        message
        for n in range(12)
        for message in (
            Message("user", f"Question number {n}?"),
            Message("assistant", f"Answer number {n}, passenger."),
        )
    ]
    whole = rendered(tokenizer, talk)[0]
    limit = 120
    windows = rendered(tokenizer, talk, max_length_tokens=limit)
    assert len(windows) > 2
    assert all(window.num_tokens <= limit for window in windows)
    trained = [text for window in windows for text in trained_text(tokenizer, window)]
    assert trained == trained_text(tokenizer, whole), "every reply once, in order"
    system = tokenizer.render(prompt.build(LILA, [], user_name="Ada"), add_generation_prompt=False)
    assert all(window.input_ids[: len(system)] == system for window in windows), "each keeps the card"


def test_a_turn_that_fits_no_window_is_left_out_and_said(tokenizer, tmp_path):
    assert rendered(tokenizer, TALK[:2], max_length_tokens=16) == ()
    (tmp_path / "a.json").write_text('[{"instruction": "q", "output": "' + "word " * 200 + '"}]')
    config = load_recipe("quickstart", overrides=['data.train=["a.json"]', "data.max_length_tokens=64"])
    with pytest.raises(DataError, match="no token of the training data"):
        make_examples(load_splits(config, tmp_path), tokenizer, config, LILA)


class _Rewriting:
    """A template that renders earlier replies differently once a later one is there, as think-block templates do."""

    def __init__(self, inner):
        self._inner = inner
        self.stop_token_ids = inner.stop_token_ids
        self.special_tokens = inner.special_tokens

    def render(self, messages, *, add_generation_prompt):
        last = max((i for i, m in enumerate(messages) if m.role == "assistant"), default=-1)
        changed = [
            Message(m.role, "thought " + m.content if m.role == "assistant" and i != last else m.content)
            for i, m in enumerate(messages)
        ]
        return self._inner.render(changed, add_generation_prompt=add_generation_prompt)


def test_a_template_without_the_prefix_property_is_refused(tokenizer):
    with pytest.raises(DataError, match="renders a conversation differently"):
        rendered(_Rewriting(tokenizer))


def test_the_counts_add_up_on_the_shipped_data(tokenizer, tmp_path):
    config = load_recipe("quickstart")
    splits = load_splits(config, LILA_FOLDER)
    sets = make_examples(splits, tokenizer, config, LILA)
    stats = measure(sets.train, sets.validation)
    assert stats.num_train_examples == len(stats.lengths) == len(sets.train)
    assert stats.num_tokens == sum(stats.lengths)
    context = sum(label == NOT_TRAINED for example in sets.train for label in example.labels)
    assert stats.num_tokens == stats.num_trained_tokens + context
    assert splits.account.num_turns >= 600 and len(lila_data_files()) == 3


def test_the_estimate_without_a_tokenizer_is_within_ten_percent(tokenizer):
    config = load_recipe("quickstart")
    splits = load_splits(config, LILA_FOLDER)
    sets = make_examples(splits, tokenizer, config, LILA)
    exact, estimate = measure(sets.train, sets.validation), estimate_stats(splits, config, LILA)
    assert estimate.num_tokens == pytest.approx(exact.num_tokens, rel=0.1)
    assert estimate.num_trained_tokens == pytest.approx(exact.num_trained_tokens, rel=0.1)


def test_the_source_of_an_example_names_file_and_row(tokenizer):
    config = load_recipe("quickstart")
    sets = make_examples(load_splits(config, LILA_FOLDER), tokenizer, config, LILA)
    path, row = sets.train[0].source.rsplit(":", 1)
    assert Path(path).is_file() and int(row) >= 1
