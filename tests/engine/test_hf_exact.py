"""The quick ways are exact: rows without padding, shared beginnings, chunks of logits, fused layers."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GraniteConfig,
    GraniteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PhiConfig,
    PhiForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)
from transformers import MistralForCausalLM as Mistral

from duologue.engine import BaseModel, Example, LoraSettings
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.attention import takes_documents, use_documents
from duologue.engine.hf.batches import collate, collate_packed
from duologue.engine.hf.fused import num_fused
from duologue.engine.hf.load import quiet
from duologue.engine.hf.loss import Head, find_head, head_loss, summed_loss
from duologue.engine.hf.rows import as_row
from tests.engine.made import a_job, some_examples

CPU = torch.device("cpu")
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 1024,
    "max_position_embeddings": 128,
}
MODELS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES)),
    "llama with biases": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, attention_bias=True, mlp_bias=True)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)),
    "mistral with a window": lambda: Mistral(MistralConfig(**SIZES, sliding_window=12)),
    "gemma2 with softcaps": lambda: Gemma2ForCausalLM(
        Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=0.5, attn_implementation="eager")
    ),
    "cohere with scaled logits": lambda: CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.25)),
    "granite with scaled logits": lambda: GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=4.0)),
    "phi with a biased projection": lambda: PhiForCausalLM(PhiConfig(**SIZES)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=1024, n_positions=128)),
}
SHARED = tuple(range(300, 320))


def alike(count):
    """Examples that begin with the same twenty tokens, as those of one character do."""
    return [Example(SHARED + e.input_ids, (-100,) * 20 + e.labels, e.source) for e in some_examples(count)]


@pytest.fixture(autouse=True)
def one_thread():
    """Models this small are quicker on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    torch.manual_seed(0)
    made = MODELS[request.param]()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            parameter.mul_(3) if parameter.ndim > 1 else parameter.normal_(1.0 if "norm" in name else 0.0, 0.2)
    return made.eval()


def plain_loss(model, examples):
    """The loss as the textbook has it: each example alone, all its logits, the mean undone."""
    total = torch.zeros(())
    for example in examples:
        logits_TV = model(input_ids=torch.tensor([example.input_ids]), use_cache=False).logits[0].float()
        total = total + functional.cross_entropy(
            logits_TV[:-1], torch.tensor(example.labels[1:]), reduction="sum", ignore_index=-100
        )
    return total


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(found, expected, *, relative=2e-4):
    scale = max(float(gradient.abs().max()) for gradient in expected.values())
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert float((found[name] - gradient).abs().max()) <= relative * scale, name


@pytest.mark.parametrize("makes", [some_examples, alike])
@pytest.mark.parametrize("way", ["padded", "packed"])
def test_loss_and_gradients_are_those_of_each_example_alone(model, makes, way):
    examples = makes(5)
    expected_loss = plain_loss(model, examples)
    expected = gradients(model, expected_loss)
    use_documents(model)
    batch = collate(examples, pad_token_id=0, device=CPU) if way == "padded" else collate_packed(examples, device=CPU)
    loss = summed_loss(model, batch)
    torch.testing.assert_close(loss, expected_loss, rtol=2e-5, atol=1e-4)
    assert_same(gradients(model, loss), expected)


def test_models_are_taken_apart_where_it_is_exact(model, request):
    head = find_head(model)
    name = request.node.callspec.params["model"]
    assert head.fault == ""
    assert head.softcap == (0.5 if "gemma2" in name else 0.0)
    assert head.scale == (0.25 if "scaled" in name else 1.0)
    use_documents(model)
    assert takes_documents(model) == ("gemma2" not in name)


def test_a_model_whose_logits_are_something_else_goes_through_its_own_forward():
    made = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    made.lm_head.register_forward_hook(lambda _module, _inputs, output: output)
    plain = made.forward

    def doubled(*args, **settings):
        output = plain(*args, **settings)
        output.logits = output.logits * 2 + 1
        return output

    made.forward = doubled
    assert "not its projection" in find_head(made).fault
    examples = some_examples(3)
    loss = summed_loss(made, collate(examples, pad_token_id=0, device=CPU))
    torch.testing.assert_close(loss, plain_loss(made, examples), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("head", [Head(), Head(softcap=2.0), Head(scale=0.3), Head(scale=3.0, softcap=1.5)])
@pytest.mark.parametrize("is_trained", [False, True])
def test_chunks_of_logits_give_the_loss_and_gradients_of_all_at_once(head, is_trained):
    torch.manual_seed(1)
    projection = torch.nn.Linear(16, 200).requires_grad_(is_trained)
    hidden = torch.randn(37, 16, requires_grad=True)
    labels = torch.randint(0, 200, (37,))
    logits = projection(hidden) * head.scale
    logits = head.softcap * torch.tanh(logits / head.softcap) if head.softcap else logits
    expected = functional.cross_entropy(logits, labels, reduction="sum")
    wanted = torch.autograd.grad(expected * 0.5, [hidden, *(projection.parameters() if is_trained else ())])
    loss = head_loss(projection, hidden, labels, head=head, chunk=8)
    found = torch.autograd.grad(loss * 0.5, [hidden, *(projection.parameters() if is_trained else ())])
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-5)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_adapted_projection_is_trained_through_chunks(tmp_path):
    torch.manual_seed(0)
    with quiet():
        made = get_peft_model(
            LlamaForCausalLM(LlamaConfig(**SIZES)), LoraConfig(r=2, target_modules=["lm_head", "q_proj"])
        )
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    base = made.get_base_model()
    examples = some_examples(4)
    expected_loss = plain_loss(base, examples)
    expected = gradients(made, expected_loss)
    loss = summed_loss(base, collate(examples, pad_token_id=0, device=CPU))
    torch.testing.assert_close(loss, expected_loss, rtol=1e-5, atol=1e-4)
    assert_same(gradients(made, loss), expected)
    assert any("lm_head" in name for name in expected)


def test_logits_of_one_chunk_live_at_a_time():
    made = LlamaForCausalLM(LlamaConfig(**{**SIZES, "vocab_size": 30_000})).requires_grad_(False)
    made.get_input_embeddings().weight.requires_grad_(True)
    made.lm_head.weight = torch.nn.Parameter(made.lm_head.weight.detach().clone(), requires_grad=False)
    use_documents(made)
    find_head(made)
    examples = [Example(tuple(range(1, 121)), tuple(range(1, 121)), "x")] * 6
    largest = 0
    plain = functional.linear

    def watched(x, weight, bias=None):
        nonlocal largest
        if weight.shape[0] == 30_000:
            largest = max(largest, x.shape[0])
        return plain(x, weight, bias)

    functional.linear = watched
    try:
        summed_loss(made, collate_packed(examples, device=CPU)).backward()
    finally:
        functional.linear = plain
    assert 0 < largest <= 2**25 // (4 * 30_000) < 6 * 119


def test_an_equal_beginning_stands_in_a_row_once_and_ends_before_the_first_target():
    examples = alike(4)
    row = as_row(collate_packed(examples, device=CPU), shares_beginnings=True)
    assert row.ids.shape[1] == sum(example.num_tokens for example in examples) - 3 * 20
    assert [document.num_shared for document in row.documents] == [0, 20, 20, 20]
    targets = [Example((*SHARED, 1, 2), (*SHARED[:1], *(-100,) * 11, *SHARED[12:], 1, 2), "x") for _ in range(2)]
    early = [Example(e.input_ids, (-100,) * 12 + e.labels[12:], "x") for e in targets]
    row = as_row(collate_packed(early, device=CPU), shares_beginnings=True)
    assert [document.num_shared for document in row.documents] == [0, 11], "the twelfth token predicts a target"


def test_examples_of_two_characters_share_with_their_own_kind_only():
    other = [Example((7,) * 12 + e.input_ids, (-100,) * 12 + e.labels, "x") for e in some_examples(2)]
    mixed = [alike(2)[0], other[0], alike(2)[1], other[1]]
    row = as_row(collate(mixed, pad_token_id=0, device=CPU), shares_beginnings=True)
    assert [document.num_shared for document in row.documents] == [0, 20, 0, 12]
    assert sum(int((row.labels == label).sum()) for label in set(row.labels[0].tolist()) - {-100}) == sum(
        example.num_trained_tokens for example in mixed
    )


@pytest.mark.parametrize(
    "name", ["llama", "llama with biases", "qwen2", "mistral with a window", "granite with scaled logits"]
)
def test_fused_layers_give_what_peft_gives(name, tmp_path):
    examples = alike(4)
    batch = collate(examples, pad_token_id=0, device=CPU)
    results = []
    for is_fused in (False, True):
        torch.manual_seed(5)
        made = MODELS[name]().requires_grad_(False)
        if is_fused:
            made = with_adapter(made, a_job(BaseModel("x"), tmp_path, lora=LoraSettings(rank=4, alpha=8)))
        else:
            config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
            with quiet():
                made = get_peft_model(made, config)
        torch.manual_seed(6)
        with torch.no_grad():
            for key, parameter in made.named_parameters():
                if "lora_" in key:
                    parameter.normal_(0, 0.3)
        loss = summed_loss(made.get_base_model(), batch)
        results.append((loss.detach(), gradients(made, loss)))
        if is_fused:
            counts = num_fused(made.get_base_model())
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-5, atol=1e-4)
    assert_same(results[1][1], results[0][1])
    assert counts["linear"] == 2 * 7
    assert counts["norm"] == 5 and counts["gate"] == 2


def test_a_disabled_adapter_leaves_the_base(tmp_path):
    torch.manual_seed(0)
    plain = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    ids = torch.tensor([some_examples(1)[0].input_ids])
    with torch.no_grad():
        expected = plain(input_ids=ids).logits
    made = with_adapter(plain.requires_grad_(False), a_job(BaseModel("x"), tmp_path)).eval()
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.3)
        assert float((made(input_ids=ids).logits - expected).abs().max()) > 0.01
        with made.disable_adapter():
            torch.testing.assert_close(made(input_ids=ids).logits, expected, rtol=1e-5, atol=1e-5)
        merged = made.merge_and_unload()
        assert float((merged(input_ids=ids).logits - expected).abs().max()) > 0.01
