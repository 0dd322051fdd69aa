"""What of a person's feedback is learned, from where on, and what a run on it is planned to take."""

import json
from dataclasses import replace

import pytest

from duologue.config import Config
from duologue.data import FeedbackExamples, FeedbackNote
from duologue.engine import Example, Hardware, LikedExample, PreferenceExample
from duologue.errors import ConfigError, DataError, PlanError
from duologue.messages import Correction, Message, Opinion, Preference
from duologue.plan import known_facts, plan_feedback
from duologue.train import Pieces, Run, choose, feedback_config, find_start
from duologue.train.folder import file_sha256

MACHINE = Hardware(gpus=(), num_cores=2, ram_bytes=2**34, ram_free_bytes=2**34, disk_free_bytes=2**36, cpu_gflops=100.0)
BASE = "bundled:smollm2-135m"


def a_config(**sections):
    return Config.model_validate({"model": {"base": BASE}, "data": {"train": ["a.json"]}, **sections})


def feedback(*, pairs=0, likes=0, dislikes=0, corrections=0, notes=()):
    """Tokenized feedback of these numbers."""
    prompt = tuple(range(100, 130))
    return FeedbackExamples(
        corrections=tuple(Example((*prompt, n, 2), ((-100,) * 31 + (2,)), f"edit {n}") for n in range(corrections)),
        pairs=tuple(PreferenceExample(prompt, (n, 2), (n + 500, 7, 2), f"swipe {n}") for n in range(pairs)),
        likes=tuple(LikedExample(prompt, (n, 2), n < likes, f"like {n}") for n in range(likes + dislikes)),
        notes=notes,
        num_cut=0,
        num_contradictions=0,
    )


def a_run(folder, name="2026-11-22-1", *, base=BASE, lora=None):
    """A finished run with something that looks like an adapter."""
    path = folder / "runs" / name
    (path / "adapter").mkdir(parents=True)
    weights = path / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(name.encode())
    manifest = {
        "base": {
            "name": base,
            "quantization": "nf4",
            "use_double_quantization": False,
            "int8_threshold": 6.0,
            "compute_dtype": "float32",
            "trusted_code": "",
        },
        "lora": {
            "rank": 4,
            "alpha": 8,
            "dropout": 0.1,
            "target_modules": ["q_proj", "v_proj"],
            "num_layers": 0,
            "use_rslora": False,
            "use_dora": False,
            "init_weights": "default",
            "lr_ratio": 1.0,
            **(lora or {}),
        },
        "adapter_sha256": {weights.name: file_sha256(weights)},
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return Run(path)


@pytest.mark.parametrize(
    ("given", "method", "num_learned"),
    [
        ({"pairs": 8}, "dpo", 8),
        ({"pairs": 8, "likes": 9, "corrections": 2}, "dpo", 10),
        ({"likes": 6, "dislikes": 2}, "kto", 8),
        ({"likes": 8}, "kto", 8),
        ({"pairs": 3, "likes": 4}, "kto", 10),
        ({"pairs": 7, "corrections": 1}, "sft", 1),
        ({"likes": 2, "corrections": 3}, "sft", 3),
    ],
)
def test_the_method_follows_from_what_there_is(given, method, num_learned):
    chosen = choose(feedback(**given), a_config())
    assert chosen.method == method and len(chosen.examples) == num_learned
    assert chosen.num_corrected == given.get("corrections", 0)
    assert all(isinstance(example, Example) for example in chosen.examples[: chosen.num_corrected])


def test_what_is_not_learned_is_said():
    chosen = choose(feedback(pairs=9, likes=4), a_config())
    assert chosen.unused == ("4 single replies that were liked or not: feedback.method = dpo has no use",)
    few = choose(feedback(pairs=3, corrections=2), a_config())
    assert few.unused == ("3 pairs: fewer than feedback.num_pairs_needed = 8",)
    document = choose(feedback(likes=6, dislikes=2), a_config()).as_json()
    assert (document["num_liked"], document["num_disliked"], document["num_pairs"]) == (6, 2, 0)


def test_a_method_that_was_asked_for_is_taken_however_little_there_is():
    assert len(choose(feedback(pairs=1), a_config(feedback={"method": "dpo"})).examples) == 1
    assert choose(feedback(pairs=9, corrections=1), a_config(feedback={"method": "sft"})).num_corrected == 1
    with pytest.raises(DataError, match="nothing of that kind"):
        choose(feedback(corrections=1), a_config(feedback={"method": "dpo"}))


def test_nothing_to_learn_from_says_what_was_left_out():
    notes = tuple(FeedbackNote(f"swipe {n}", "both replies are the same", "left out") for n in range(7))
    with pytest.raises(DataError, match=r"swipe 0: both replies are the same.*2 more") as found:
        choose(feedback(notes=notes), a_config())
    assert found.value.exit_code == 3 and "duologue feedback list" in found.value.action


def test_a_run_goes_on_with_the_feedback_it_was_started_with_and_no_other():
    question = (Message("user", "When?"),)
    first, second = (Preference(question, "At nine.", f"No {n}.", f"swipe {n}") for n in range(2))
    opinion, correction = Opinion(question, "Now.", True, "like 1"), Correction(question, "No.", "Yes.", "edit 1")
    started = Pieces((first,), (opinion,), (correction,))
    digests = json.loads(json.dumps(started.digests()))
    assert Pieces((second, first), (opinion,), (correction,)).only(digests) == started
    with pytest.raises(ConfigError, match="gone or was changed: swipe 0"):
        Pieces((second,), (opinion,), (correction,)).only(digests)
    with pytest.raises(ConfigError, match="gone or was changed: edit 1"):
        Pieces((first,), (opinion,), (replace(correction, reply="Maybe."),)).only(digests)


def test_the_start_is_the_newest_finished_run_or_the_one_that_is_named(tmp_path):
    with pytest.raises(ConfigError, match="nothing is trained yet"):
        find_start(tmp_path)
    for name in ("2026-11-22-1", "2026-11-22-2"):
        a_run(tmp_path, name)
    (tmp_path / "runs" / "2026-11-22-3").mkdir()
    assert find_start(tmp_path)[0].name == "2026-11-22-2"
    assert find_start(tmp_path, "2026-11-22-1")[0].name == "2026-11-22-1"
    with pytest.raises(ConfigError, match="no finished run '2026-11-22-3'") as found:
        find_start(tmp_path, "2026-11-22-3")
    assert "2026-11-22-1, 2026-11-22-2" in found.value.needed


def test_base_and_adapter_are_those_of_the_start_and_chance_is_off(tmp_path):
    config = a_config(
        lora={"rank": 64, "dropout": 0.3},
        training={"packing": True, "neftune_alpha": 5.0, "early_stopping_patience": 3, "max_steps": 7},
    )
    own = feedback_config(config, a_run(tmp_path))
    assert (own.model.quantization, own.model.use_double_quantization) == ("nf4", False)
    assert (own.lora.rank, own.lora.alpha, own.lora.dropout, own.lora.num_layers) == (4, 8, 0.0, "all")
    assert own.lora.target_modules == ("q_proj", "v_proj")
    training = own.training
    assert (training.packing, training.neftune_alpha, training.early_stopping_patience) == (False, 0.0, 0)
    assert (training.max_steps, training.learning_rate) == ("auto", config.feedback.learning_rate)


def test_a_start_that_began_with_pissa_is_a_plain_adapter_of_twice_the_rank(tmp_path):
    own = feedback_config(a_config(), a_run(tmp_path, lora={"init_weights": "pissa"}))
    assert (own.lora.rank, own.lora.alpha, own.lora.init_weights) == (8, 16, "default")
    both = a_run(tmp_path, "2026-11-22-2", lora={"init_weights": "pissa", "use_rslora": True})
    with pytest.raises(ConfigError, match="PiSSA and rsLoRA"):
        feedback_config(a_config(), both)


def test_a_start_on_another_base_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="was trained on 'other'"):
        feedback_config(a_config(), a_run(tmp_path, base="other"))


@pytest.mark.parametrize(
    ("key", "was", "is_refused"),
    [
        ("run.seed", 0, False),
        ("run.seed", 4, True),
        ("data.validation_fraction", 0.05, True),  # more is held out now: some of it was trained on
        ("data.validation_fraction", 0.3, False),  # a part of what the start held out
        ("data.near_duplicates", "drop", True),
        ("data.user_names", ["Sam"], True),
        ("data.max_length_tokens", 64, False),  # moves no conversation
    ],
)
def test_a_start_that_was_trained_on_what_is_held_out_now_is_refused(tmp_path, key, was, is_refused):
    start = a_run(tmp_path)
    resolved = a_config().model_dump(mode="json")
    section, _, name = key.partition(".")
    resolved[section][name] = was
    (start.folder / "resolved.json").write_text(json.dumps(resolved))
    if not is_refused:
        feedback_config(a_config(), start)
        return
    with pytest.raises(ConfigError, match="held out now") as found:
        feedback_config(a_config(), start)
    assert key in found.value.found and "Restore" in found.value.action


def planned(given, *, machine=MACHINE, train=(), **sections):
    config = a_config(**{"training": {"num_epochs": 2}, **sections})
    chosen = choose(feedback(**given), config, train=train)
    work = chosen.work((), replay_fraction=config.feedback.replay_fraction)
    return plan_feedback(config, work, known_facts(BASE), machine)


def test_steps_are_planned_for_each_phase_and_the_start_reads_everything_once():
    plan, num_sft_steps = planned({"corrections": 5, "pairs": 20})
    assert plan.settings.micro_batch_size * plan.settings.gradient_accumulation_steps == 8
    assert num_sft_steps == 2 and plan.settings.max_steps == 2 + 6
    assert any("reads everything once" in line for line in plan.assumptions)
    assert any(r.setting == "max_steps" and "2 passes over 5 corrected" in r.why for r in plan.reasons)
    alone, _ = planned({"pairs": 20})
    assert alone.settings.max_steps == 6 and alone.time.train_minutes < plan.time.train_minutes


def test_single_replies_take_longer_than_their_tokens_say():
    """Each step reads them with another prompt too, for the divergence."""
    kto, _ = planned({"likes": 20, "dislikes": 4})
    per_token = kto.time.train_minutes * 60 / kto.time.num_tokens
    sft, _ = planned({"corrections": 24})
    assert per_token > 1.1 * sft.time.train_minutes * 60 / sft.time.num_tokens


def test_what_is_learned_again_is_drawn_from_the_data_counted_and_part_of_the_plan():
    data = tuple(Example((5, 6, 7, 8) * 5, (5, 6, 7, 8) * 5, f"rides.json:{n}") for n in range(60))
    config = a_config(feedback={"replay_fraction": 0.5, "num_epochs": 3})
    chosen = choose(feedback(pairs=20), config, train=data)
    assert len(chosen.replayed) == len(set(chosen.replayed)) == 30 and chosen.as_json()["num_replayed"] == 30
    assert chosen.replayed == choose(feedback(pairs=20), config, train=data).replayed
    other = a_config(feedback={"replay_fraction": 0.5, "num_epochs": 3}, run={"seed": 8})
    assert chosen.replayed != choose(feedback(pairs=20), other, train=data).replayed
    assert len(choose(feedback(pairs=20), config, train=data[:4]).replayed) == 4, "no more than there are"

    alone, _ = planned({"pairs": 20}, train=data, feedback={"replay_fraction": 0})
    again, _ = planned({"pairs": 20}, train=data, feedback={"replay_fraction": 2})
    assert again.settings.max_steps == alone.settings.max_steps
    assert again.time.train_minutes > 1.5 * alone.time.train_minutes
    assert any("learns 16 examples of the character's own data again" in line for line in again.assumptions)


def test_a_budget_shortens_both_phases():
    whole, _ = planned({"corrections": 80, "pairs": 200})
    cut, num_sft_steps = planned(
        {"corrections": 80, "pairs": 200}, budget={"max_minutes": whole.time.train_minutes / 2}
    )
    assert 0 < num_sft_steps < 20 and cut.settings.max_steps < whole.settings.max_steps


def test_a_run_that_cannot_fit_is_refused():
    with pytest.raises(PlanError, match="GiB at least"):
        planned({"pairs": 20}, machine=replace(MACHINE, ram_free_bytes=2**28))
