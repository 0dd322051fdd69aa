"""Examples: what is trained, what is context, and that chat sends what training saw."""

from pathlib import Path

import pytest

from duologue import prompt
from duologue.characters import LILA_FOLDER, Character, lila_data_files
from duologue.config import load_recipe
from duologue.data import estimate_stats, load_splits, make_examples, measure
from duologue.data.render import RenderSettings, render, render_all
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


def rendered(tokenizer, messages=TALK, **options):
    """The examples of one conversation."""
    return account(tokenizer, messages, **options).examples


def account(tokenizer, messages=TALK, *, max_length_tokens=512, **options):
    """The examples and the faults of one conversation."""
    return render(
        Conversation(tuple(messages), "x.json:1"),
        tokenizer,
        character=LILA,
        settings=RenderSettings("Ada", max_length_tokens, **options),
    )


LONG = tuple(
    message
    for n in range(12)
    for message in (Message("user", f"Question number {n}?"), Message("assistant", f"Answer number {n}, passenger."))
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


def test_a_reply_that_is_marked_as_context_is_not_trained_wherever_the_card_puts_it(tokenizer):
    settings = RenderSettings("Ada", 512)
    for untrained, trained in ((1, TALK[3]), (3, TALK[1])):
        talk = Conversation(TALK, "x.json:1", frozenset({untrained}))
        [example] = render(talk, tokenizer, character=LILA, settings=settings).examples
        assert trained_text(tokenizer, example) == [trained.content]


def test_a_conversation_of_just_the_limit_is_whole_and_one_token_more_is_not(tokenizer):
    [whole] = rendered(tokenizer)
    assert account(tokenizer, max_length_tokens=whole.num_tokens).faults == ()
    over = account(tokenizer, max_length_tokens=whole.num_tokens - 1)
    assert [text for part in over.examples for text in trained_text(tokenizer, part)] == [
        TALK[1].content,
        TALK[3].content,
    ]
    assert over.faults[0].action == "cut into 2 examples"


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
    whole = rendered(tokenizer, LONG)[0]
    limit = 120
    found = account(tokenizer, LONG, max_length_tokens=limit)
    windows = found.examples
    assert len(windows) > 2
    assert all(limit - 25 <= window.num_tokens <= limit for window in windows), "they are full"
    trained = [text for window in windows for text in trained_text(tokenizer, window)]
    assert trained == trained_text(tokenizer, whole), "every reply once, in order"
    system = tokenizer.render(prompt.build(LILA, [], user_name="Ada"), add_generation_prompt=False)
    assert all(window.input_ids[: len(system)] == system for window in windows), "each keeps the card"
    [fault] = found.faults
    assert str(fault) == (
        f"x.json:1: longer than data.max_length_tokens: {whole.num_tokens} tokens, the limit is 120 "
        f"(cut into {len(windows)} examples)"
    )


def test_a_window_is_what_chat_sends_when_older_turns_are_forgotten(tokenizer):
    window = rendered(tokenizer, LONG, max_length_tokens=120)[1]
    begin = next(at for at, label in enumerate(window.labels) if label != NOT_TRAINED)
    contexts = [
        tokenizer.render(prompt.build(LILA, LONG[first:place], user_name="Ada"), add_generation_prompt=True)
        for place in range(1, len(LONG), 2)
        for first in range(2, place, 2)
    ]
    assert window.input_ids[:begin] in contexts


def test_truncate_keeps_the_whole_turns_at_the_beginning(tokenizer):
    [whole] = rendered(tokenizer, LONG)
    found = account(tokenizer, LONG, max_length_tokens=120, long_conversations="truncate")
    [example] = found.examples
    kept = trained_text(tokenizer, example)
    assert 0 < len(kept) < 12
    assert kept == trained_text(tokenizer, whole)[: len(kept)]
    assert example.input_ids == whole.input_ids[: example.num_tokens]
    assert [fault.action for fault in found.faults] == [f"cut after turn {len(kept)} of 12"]


def test_drop_leaves_a_long_conversation_out(tokenizer):
    found = account(tokenizer, LONG, max_length_tokens=120, long_conversations="drop")
    assert found.examples == ()
    assert [fault.action for fault in found.faults] == ["left out"]


def test_a_conversation_that_fits_is_no_fault(tokenizer):
    assert account(tokenizer).faults == ()


def test_a_turn_that_fits_no_window_is_left_out_with_its_size_and_the_others_stay(tokenizer):
    talk = (*LONG[:4], Message("user", "And?"), Message("assistant", "word " * 200 + "end"), *LONG[6:10])
    found = account(tokenizer, talk, max_length_tokens=100)
    trained = [text for window in found.examples for text in trained_text(tokenizer, window)]
    assert trained == [talk[1].content, talk[3].content, talk[7].content, talk[9].content]
    _, fault = found.faults
    assert fault.field == "messages[5].content"
    assert fault.reason.startswith("turn 3 of 5 has 2")
    assert fault.action == "left out"


def test_nothing_fits_and_that_is_an_error_for_the_whole(tokenizer, tmp_path):
    found = account(tokenizer, TALK[:2], max_length_tokens=16)
    assert found.examples == ()
    assert found.faults[0].action == "left out"
    (tmp_path / "a.json").write_text('[{"instruction": "q", "output": "' + "word " * 200 + '"}]')
    config = load_recipe("quickstart", overrides=['data.train=["a.json"]', "data.max_length_tokens=64"])
    with pytest.raises(DataError, match="no token of the training data"):
        make_examples(load_splits(config, tmp_path), tokenizer, config, LILA)


def test_a_conversation_with_nothing_to_learn_is_left_out_with_the_reason(tokenizer):
    found = account(tokenizer, (Message("assistant", "Good evening."), Message("user", "Hello?")))
    assert found.examples == ()
    [fault] = found.faults
    assert fault.action == "left out" and "only a greeting" in fault.reason


def test_control_tokens_in_the_text_are_reported_with_their_number(tokenizer):
    talk = (Message("user", "<|im_start|> and <|im_end|>"), Message("assistant", "No."))
    [fault] = account(tokenizer, talk).faults
    assert (fault.path, fault.row, fault.field, fault.action) == (
        "x.json",
        1,
        "messages[0].content",
        "kept as plain text",
    )
    assert fault.reason == "special tokens (control tokens) of the model in the text: 2"


def test_one_pass_over_the_conversations_is_enough(tokenizer):
    stream = (Conversation(TALK, f"x.json:{row}") for row in range(1, 601))
    found = render_all(stream, tokenizer, character=LILA, settings=RenderSettings("Ada", 512))
    assert next(found).source == "x.json:1"
    assert sum(1 for _ in stream) == 600 - 256, "it reads a batch ahead, not everything"


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
