"""Several adapters over one loaded base: each replies as if it had a model of its own."""

import gc
import threading
import weakref
from contextlib import closing
from functools import lru_cache
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from duologue.engine import Adapter, BaseModel, Sampling, Shelf
from duologue.engine.hf import several
from duologue.engine.hf.generate import HfGenerator
from duologue.engine.hf.load import load_model, load_tokenizer, quiet
from duologue.engine.hf.merge import attach
from duologue.engine.hf.several import Several, is_only_lora
from duologue.engine.shared import open_shared
from duologue.errors import EngineError
from tests.engine.made import some_examples

GREEDY = Sampling(max_new_tokens=6, temperature=0.0, repetition_penalty=1.0)
PROMPT = tuple(range(1000, 1040))
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
KINDS = {
    "all": {"r": 4, "lora_alpha": 8, "target_modules": EVERY},
    "few": {"r": 8, "lora_alpha": 64, "target_modules": ["q_proj", "v_proj"]},
    "dora": {"r": 2, "lora_alpha": 8, "target_modules": ["v_proj", "down_proj"], "use_dora": True},
    "last block": {"r": 3, "lora_alpha": 9, "target_modules": EVERY, "layers_to_transform": [1], "use_rslora": True},
}


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small are quicker on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tiny_model, tmp_path_factory):
    """Adapters with random weights, large enough to change every reply."""
    made = {}
    for number, (name, settings) in enumerate(KINDS.items()):
        torch.manual_seed(number)
        with quiet():
            model = get_peft_model(load_model(BaseModel(tiny_model)), LoraConfig(task_type="CAUSAL_LM", **settings))
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_A" in key or "lora_B" in key:
                    parameter.normal_(std=0.3)
        made[name] = tmp_path_factory.mktemp(name.replace(" ", "-"))
        with quiet():
            model.save_pretrained(made[name])
    return made


def adapter(folders, name, base):
    return None if name is None else Adapter(folders[name], base)


def logits(generator):
    with generator._seat.turn() as model, torch.inference_mode():
        return model(input_ids=torch.tensor([PROMPT])).logits


def reply(generator, ids=PROMPT, *, sampling=GREEDY):
    pieces = list(generator.stream(ids, sampling, cancel=threading.Event()))
    return "".join(piece.text for piece in pieces), pieces[-1].num_cached_tokens


@lru_cache(maxsize=1)
def tokenizer_of(base):
    return load_tokenizer(base)


def open_several(base):
    return Several(load_model(base), tokenizer_of(BaseModel(base.name)))


def alone(base, held):
    """A model that nothing else was ever put on."""
    model = load_model(base).eval()
    if held is not None:
        model = attach(model, held).get_base_model()
    return HfGenerator(model, tokenizer_of(BaseModel(base.name)))


@pytest.mark.parametrize("quantization", ["none", "nf4", pytest.param("int8", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:MatMul8bitLt")
def test_each_adapter_replies_and_scores_as_on_a_base_of_its_own(quantization, tiny_model, folders):
    base = BaseModel(tiny_model, quantization=quantization)
    names = [None, *(name for name in KINDS if not (quantization == "int8" and name == "dora"))]
    with closing(open_several(base)) as shared:
        sharing = {name: shared.generator(adapter(folders, name, base)) for name in names}
        expected = {}
        for name in names:
            own = alone(base, adapter(folders, name, base))
            expected[name] = (logits(own), reply(own)[0], own.score(some_examples(2)))
            own.close()
        assert len({score for _, _, ((score, _), *_) in expected.values()}) == len(names), "each adapter does something"
        assert len({words for _, words, _ in expected.values()}) > len(names) // 2
        for name in [*names, *reversed(names)]:
            there, words, score = expected[name]
            assert torch.equal(logits(sharing[name]), there)
            assert reply(sharing[name])[0] == words
            assert sharing[name].score(some_examples(2)) == score


def test_replies_of_several_adapters_word_by_word_in_turns_are_those_of_each_alone(tiny_model, folders):
    base = BaseModel(tiny_model)
    names = [None, *KINDS]
    with closing(open_several(base)) as shared:
        sharing = [shared.generator(adapter(folders, name, base)) for name in names]
        whole = [reply(each)[0] for each in sharing]
        streams = [each.stream(PROMPT, GREEDY, cancel=threading.Event()) for each in sharing]
        told = [""] * len(names)
        for _ in range(GREEDY.max_new_tokens + 1):
            for number, stream in enumerate(streams):
                told[number] += "".join(piece.text for piece in [next(stream, None)] if piece)
        assert told == whole


@pytest.mark.slow
def test_many_threads_at_once_get_the_replies_of_their_own_adapters(tiny_model, folders):
    base = BaseModel(tiny_model)
    with closing(open_several(base)) as shared:
        sharing = [shared.generator(adapter(folders, name, base)) for name in [None, *KINDS]]
        whole = [reply(each)[0] for each in sharing]
        told = [[] for _ in sharing]

        def talk(number):
            for _ in range(4):
                told[number].append(reply(sharing[number], PROMPT)[0])

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(len(sharing))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert told == [[words] * 4 for words in whole]


def test_each_adapter_has_its_own_cache_and_none_reads_anothers(tiny_model, folders):
    base = BaseModel(tiny_model)
    with closing(open_several(base)) as shared:
        first, second = (shared.generator(adapter(folders, name, base)) for name in ("all", "few"))
        assert reply(first) == (reply(alone(base, adapter(folders, "all", base)))[0], 0)
        words, num_cached = reply(second)
        assert num_cached == 0, "the same prompt, but keys and values of another adapter"
        assert words == reply(alone(base, adapter(folders, "few", base)))[0]
        assert reply(first)[1] == reply(second)[1] == len(PROMPT) - 1, "its own are still there"


def test_the_test_would_see_a_stale_cache(tiny_model, folders):
    base = BaseModel(tiny_model)
    with closing(open_several(base)) as shared:
        first, second = (shared.generator(adapter(folders, name, base)) for name in ("all", "few"))
        reply(first)
        right = reply(second)[0]
        second._cache, second._cached_ids = first._cache, first._cached_ids
        assert reply(second)[0] != right


def test_all_caches_together_hold_no_more_than_one_context(tiny_model, folders):
    base = BaseModel(tiny_model)  # 512 tokens
    with closing(open_several(base)) as shared:
        sharing = [shared.generator(adapter(folders, name, base)) for name in ("all", "few", "dora")]
        long = tuple(1000 + number % 500 for number in range(300))
        for each in sharing:
            reply(each, long)
        assert [each.num_cached_tokens > 0 for each in sharing] == [False, False, True]
        assert reply(sharing[0], PROMPT)[0] == reply(alone(base, adapter(folders, "all", base)))[0]
        assert [each.num_cached_tokens > 0 for each in sharing] == [True, False, True]


def test_when_memory_runs_out_the_others_caches_go_first_and_the_reply_is_right(tiny_model, folders, monkeypatch):
    base = BaseModel(tiny_model)
    with closing(open_several(base)) as shared:
        first, second = (shared.generator(adapter(folders, name, base)) for name in ("all", "few"))
        right = reply(second)[0]
        second.forget_cache()
        reply(first)
        real, fails = shared._model.forward, iter([True])

        def forward(*args, **kwargs):
            if next(fails, False):
                raise torch.OutOfMemoryError("no room")
            return real(*args, **kwargs)

        monkeypatch.setattr(shared._model, "forward", forward)
        assert reply(second)[0] == right
        assert first.num_cached_tokens == 0
        fails = iter([True] * 9)
        with pytest.raises(EngineError, match="memory ran out"):
            reply(second, PROMPT[:7])


def test_a_dropped_adapter_leaves_no_memory_behind_and_the_others_as_they_were(tiny_model, folders):
    base = BaseModel(tiny_model)
    with closing(open_several(base)) as shared:
        plain = shared.generator(None)
        words, before = reply(plain)[0], {key for key, _ in shared._model.named_parameters()}
        first, second = (shared.generator(adapter(folders, name, base)) for name in ("all", "dora"))
        said = reply(second)[0]
        reply(first)
        held = [weakref.ref(p) for key, p in shared._model.named_parameters() if first._seat.name in key]
        cache = weakref.ref(first._cache)
        assert len(held) == 28
        first.close()
        first.close()
        del first
        gc.collect()
        assert [each() for each in (*held, cache)] == [None] * 29
        assert (reply(second)[0], reply(plain)[0]) == (said, words)
        second.close()
        assert {key for key, _ in shared._model.named_parameters()} == before, "nothing is left on the base"
        again = shared.generator(adapter(folders, "dora", base))
        assert (reply(again)[0], reply(plain)[0]) == (said, words)


def spoiled(source: Path, target: Path, change) -> Path:
    target.mkdir()
    (target / "adapter_config.json").write_bytes((source / "adapter_config.json").read_bytes())
    tensors = load_file(source / "adapter_model.safetensors")
    save_file(change(tensors), target / "adapter_model.safetensors", metadata={"format": "pt"})
    return target


SPOILED = {
    "keys of another model": (
        lambda tensors: {key.replace("model.layers", "model.blocks"): value for key, value in tensors.items()},
        "no place for 28 of its matrices",
    ),
    "one matrix more": (
        lambda tensors: {**tensors, "base_model.model.model.layers.7.mlp.up_proj.lora_A.weight": torch.ones(4, 64)},
        "no place for 1 of its matrices",
    ),
    "one matrix missing": (
        lambda tensors: dict(sorted(tensors.items())[1:]),
        "nothing for 1 of its matrices, such as base_model.model.model.layers.0.mlp.down_proj.lora_A.weight",
    ),
    "another width": (
        lambda tensors: {k: torch.ones(len(v), 32) if "lora_A" in k else v for k, v in tensors.items()},
        "size mismatch|cannot be put on",
    ),
}


@pytest.mark.parametrize("has_another", [False, True])
@pytest.mark.parametrize(("change", "found"), SPOILED.values(), ids=SPOILED)
def test_keys_that_do_not_match_are_an_error_and_leave_the_base_as_it_was(
    change, found, has_another, tiny_model, folders, tmp_path
):
    base = BaseModel(tiny_model)
    wrong = Adapter(spoiled(folders["all"], tmp_path / "wrong", change), base)
    with closing(open_several(base)) as shared:
        plain = shared.generator(None)
        sharing = [plain, *([shared.generator(adapter(folders, "few", base))] if has_another else [])]
        before = [logits(each) for each in sharing]
        names = {key for key, _ in shared._model.named_parameters()}
        with pytest.raises(EngineError, match=found) as caught:
            shared.generator(wrong)
        assert caught.value.where == str(wrong.folder)
        assert {key for key, _ in shared._model.named_parameters()} == names
        assert all(torch.equal(logits(each), there) for each, there in zip(sharing, before, strict=True))
        assert (
            reply(shared.generator(adapter(folders, "all", base)))[0]
            == reply(alone(base, adapter(folders, "all", base)))[0]
        )
    with pytest.raises(EngineError, match=found):
        HfGenerator.open(base, adapter=wrong)


def test_an_adapter_that_changes_the_base_itself_is_not_shared(tiny_model, folders, tmp_path):
    base = BaseModel(tiny_model)
    assert is_only_lora(adapter(folders, "all", base))
    for number, settings in enumerate(({"modules_to_save": ["norm"]}, {"bias": "all"})):
        with quiet():
            model = get_peft_model(load_model(base), LoraConfig(task_type="CAUSAL_LM", **KINDS["few"], **settings))
            model.save_pretrained(tmp_path / str(number))
        held = Adapter(tmp_path / str(number), base)
        assert not is_only_lora(held)
        with closing(open_several(base)) as shared, pytest.raises(EngineError, match="changes weights of the base"):
            shared.generator(held)


# -------------------------------------------------------------------------------------------------------------- shelf


class Opened:
    """Counts the bases that are loaded for several."""

    def __init__(self, monkeypatch):
        self.num_loads = 0
        real = several.load_model

        def load(base):
            self.num_loads += 1
            return real(base)

        monkeypatch.setattr(several, "load_model", load)


def ids(generator):
    from duologue.messages import Message

    return generator.tokenizer.render([Message("user", "Hello there")], add_generation_prompt=True)


def test_characters_on_one_base_talk_in_turns_without_loading_anything_anew(tiny_model, folders, monkeypatch):
    base = BaseModel(tiny_model)
    opened = Opened(monkeypatch)
    with closing(Shelf(1, open_base=open_shared)) as shelf:
        lent = {name: shelf.lend("hf", base, adapter=adapter(folders, name, base)) for name in [None, *KINDS]}
        expected = {}
        for name, each in lent.items():
            own = alone(base, adapter(folders, name, base))
            expected[name] = reply(own, ids(each))[0]
            own.close()
        for _ in range(2):
            assert {name: reply(each, ids(each))[0] for name, each in lent.items()} == expected
        assert opened.num_loads == 1
        assert shelf.names() == (tiny_model,)
        assert all(shelf.is_loaded("hf", base, adapter(folders, name, base)) for name in lent)
        assert shelf.rest(timeout_seconds=5) and shelf.names() == ()
        assert reply(lent["few"], ids(lent["few"]))[0] == expected["few"]
        assert opened.num_loads == 2


def test_an_adapter_that_is_alone_is_folded_in_until_a_second_one_comes(tiny_model, folders, monkeypatch):
    base = BaseModel(tiny_model)
    opened = Opened(monkeypatch)
    with closing(Shelf(1)) as shelf:
        first = shelf.lend("hf", base, adapter=adapter(folders, "all", base))
        words = reply(first, ids(first))[0]
        assert opened.num_loads == 0
        second = shelf.lend("hf", base)
        plain = reply(second, ids(second))[0]
        assert (opened.num_loads, shelf.names()) == (1, (tiny_model,))
        assert (reply(first, ids(first))[0], reply(second, ids(second))[0]) == (words, plain)
        assert opened.num_loads == 1


@pytest.mark.slow
def test_of_many_adapters_the_one_used_longest_ago_is_taken_off(tiny_model, folders, monkeypatch):
    from duologue.engine import shelf as shelf_module

    monkeypatch.setattr(shelf_module, "_MAX_ADAPTERS", 2)
    base = BaseModel(tiny_model)
    opened = Opened(monkeypatch)
    with closing(Shelf(1)) as shelf:
        lent = {name: shelf.lend("hf", base, adapter=adapter(folders, name, base)) for name in KINDS}
        for name in ("all", "few", "all", "dora"):
            reply(lent[name], ids(lent[name]))
        held = [name for name in KINDS if shelf.is_loaded("hf", base, adapter(folders, name, base))]
        assert held == ["all", "dora"]
        assert reply(lent["few"], ids(lent["few"]))[0]
        assert opened.num_loads == 1


@pytest.mark.slow
def test_a_base_is_put_away_only_when_nobody_replies_on_it(tiny_model, folders, tmp_path, monkeypatch):
    base, other = BaseModel(tiny_model), BaseModel(tiny_model, quantization="nf4")
    Opened(monkeypatch)
    with closing(Shelf(1)) as shelf:
        first, second = (shelf.lend("hf", base, adapter=adapter(folders, name, base)) for name in ("all", "few"))
        reply(first, ids(first))
        stream = second.stream(ids(second), GREEDY, cancel=threading.Event())
        next(stream)
        third = shelf.lend("hf", other)
        waiting = threading.Thread(target=lambda: reply(third, ids(third)))
        waiting.start()
        waiting.join(2.5)  # longer than a model rests
        assert waiting.is_alive() and shelf.is_loaded("hf", base, first._key[2])
        list(stream)
        waiting.join(60)
        assert not waiting.is_alive() and not shelf.is_loaded("hf", base, first._key[2])
        assert not shelf.is_loaded("hf", base, second._key[2])


@pytest.mark.slow
def test_a_faulty_adapter_says_so_and_takes_no_place(tiny_model, folders, tmp_path, monkeypatch):
    base = BaseModel(tiny_model)
    wrong = Adapter(spoiled(folders["all"], tmp_path / "wrong", SPOILED["one matrix more"][0]), base)
    opened = Opened(monkeypatch)
    with closing(Shelf(1)) as shelf:
        first, bad = (
            shelf.lend("hf", base, adapter=adapter(folders, "few", base)),
            shelf.lend("hf", base, adapter=wrong),
        )
        for _ in range(2):
            with pytest.raises(EngineError, match="no place for 1"):
                bad.context_tokens  # noqa: B018  (it loads)
        assert shelf.names() == ()
        words = reply(first, ids(first))[0]
        with pytest.raises(EngineError, match="no place for 1"):
            bad.context_tokens  # noqa: B018  (it loads)
        assert reply(first, ids(first))[0] == words and opened.num_loads == 3
