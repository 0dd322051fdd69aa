"""The real bundled model: loaded, quantised, trained, generated with, merged."""

import math
import threading

import pytest
import torch
from transformers import AutoModelForCausalLM

from duologue.engine import BaseModel, Sampling, open_generator, open_trainer
from duologue.engine.bundled import bundled_file
from duologue.engine.hf.load import load_model, load_tokenizer, quiet, read_facts
from duologue.errors import DataError, EngineError
from duologue.messages import Message
from duologue.plan import known_facts
from tests.engine.made import a_job, some_examples

BUNDLED = "bundled:smollm2-135m"
GREEDY = Sampling(max_new_tokens=12, temperature=0, repetition_penalty=1)


def prompt_ids(generator, text):
    messages = [Message("system", "You are a helpful assistant."), Message("user", text)]
    return generator.tokenizer.render(messages, add_generation_prompt=True)


def text_of(pieces):
    return "".join(piece.text for piece in pieces)


@pytest.fixture(scope="module")
def generator():
    opened = open_generator("hf", BaseModel(BUNDLED))
    yield opened
    opened.close()


@pytest.mark.slow
def test_our_reader_gives_the_weights_of_transformers_own(tmp_path):
    file = bundled_file(BUNDLED)
    ours = load_model(BaseModel(BUNDLED))
    with quiet():
        theirs = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
    expected = theirs.state_dict()
    assert set(expected) == set(ours.state_dict())
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert ours.config.rope_parameters == theirs.config.rope_parameters


def test_the_plan_knows_the_bundled_model_as_it_is():
    assert known_facts(BUNDLED) == read_facts(BaseModel(BUNDLED))


def test_the_bundled_model_answers_a_plain_question(generator):
    pieces = list(
        generator.stream(prompt_ids(generator, "What is the capital of France?"), GREEDY, cancel=threading.Event())
    )
    assert "Paris" in text_of(pieces)
    assert pieces[-1].finish_reason in ("stop", "length")
    assert all(piece.finish_reason is None for piece in pieces[:-1])


def test_the_same_seed_draws_the_same_reply_and_another_seed_another(generator):
    ids = prompt_ids(generator, "Tell me about the sea.")
    draws = [
        text_of(
            generator.stream(ids, Sampling(max_new_tokens=16, temperature=1.2, seed=seed), cancel=threading.Event())
        )
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_the_cache_of_an_earlier_prompt_changes_nothing(generator):
    first, second = prompt_ids(generator, "Name a colour."), prompt_ids(generator, "Name a colour of the sky.")
    fresh = text_of(generator.stream(second, GREEDY, cancel=threading.Event()))
    list(generator.stream(first, GREEDY, cancel=threading.Event()))
    assert text_of(generator.stream(second, GREEDY, cancel=threading.Event())) == fresh


def test_cancelling_ends_the_stream_with_the_next_token(generator):
    cancel = threading.Event()
    stream = generator.stream(prompt_ids(generator, "Count to fifty."), Sampling(max_new_tokens=64), cancel=cancel)
    first = next(stream)
    cancel.set()
    rest = list(stream)
    assert rest[-1].finish_reason == "cancelled"
    assert rest[-1].num_tokens <= first.num_tokens + 1


def test_a_stop_text_ends_the_reply_and_is_not_part_of_it(generator):
    ids = prompt_ids(generator, "What is the capital of France?")
    whole = text_of(generator.stream(ids, GREEDY, cancel=threading.Event()))
    word = whole.split()[3]
    stopped = list(generator.stream(ids, Sampling(12, 0, repetition_penalty=1, stop=(word,)), cancel=threading.Event()))
    assert text_of(stopped) == whole[: whole.index(word)]
    assert stopped[-1].finish_reason == "stop"


def test_a_prompt_longer_than_the_context_is_refused(generator):
    with pytest.raises(EngineError, match="longer than the context"):
        list(generator.stream([5] * 8190, Sampling(max_new_tokens=10), cancel=threading.Event()))


def test_scoring_does_not_depend_on_the_company_an_example_keeps(generator):
    examples = some_examples(5)
    together = generator.score(examples)
    alone = [generator.score([example])[0] for example in examples]
    assert [count for _, count in together] == [count for _, count in alone]
    assert [nats for nats, _ in together] == pytest.approx([nats for nats, _ in alone], rel=1e-4)
    assert len({nats for nats, _ in together}) == len(examples), "each has a score of its own"
    assert generator.score(examples[::-1]) == together[::-1]


@pytest.mark.parametrize(
    "quantization", ["none", *(pytest.param(name, marks=pytest.mark.slow) for name in ("nf4", "int8"))]
)
def test_the_bundled_model_trains_saves_and_replies_in_every_weight_format(tmp_path, quantization):
    base = BaseModel(BUNDLED, quantization=quantization)
    examples = some_examples(4)
    job = a_job(base, tmp_path, max_steps=4, micro_batch_size=4, gradient_accumulation_steps=1, save_every_steps=4)
    losses = []

    def on_event(event):
        if event.name == "step":
            losses.append(event.values["loss"])
            assert event.values["grad_norm"] > 0

    result = open_trainer("hf").fit(job, examples, (), on_event=on_event, should_stop=threading.Event())
    assert losses[-1] < losses[0]
    assert result.reload_max_difference == 0.0
    tuned = open_generator("hf", base, adapter=result.adapter)
    total, count = (sum(column) for column in zip(*tuned.score(examples), strict=True))
    assert total / count < losses[0], "the adapter is in effect when it is opened for talking"
    assert text_of(tuned.stream(prompt_ids(tuned, "Hello."), GREEDY, cancel=threading.Event()))
    tuned.close()


@pytest.mark.slow
def test_a_quantised_base_is_near_the_exact_one_and_not_equal():
    examples = some_examples(3)
    scores = {}
    for quantization in ("none", "nf4", "int8"):
        opened = open_generator("hf", BaseModel(BUNDLED, quantization=quantization))
        total, count = (sum(column) for column in zip(*opened.score(examples), strict=True))
        scores[quantization] = total / count
        opened.close()
    assert scores["nf4"] != scores["none"] != scores["int8"]
    assert scores["nf4"] == pytest.approx(scores["none"], rel=0.1)
    assert scores["int8"] == pytest.approx(scores["none"], rel=0.05)


@pytest.mark.slow
def test_a_base_in_one_gguf_file_is_merged_whole(tmp_path):
    base = BaseModel(BUNDLED, quantization="nf4")
    trainer = open_trainer("hf")
    job = a_job(base, tmp_path / "run", max_steps=1)
    adapter = trainer.fit(job, some_examples(4), (), on_event=lambda _: None, should_stop=threading.Event()).adapter
    trainer.merge(adapter, tmp_path / "merged", dtype="bfloat16", onto="trained", on_event=lambda _: None)

    (parity,) = trainer.compare(adapter, [tmp_path / "merged"], some_examples(6), ([Message("user", "x")],))

    assert parity.ids_equal
    assert parity.mean_kl_nats < 0.02
    assert parity.greedy_agreement > 0.9


def test_an_adapter_of_another_base_is_refused(tiny_model, tmp_path):
    job = a_job(BaseModel(tiny_model), tmp_path, max_steps=1)
    result = open_trainer("hf").fit(job, some_examples(4), (), on_event=lambda _: None, should_stop=threading.Event())
    with pytest.raises(EngineError, match="cannot be put on"):
        open_generator("hf", BaseModel(BUNDLED), adapter=result.adapter)


@pytest.mark.offline
def test_a_base_that_is_not_there_without_a_network_is_a_clear_error():
    for name in ("nobody/no-such-model", "no/such/folder", "missing.gguf"):
        with pytest.raises(EngineError, match="cannot be loaded") as caught:
            load_tokenizer(BaseModel(name))
        assert "bundled:smollm2-135m" in caught.value.action


def test_a_model_without_a_chat_template_is_refused(tiny_model, tmp_path):
    load_tokenizer(BaseModel(tiny_model)).save(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    with pytest.raises(EngineError, match="no chat template"):
        load_tokenizer(BaseModel(str(tmp_path)))


def test_a_template_that_refuses_the_roles_is_a_data_error(tiny_model, tmp_path):
    load_tokenizer(BaseModel(tiny_model)).save(tmp_path)
    same = "messages|length > 1 and messages[0]['role'] == messages[1]['role']"
    strict = f"{{% if {same} %}}{{{{ raise_exception('take turns') }}}}{{% endif %}}x<|im_end|>"
    (tmp_path / "chat_template.jinja").write_text(strict)
    with pytest.raises(DataError, match="take turns"):
        load_tokenizer(BaseModel(str(tmp_path))).render([Message("user", "x")] * 2, add_generation_prompt=False)


def test_perplexity_of_plain_english_is_sane(generator):
    text = "The train leaves the station at midnight and arrives in the morning."
    ids = generator.tokenizer.render([Message("system", "s"), Message("user", text)], add_generation_prompt=False)
    from duologue.engine import Example

    ((total, count),) = generator.score([Example(ids, tuple(ids), "made")])
    assert 2 < math.exp(total / count) < 500
