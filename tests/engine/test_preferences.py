"""A fit on feedback: TRL's loss, exact accumulation, the reference, what is learned."""

import math
import tempfile
import warnings

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from duologue.engine import BaseModel, LikedExample, LoraSettings, PreferenceExample
from duologue.engine.hf.adapter import with_adapter
from duologue.engine.hf.attention import takes_documents
from duologue.engine.hf.load import load_model
from duologue.engine.hf.loss import Head
from duologue.engine.hf.preferences.logps import Asked, reply_logps
from duologue.engine.hf.preferences.objective import like_weights
from duologue.engine.hf.preferences.order import PhasedOrder
from duologue.engine.hf.preferences.start import put_start
from duologue.engine.hf.preferences.trl_loss import LikeLoss, PairLoss
from duologue.errors import EngineError
from tests.engine.fitting import losses, said
from tests.engine.made import a_job, some_examples
from tests.engine.preferring import a_preference_job, ids, make_start, prefer, some_likes, some_pairs


@pytest.fixture(scope="module")
def start(tiny_model, tmp_path_factory):
    return make_start(tiny_model, tmp_path_factory.mktemp("start"))


def textbook_logp(model, prompt, reply):
    """The summed log-probability of a reply, alone, from all its logits."""
    logits_TV = model(input_ids=torch.tensor([prompt + reply]), use_cache=False).logits[0].float()
    logps_TV = functional.log_softmax(logits_TV, dim=-1)
    return sum(logps_TV[len(prompt) - 1 + at, token] for at, token in enumerate(reply))


@pytest.mark.parametrize("way", ["rows", "padded", "own forward"])
def test_logps_and_their_gradients_are_those_of_each_reply_alone(start, tmp_path, way, monkeypatch):
    base = load_model(start.base)
    if way != "rows":
        monkeypatch.setattr("duologue.engine.hf.adapter.use_documents", lambda _model: "turned off")
    if way == "own forward":
        monkeypatch.setattr(
            "duologue.engine.hf.preferences.logps.find_head",
            lambda _model: Head(fault="turned off"),
        )
    model = with_adapter(base, a_job(start.base, tmp_path))
    put_start(model, start)
    assert takes_documents(model.get_base_model()) == (way == "rows")
    pairs = some_pairs(4)
    asked = [Asked(pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids)) for pair in pairs]
    weights = torch.tensor([1.0, -0.5, 2.0, 0.3, -1.0, 0.7, 0.1, 1.1])
    found = reply_logps(model.get_base_model(), asked, pad_token_id=0)
    (found * weights).sum().backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.requires_grad]
    model.zero_grad()
    flat = [(pair.prompt_ids, reply) for pair in pairs for reply in (pair.chosen_ids, pair.rejected_ids)]
    plain = torch.stack([textbook_logp(model.get_base_model(), *one) for one in flat])
    (plain * weights).sum().backward()
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-4)
    expected = [p.grad for p in model.parameters() if p.requires_grad]
    for got, want in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-5)


def test_the_loss_of_a_pair_is_the_formula_of_the_paper():
    pair = PreferenceExample(ids(1, 6), ids(2, 4), ids(3, 7), "swipe 1")
    logps = torch.tensor([-9.0, -12.0], requires_grad=True)
    loss = PairLoss(beta=0.3, sft_weight=0.5).of(pair, logps, (-10.0, -11.0))
    gain = 0.3 * ((-9.0 + 10.0) - (-12.0 + 11.0))
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(-gain)) + 0.5 * 9.0 / 4, rel=1e-5)
    loss.backward()
    share = 0.3 / (1 + math.exp(gain))
    assert logps.grad.tolist() == pytest.approx([-share - 0.5 / 4, share], rel=1e-4)


@pytest.mark.parametrize("is_liked", [True, False])
def test_the_loss_of_a_liked_reply_is_the_formula_of_the_paper(is_liked):
    like = LikedExample(ids(1, 6), ids(2, 4), is_liked, "like 1")
    logps = torch.tensor([-9.0], requires_grad=True)
    loss = LikeLoss(beta=0.3, liked_weight=1.5, disliked_weight=0.5).of(like, logps, -10.0, 0.4)
    gain = 0.3 * (1.0 - 0.4) * (1 if is_liked else -1)
    weight = 1.5 if is_liked else 0.5
    assert float(loss.detach()) == pytest.approx(weight * (1 - 1 / (1 + math.exp(-gain))), rel=1e-5)
    loss.backward()
    assert (float(logps.grad) < 0) == is_liked


@pytest.mark.slow
def test_the_first_losses_are_those_of_trls_own_trainer(start, tmp_path):
    """The same pairs, the same adapter, TRL's own forward, collator and loop."""
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast
    from trl import DPOConfig, DPOTrainer

    pairs = some_pairs(3)
    moved = with_adapter(load_model(start.base), a_job(start.base, tmp_path))
    put_start(moved, start)
    rows = [
        {"prompt_ids": list(p.prompt_ids), "chosen_ids": list(p.chosen_ids), "rejected_ids": list(p.rejected_ids)}
        for p in pairs
    ]

    class Theirs(DPOTrainer):
        def _prepare_dataset(self, dataset, *_rest):
            return dataset

        def _send_telemetry(self):
            pass

    from peft import PeftModel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = DPOConfig(
            output_dir=tempfile.gettempdir(),
            report_to="none",
            bf16=False,
            use_cpu=True,
            beta=0.1,
            max_length=None,
            loss_type=["sigmoid", "sft"],
            loss_weights=[1.0, 0.2],
            disable_tqdm=True,
            save_strategy="no",
        )
        theirs = Theirs(
            model=PeftModel.from_pretrained(load_model(start.base), str(start.folder), is_trainable=True),
            args=config,
            train_dataset=Dataset.from_list(rows),
            processing_class=PreTrainedTokenizerFast.from_pretrained(start.base.name, pad_token="<|im_end|>"),
        )
        with torch.no_grad():
            for name, parameter in theirs.model.named_parameters():
                if "lora_B.default" in name:  # away from its own reference, so that the loss is more than log 2
                    parameter.mul_(1.5)
            expected = [float(theirs.compute_loss(theirs.model, theirs.data_collator([row]))) for row in rows]
            references = [theirs.compute_ref_log_probs(theirs.model, theirs.data_collator([row])) for row in rows]
            for name, parameter in moved.named_parameters():
                if "lora_B" in name:
                    parameter.mul_(1.5)
            found = []
            for pair, (chosen, rejected) in zip(pairs, references, strict=True):
                asked = [Asked(pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids))]
                logps = reply_logps(moved.get_base_model(), asked, pad_token_id=0)
                ours = PairLoss(beta=0.1, sft_weight=0.2).of(pair, logps, (float(chosen), float(rejected)))
                found.append(float(ours))
    assert found == pytest.approx(expected, rel=1e-5)
    assert all(abs(loss - math.log(2)) > 0.01 for loss in expected)


@pytest.mark.parametrize(
    ("method", "examples"), [("dpo", some_pairs(9)), pytest.param("kto", some_likes(9), marks=pytest.mark.slow)]
)
def test_how_a_step_is_cut_into_micro_batches_changes_nothing(start, tmp_path, method, examples):
    cut = {"max_steps": 3, "weight_decay": 0.0}
    cut |= {"method": method, "num_replayed_per_step": 3}
    whole = a_preference_job(start, tmp_path / "a", micro_batch_size=4, gradient_accumulation_steps=1, **cut)
    single = a_preference_job(start, tmp_path / "b", micro_batch_size=1, gradient_accumulation_steps=4, **cut)
    _, events, adapter = prefer(whole, examples, replayed=some_examples(5))
    _, other_events, other = prefer(single, examples, replayed=some_examples(5))
    assert losses(events) == pytest.approx(losses(other_events), rel=1e-4)
    norms = [[values["grad_norm"] for values in said(found, "step")] for found in (events, other_events)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3), "the last step of the epoch has one example, not four"
    assert norms[0][0] > 0
    assert adapter.keys() == other.keys()


@pytest.mark.parametrize(
    ("method", "examples"), [("dpo", some_pairs(8)), pytest.param("kto", some_likes(8), marks=pytest.mark.slow)]
)
def test_the_policy_begins_as_its_reference_and_moves_towards_what_was_liked(start, tmp_path, method, examples):
    job = a_preference_job(start, tmp_path, method=method, max_steps=12, learning_rate=1e-2, sft_weight=0.0)
    result, events, adapter = prefer(job, examples)
    steps = said(events, "step")
    assert steps[0]["reward_margin"] == pytest.approx(0.0, abs=1e-4)
    if method == "dpo":
        assert losses(events)[0] == pytest.approx(math.log(2), rel=1e-4)
    else:
        assert 0.5 <= losses(events)[0] <= 0.5 * max(like_weights(examples)), "half of each weight"
    assert steps[-1]["reward_margin"] > 0.05 and steps[-1]["reward_accuracy"] >= 0.75
    before = load_file(start.folder / "adapter_model.safetensors")
    assert any(not torch.equal(adapter[name], before[name]) for name in before)
    assert result.num_steps == 12 and result.reload_max_difference < 1e-3


def test_corrected_replies_are_learned_first_and_held_out_loss_is_measured_before_the_first_step(start, tmp_path):
    corrections, pairs = some_examples(3), some_pairs(5)
    job = a_preference_job(start, tmp_path, num_sft_steps=2, max_steps=4, eval_every_steps=4)
    _, events, _ = prefer(job, (*corrections, *pairs), validation=some_examples(2))
    steps = said(events, "step")
    assert ["reward_margin" in values for values in steps] == [False, False, True, True]
    assert [event.step for event in events if event.name == "evaluated"] == [0, 4]


@pytest.mark.parametrize(
    ("method", "examples"), [("dpo", some_pairs(4)), pytest.param("kto", some_likes(4), marks=pytest.mark.slow)]
)
def test_the_loss_of_a_step_is_that_of_its_feedback_and_the_weighted_one_of_what_it_replays(
    start, tmp_path, method, examples
):
    replayed, steps = some_examples(3), {"max_steps": 1, "sft_weight": 0.0}
    again = {"num_replayed_per_step": 3, "replay_weight": 0.7}
    alone = a_preference_job(start, tmp_path / "alone", method=method, **steps)
    plain = a_preference_job(start, tmp_path / "plain", method="sft", num_sft_steps=1, **steps)
    both = a_preference_job(start, tmp_path / "both", method=method, **again, **steps)
    [of_feedback], [of_replay], [found] = (
        losses(prefer(job, learned, replayed=more)[1])
        for job, learned, more in ((alone, examples, ()), (plain, replayed, ()), (both, examples, replayed))
    )
    assert found == pytest.approx(of_feedback + 0.7 * of_replay, rel=1e-4)
    assert of_replay > 0.1

    corrected = a_preference_job(start, tmp_path / "corrected", method="sft", num_sft_steps=1, **again, **steps)
    mixed = losses(prefer(corrected, some_examples(2), replayed=replayed)[1])
    everything = a_preference_job(start, tmp_path / "every", method="sft", num_sft_steps=1, **steps, micro_batch_size=5)
    assert mixed == pytest.approx(losses(prefer(everything, (*some_examples(2), *replayed))[1]), rel=1e-4)


def test_what_is_replayed_stands_behind_the_feedback_of_every_step_and_comes_round_in_turn():
    order = PhasedOrder(
        [5, 9, 30, 20, 7, 8, 6], num_corrected=2, num_replayed=3, num_sft_steps=1, batch_size=2, replay_size=2, seed=1
    )
    batches = [order.batch(step) for step in range(4)]
    assert [sorted(batch[:2]) for batch in batches[:2]] == [[0, 1], [2, 3]]
    replayed = [place for batch in batches for place in batch[2:]]
    assert sorted(replayed[:3]) == sorted(replayed[3:]) == [4, 5, 6]


def test_the_phases_of_the_order_do_not_mix():
    order = PhasedOrder([5, 9, 7, 30, 20, 10, 40], num_corrected=3, num_sft_steps=4, batch_size=2, seed=1)
    batches = [order.batch(step) for step in range(8)]
    assert all(place < 3 for batch in batches[:4] for place in batch)
    assert sorted(place for batch in batches[:2] for place in batch) == [0, 1, 2]
    assert sorted(place for batch in batches[4:6] for place in batch) == [3, 4, 5, 6]


def test_the_rarer_kind_of_opinion_counts_as_much_as_the_other():
    likes = some_likes(9)
    liked, disliked = like_weights(likes)
    num = sum(like.is_liked for like in likes)
    assert liked * num == pytest.approx(disliked * (9 - num))
    assert like_weights([like for like in likes if like.is_liked]) == (1.0, 1.0)


def test_an_adapter_of_another_shape_is_refused(start, tmp_path):
    job = a_preference_job(start, tmp_path, lora=LoraSettings(rank=8, alpha=8))
    with pytest.raises(EngineError, match="another shape"):
        prefer(job, some_pairs(4))


def test_a_step_that_is_not_a_number_names_the_feedback_and_updates_nothing(start, tmp_path, monkeypatch):
    pairs = some_pairs(4)
    plain = PairLoss.of

    def broken(self, example, logps, reference):
        loss = plain(self, example, logps, reference)
        return loss * float("nan") if example.source == "swipe 2" else loss

    monkeypatch.setattr(PairLoss, "of", broken)
    with pytest.raises(EngineError, match="nothing was updated") as found:
        prefer(a_preference_job(start, tmp_path), pairs)
    assert found.value.where == "swipe 2"


@pytest.mark.slow
@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_a_quantised_base_learns_from_pairs_too(tiny_model, tmp_path, quantization):
    start = make_start(tiny_model, tmp_path / "start", quantization=quantization)
    assert start.base == BaseModel(tiny_model, quantization=quantization)
    job = a_preference_job(start, tmp_path / "run", max_steps=16, learning_rate=5e-3, sft_weight=0.0)
    _, events, _ = prefer(job, some_pairs(4))
    assert said(events, "step")[-1]["reward_margin"] > 0.02
