"""Labels by the chat templates of well-known models: golden texts, golden labels, and the ids that chat sends."""

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duologue import prompt
from duologue.characters import Character
from duologue.data.label import Labeller, Script
from duologue.data.render import Rendered, RenderSettings, render, render_all
from duologue.engine import NOT_TRAINED, neutralise
from duologue.engine.chat_text import OPENING
from duologue.errors import DataError
from duologue.messages import Conversation, Message
from tests.data.chat_models import MODELS, ChatModel, chat_model, gpt2_bytes, tiktoken_bytes, with_template

LILA = Character("Lila", description="A night conductor.")
CARD = "You are Lila. A night conductor."
TALK = (
    Message("user", "Is the train late?"),
    Message("assistant", "*winds the watch* Four minutes early."),
    Message("user", "And tomorrow?"),
    Message("assistant", "Ask me tomorrow."),
)
EVERY_MODEL = pytest.mark.parametrize("name", MODELS)

# The filled templates; "|" stands where a trained stretch begins and "¦" behind its last token.
GOLDEN = {
    "llama-2": (
        f"<s>[INST] <<SYS>>\n{CARD}\n<</SYS>>\n\nIs the train late? [/INST]| *winds the watch* Four minutes early. "
        "</s>¦<s>[INST] And tomorrow? [/INST]| Ask me tomorrow. </s>¦"
    ),
    "llama-3": (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{CARD}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nIs the train late?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n|*winds the watch* Four minutes early.<|eot_id|>¦"
        "<|start_header_id|>user<|end_header_id|>\n\nAnd tomorrow?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n|Ask me tomorrow.<|eot_id|>¦"
    ),
    "mistral-v1": (
        f"<s> [INST] {CARD}\n\nIs the train late? [/INST]| *winds the watch* Four minutes early.</s>¦"
        " [INST] And tomorrow? [/INST]| Ask me tomorrow.</s>¦"
    ),
    "mistral-v3": (
        f"<s>[INST] {CARD}\n\nIs the train late?[/INST]| *winds the watch* Four minutes early.</s>¦"
        "[INST] And tomorrow?[/INST]| Ask me tomorrow.</s>¦"
    ),
    "mistral-v3-tekken": (
        f"<s>[INST]{CARD}\n\nIs the train late?[/INST]|*winds the watch* Four minutes early.</s>¦"
        "[INST]And tomorrow?[/INST]|Ask me tomorrow.</s>¦"
    ),
    "yi": (
        f"<|im_start|>system\n{CARD}<|im_end|>\n<|im_start|>user\nIs the train late?<|im_end|>\n"
        "<|im_start|>assistant\n|*winds the watch* Four minutes early.<|im_end|>¦\n"
        "<|im_start|>user\nAnd tomorrow?<|im_end|>\n<|im_start|>assistant\n|Ask me tomorrow.<|im_end|>¦\n"
    ),
    "qwen3": (
        f"<|im_start|>system\n{CARD}<|im_end|>\n<|im_start|>user\nIs the train late?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n|*winds the watch* Four minutes early.<|im_end|>¦\n"
        "<|im_start|>user\nAnd tomorrow?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n|Ask me tomorrow.<|im_end|>¦\n"
    ),
    "gemma-2": (
        f"<bos><start_of_turn>user\n{CARD}\n\nIs the train late?<end_of_turn>\n"
        "<start_of_turn>model\n|*winds the watch* Four minutes early.<end_of_turn>¦\n"
        "<start_of_turn>user\nAnd tomorrow?<end_of_turn>\n<start_of_turn>model\n|Ask me tomorrow.<end_of_turn>¦\n"
    ),
    "phi-3": (
        f"<|system|>\n{CARD}<|end|>\n<|user|>\nIs the train late?<|end|>\n"
        "<|assistant|>\n|*winds the watch* Four minutes early.<|end|>¦\n"
        "<|user|>\nAnd tomorrow?<|end|>\n<|assistant|>\n|Ask me tomorrow.<|end|>¦\n<|endoftext|>"
    ),
    "phi-4": (
        f"<|im_start|>system<|im_sep|>{CARD}<|im_end|><|im_start|>user<|im_sep|>Is the train late?<|im_end|>"
        "<|im_start|>assistant<|im_sep|>|*winds the watch* Four minutes early.<|im_end|>¦"
        "<|im_start|>user<|im_sep|>And tomorrow?<|im_end|><|im_start|>assistant<|im_sep|>|Ask me tomorrow.<|im_end|>¦"
    ),
    "vicuna": (
        f"<s>{CARD}\n\nUSER: Is the train late?\nASSISTANT:| *winds the watch* Four minutes early.</s>¦\n"
        "USER: And tomorrow?\nASSISTANT:| Ask me tomorrow.</s>¦\n"
    ),
    "metharme": (
        f"<s><|system|>{CARD}<|user|>Is the train late?<|model|>*winds the watch* Four minutes early."
        "<|user|>And tomorrow?<|model|>|Ask me tomorrow.</s>¦"
    ),
}
GOLDEN |= {"qwen2.5": GOLDEN["yi"], "smollm2": GOLDEN["yi"], "gemma-3": GOLDEN["gemma-2"]}
GOLDEN["metharme-bytes"] = GOLDEN["metharme"]


def rendered(tokenizer, messages=TALK, *, max_length_tokens=4096, untrained=frozenset(), **options) -> Rendered:
    conversation = Conversation(tuple(messages), "talk.json:1", untrained)
    wanted = RenderSettings("Ada", max_length_tokens, **options)
    return render(conversation, tokenizer, character=LILA, settings=wanted)


def spans(example):
    """Where trained stretches begin and end."""
    edges = [at for at, (a, b) in enumerate(pairwise((NOT_TRAINED, *example.labels, NOT_TRAINED))) if is_edge(a, b)]
    return list(zip(edges[0::2], edges[1::2], strict=True))


def is_edge(before, after):
    return (before == NOT_TRAINED) != (after == NOT_TRAINED)


def trained_texts(tokenizer, rendered):
    """The trained stretches of all examples without their end token, which each of them must have."""
    texts = []
    for example in rendered.examples:
        for begin, end in spans(example):
            assert example.input_ids[end - 1] in tokenizer.stop_token_ids
            assert not set(example.input_ids[begin : end - 1]) & tokenizer.stop_token_ids
            assert example.labels[begin:end] == example.input_ids[begin:end]
            texts.append(tokenizer.decode(example.input_ids[begin:end]).strip())
    return texts


def assert_each_reply_follows_what_chat_sends(tokenizer, messages, examples, places):
    """Each reply at `places` is trained once, behind the ids of chat's prompt for it."""
    found = [(example.input_ids[:begin], begin) for example in examples for begin, _ in spans(example)]
    assert len(found) == len(places)
    for place in places:
        built = prompt.build(LILA, messages[:place], user_name="Ada")
        sent = tokenizer.render(built, add_generation_prompt=True)
        assert [context for context, _ in found].count(sent) == 1


@EVERY_MODEL
def test_the_filled_template_is_the_golden_text(name):
    tokenizer = chat_model(name)
    text = tokenizer.render_text(prompt.build(LILA, TALK, user_name="Ada"), add_generation_prompt=False)
    assert text == GOLDEN[name].replace("|>", "\0").replace("<|", "\1").replace("|", "").replace("¦", "").replace(
        "\0", "|>"
    ).replace("\1", "<|")


@EVERY_MODEL
def test_the_trained_tokens_are_the_golden_ones(name):
    tokenizer = chat_model(name)
    ids, labels = [], []
    golden = GOLDEN[name].replace("|>", "\0").replace("<|", "\1")
    pieces = [piece.replace("\0", "|>").replace("\1", "<|") for piece in golden.replace("¦", "|").split("|")]
    for number in range(len(pieces)):
        until = tokenizer.encode_batch(["".join(pieces[: number + 1])])[0]
        labels += [token if number % 2 else NOT_TRAINED for token in until[len(ids) :]]
        ids = until
    example = rendered(tokenizer).examples[0]
    assert example.input_ids == tuple(ids)
    assert example.labels == tuple(labels)


@EVERY_MODEL
def test_every_reply_is_trained_once_behind_the_ids_that_chat_sends(name):
    tokenizer = chat_model(name)
    found = rendered(tokenizer)
    assert sorted(trained_texts(tokenizer, found)) == sorted(m.content for m in TALK if m.role == "assistant")
    assert_each_reply_follows_what_chat_sends(tokenizer, TALK, found.examples, [1, 3])


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.bos and name != "phi-3"])
def test_the_begin_token_stands_once_at_the_very_front(name):
    tokenizer, bos = chat_model(name), MODELS[name].bos  # phi-3 has such a token, and its template begins without it
    [bos_id] = tokenizer.encode_batch([bos])[0]
    num_turns = 2 if name == "llama-2" else 1  # Llama 2 begins every turn with it
    for example in rendered(tokenizer).examples[:1]:
        assert example.input_ids[0] == bos_id
        assert example.input_ids[1] != bos_id
        assert example.input_ids.count(bos_id) == num_turns


@EVERY_MODEL
def test_a_system_message_in_the_middle_stays_or_is_folded_and_said(name):
    tokenizer = chat_model(name)
    talk = (*TALK[:2], Message("system", "Snow begins to fall."), *TALK[2:])
    found = rendered(tokenizer, talk)
    text = tokenizer.render_text(prompt.build(LILA, talk, user_name="Ada"), add_generation_prompt=False)
    assert text.count("Snow begins to fall.") == 1
    assert text.index("Four minutes early.") < text.index("Snow begins") < text.index("And tomorrow?")
    assert_each_reply_follows_what_chat_sends(tokenizer, talk, found.examples, [1, 4])
    noted = [fault for fault in found.faults if "system messages in the middle" in fault.reason]
    assert len(noted) == (not tokenizer.traits.carries_late_system)
    assert ("[System note: Snow begins to fall.]\n\nAnd tomorrow?" in text) == bool(noted)


@EVERY_MODEL
def test_a_greeting_comes_first_and_is_trained_only_when_asked(name):
    tokenizer = chat_model(name)
    talk = (Message("assistant", "Good evening, traveller."), *TALK)
    found = rendered(tokenizer, talk)
    assert sorted(trained_texts(tokenizer, found)) == sorted([TALK[1].content, TALK[3].content])
    assert_each_reply_follows_what_chat_sends(tokenizer, talk, found.examples, [2, 4])
    text = tokenizer.render_text(prompt.build(LILA, talk, user_name="Ada"), add_generation_prompt=False)
    assert text.index(CARD) < text.index("Good evening") < text.index("Is the train")
    assert (OPENING in text) == any("begins with a reply" in fault.reason for fault in found.faults)
    trained = rendered(tokenizer, talk, train_on_greeting=True)
    assert "Good evening, traveller." in trained_texts(tokenizer, trained)
    assert_each_reply_follows_what_chat_sends(tokenizer, talk, trained.examples, [0, 2, 4])


@EVERY_MODEL
def test_an_untrained_reply_is_context(name):
    tokenizer = chat_model(name)
    assert trained_texts(tokenizer, rendered(tokenizer, untrained=frozenset({1}))) == [TALK[3].content]
    assert trained_texts(tokenizer, rendered(tokenizer, untrained=frozenset({3}))) == [TALK[1].content]


@EVERY_MODEL
def test_windows_train_every_reply_once_and_keep_the_card(name):
    tokenizer = chat_model(name)
    talk = [
        message
        for number in range(9)
        for message in (Message("user", f"Question {number}?"), Message("assistant", f"Answer {number}, passenger."))
    ]
    whole = rendered(tokenizer, talk)
    limit = 2 + max(example.num_tokens for example in whole.examples) // 2
    found = rendered(tokenizer, talk, max_length_tokens=limit)
    assert sorted(trained_texts(tokenizer, found)) == sorted(m.content for m in talk if m.role == "assistant")
    assert all(example.num_tokens <= limit for example in found.examples)
    assert all(CARD in tokenizer.decode(example.input_ids) for example in found.examples)
    [fault] = [fault for fault in found.faults if "data.max_length_tokens" in fault.reason]
    assert fault.row == 1
    assert fault.action == f"cut into {len(found.examples)} examples"


@EVERY_MODEL
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    texts=st.lists(
        st.text(
            st.sampled_from(list("aB1 .,!*\n\t-_<>|[]/'\"é日🚂\u00a0\u200b\u0301")) | st.characters(codec="utf-8"),
            min_size=1,
            max_size=24,
        ),
        min_size=2,
        max_size=6,
    )
)
def test_any_contents_are_labelled_as_the_tokenizer_itself_renders_them(name, texts):
    tokenizer = chat_model(name)
    roles = ["user", "assistant"] * 3
    safe = [neutralise(text, tokenizer.special_tokens) for text in texts]
    talk = tuple(Message(role, text) for role, text in zip(roles, safe, strict=False))
    places = frozenset(range(1, len(talk), 2))
    built = prompt.build(LILA, talk, user_name="Ada")
    labeller = Labeller(tokenizer)
    [found] = labeller.label([Script(built, frozenset(place + 1 for place in places))])
    assert labeller.is_short, "the short way and the tokenizer's own rendering agree"
    assert tuple(found.whole.ids) == tokenizer.render(built, add_generation_prompt=False)
    pieces = [found.whole, *found.apart]
    contexts = [tuple(piece.ids[:begin]) for piece in pieces for begin, _ in piece.spans]
    sent = [tokenizer.render(built[: place + 1], add_generation_prompt=True) for place in sorted(places)]
    assert sorted(contexts) == sorted(sent)
    ends = [piece.ids[end - 1] for piece in pieces for _, end in piece.spans]
    assert set(ends) <= tokenizer.stop_token_ids


@EVERY_MODEL
def test_the_short_way_and_the_long_way_give_the_same(name):
    tokenizer = chat_model(name)
    built = prompt.build(LILA, TALK, user_name="Ada")
    script = Script(built, frozenset({2, 4}))
    short, long = Labeller(tokenizer), Labeller(tokenizer)
    long.is_short = False
    [quick], [slow] = short.label([script]), long.label([script])
    assert short.is_short
    assert quick.whole == slow.whole
    assert list(quick.apart) == list(slow.apart)


CHATML = MODELS["smollm2"]


def test_a_reply_that_melts_into_the_prompt_gets_an_example_with_the_ids_chat_sends():
    tokenizer = chat_model("metharme-bytes")
    talk = (Message("user", "Hi"), Message("assistant", "*waves*"))
    [example] = rendered(tokenizer, talk).examples
    whole = tokenizer.render(prompt.build(LILA, talk, user_name="Ada"), add_generation_prompt=False)
    assert example.input_ids != whole, "in this vocabulary '|>*' is one token, so '<|model|>' does not end alone"
    sent = tokenizer.render(prompt.build(LILA, talk[:1], user_name="Ada"), add_generation_prompt=True)
    assert example.input_ids[: len(sent)] == sent
    assert trained_texts(tokenizer, rendered(tokenizer, talk)) == ["*waves*"]


def test_a_template_that_ends_no_reply_is_refused():
    endless = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '\n' }}{% endfor %}"
    endless += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    with pytest.raises(DataError, match="no end-of-turn token"):
        rendered(with_template(CHATML, endless))


def test_a_template_whose_prompt_is_not_how_replies_begin_is_refused():
    other = "{% for m in messages %}{{ '<|im_start|>' + m.role + ':' + m.content + '<|im_end|>' }}{% endfor %}"
    other += "{% if add_generation_prompt %}{{ '<|im_start|>reply:' }}{% endif %}"
    with pytest.raises(DataError, match="renders a conversation differently"):
        rendered(with_template(CHATML, other))


def test_a_template_that_writes_no_generation_prompt_is_refused():
    silent = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}{% endfor %}"
    with pytest.raises(DataError, match="renders a conversation differently"):
        rendered(with_template(CHATML, silent))


def test_a_template_that_opens_a_thought_gets_it_closed_in_training_and_chat():
    thinking = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    thinking += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n' }}{% endif %}"
    tokenizer = with_template(MODELS["qwen3"], thinking)
    found = rendered(tokenizer)
    assert trained_texts(tokenizer, found) == [TALK[1].content, TALK[3].content]
    assert_each_reply_follows_what_chat_sends(tokenizer, TALK, found.examples, [1, 3])
    sent = tokenizer.render_text(TALK[:1], add_generation_prompt=True)
    assert sent.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_thoughts_that_a_person_wrote_stay_text():
    tokenizer = chat_model("qwen3")
    talk = (Message("user", "Hm?"), Message("assistant", "<think>\nno\n</think>\n\nYes."))
    found = rendered(tokenizer, talk)
    [text] = trained_texts(tokenizer, found)
    assert text.replace("\u2060", "") == talk[1].content
    assert found.faults[1].reason.endswith("(control tokens) of the model in the text: 2")
    assert_each_reply_follows_what_chat_sends(tokenizer, talk, found.examples, [1])


def test_a_template_that_looks_for_words_is_followed_where_they_occur():
    shouting = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{{ m.content | upper if '/loud' in m.content else m.content }}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer = with_template(CHATML, shouting)
    talk = (Message("user", "say it /loud"), Message("assistant", "quietly"))
    labeller = Labeller(tokenizer)
    [found] = labeller.label([Script(talk, frozenset({1}))])
    assert labeller.is_short, "only this conversation takes the long way"
    assert "SAY IT /LOUD" in tokenizer.decode(found.whole.ids)
    assert tuple(found.whole.ids) == tokenizer.render(talk, add_generation_prompt=False)


def test_a_template_that_changes_contents_unseen_is_found_out_by_comparing():
    secretive = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{{ m.content | upper if m.content | length > 40 else m.content }}{{ '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    tokenizer = with_template(CHATML, secretive)
    labeller = Labeller(tokenizer)
    plain, odd = ((Message("user", text), Message("assistant", "yes")) for text in ("a", "long " * 10 + "is long"))
    scripts = [Script(talk, frozenset({1})) for talk in [plain] * 70 + [odd] * 70]
    found = labeller.label(scripts)
    assert not labeller.is_short
    expected = list(tokenizer.render(odd, add_generation_prompt=False))
    assert [piece.whole.ids for piece in found[-70:]] == [expected] * 70, "also those before the one compared"
    conversations = [Conversation(script.messages, f"a.json:{row}") for row, script in enumerate(scripts, start=1)]
    rendered = render_all(conversations, tokenizer, character=LILA, settings=RenderSettings("Ada", 512))
    said = [fault for item in rendered for fault in item.faults]
    assert [(fault.path, fault.row, fault.action) for fault in said] == [
        ("a.json", 0, "conversations rendered in full from here on")
    ]


def test_white_space_around_a_message_takes_the_long_way_and_is_exact():
    for name in ("smollm2", "llama-3", "llama-2", "phi-3"):
        tokenizer = chat_model(name)
        talk = (Message("user", "  Hi \n"), Message("assistant", "\n\n Yes. "), *TALK)
        found = rendered(tokenizer, talk)
        assert_each_reply_follows_what_chat_sends(tokenizer, talk, found.examples, [1, 3, 5])


def test_many_conversations_of_all_shapes_give_what_each_gives_alone():
    tokenizer = chat_model("qwen2.5")
    conversations = [
        Conversation((*TALK * (number % 4), *TALK[: 2 + 2 * (number % 2)]), f"many.json:{number + 1}")
        for number in range(300)
    ]
    options = RenderSettings("Ada", 220)
    together = list(render_all(conversations, tokenizer, character=LILA, settings=options))
    assert [found.source for found in together] == [conversation.source for conversation in conversations]
    for conversation, found in zip(conversations[::37], together[::37], strict=True):
        alone = render(conversation, tokenizer, character=LILA, settings=options)
        assert (alone.examples, alone.faults) == (found.examples, found.faults)


def test_what_the_template_does_not_carry_is_said_once_for_the_file():
    tokenizer = chat_model("gemma-2")
    conversations = [Conversation(TALK, f"a.json:{row}") for row in (1, 2)]
    first, second = render_all(conversations, tokenizer, character=LILA, settings=RenderSettings("Ada", 4096))
    assert [(fault.path, fault.row, fault.action) for fault in first.faults] == [
        ("a.json", 0, "folded into the first user message")
    ]
    assert second.faults == ()


def test_one_conversation_that_the_template_refuses_is_left_out_and_the_others_stay():
    tokenizer = chat_model("gemma-2")
    twice = (Message("user", "a"), Message("assistant", "b"), Message("assistant", "c"))
    conversations = [Conversation(TALK, "a.json:1"), Conversation(twice, "a.json:2"), Conversation(TALK, "a.json:3")]
    found = list(render_all(conversations, tokenizer, character=LILA, settings=RenderSettings("Ada", 4096)))
    assert [len(item.examples) for item in found] == [1, 0, 1]
    [fault] = found[1].faults
    assert fault.action == "left out" and "take turns" in fault.reason


@pytest.mark.parametrize("vocabulary", [gpt2_bytes, tiktoken_bytes])
def test_a_header_that_ends_in_newlines_is_split_as_chat_splits_it(vocabulary):
    blank = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n\n' + m.content + '<|im_end|>\n\n' }}{% endfor %}"
    blank += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n\n' }}{% endif %}"
    tokenizer = with_template(ChatModel("blank", vocabulary, CHATML.control, CHATML.eos), blank)
    found = rendered(tokenizer)
    assert_each_reply_follows_what_chat_sends(tokenizer, TALK, found.examples, [1, 3])
    assert trained_texts(tokenizer, found) == [TALK[1].content, TALK[3].content]
