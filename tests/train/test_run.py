"""The run folder: its ledger, resuming, the lock, and planned against measured."""

import json
import math
import os
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import date

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from duologue.characters import Character
from duologue.config import load_config
from duologue.data import load_splits, make_examples, measure
from duologue.engine import Event, Hardware, open_trainer
from duologue.engine.fake import FakeTokenizer, FakeTrainer
from duologue.errors import ConfigError, EngineError, InterruptedRun
from duologue.plan import CalibrationTarget, Measured, known_facts, load_calibration, make_plan
from duologue.train import (
    ReplyRecord,
    Run,
    find_adapter,
    list_runs,
    load_resumable,
    make_job,
    new_run,
    newest_unfinished,
    read_history,
    run,
    sample_request,
    training_lock,
)

TODAY = date(2026, 11, 22)
MACHINE = Hardware(gpus=(), num_cores=2, ram_bytes=2**34, ram_free_bytes=2**34, disk_free_bytes=2**36, cpu_gflops=100.0)


@pytest.fixture
def folder(tmp_path):
    rows = [{"instruction": f"Question {n}?", "output": f"Answer number {n}."} for n in range(24)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "duologue.toml").write_text(
        '[model]\nbase = "bundled:smollm2-135m"\n[data]\ntrain = ["a.json"]\nvalidation_fraction = 0.2\n'
        "[training]\nmax_steps = 8\nmicro_batch_size = 2\ngradient_accumulation_steps = 2\neval_every_steps = 4\n"
    )
    return tmp_path


class PlausibleTrainer(FakeTrainer):
    """The fake with the memory of a real run; its own few kilobytes are too absurd to be learned from."""

    def fit(self, *args, **kwargs):
        return replace(super().fit(*args, **kwargs), peak_memory_bytes=2 * 2**30)


LILA = Character("Lila", description="A night conductor.")


def train(folder, *, into=None, plan=None, stop_after=None, events=None, calibrates=None, trainer=None, character=None):
    """Run the fake engine on a folder."""
    config = load_config(folder / "duologue.toml")
    splits = load_splits(config, folder)
    trainer = trainer or open_trainer("fake")
    facts = known_facts(config.model.base)
    examples = make_examples(splits, trainer.tokenizer(None), config, Character("Lila"))
    stats = measure(examples.train, examples.validation)
    should_stop = threading.Event()

    def on_event(event):
        if events is not None:
            events.append(event)
        if event.name == "step" and event.step == stop_after:
            should_stop.set()

    return run(
        into or new_run(folder, today=TODAY),
        config,
        config_text=(folder / "duologue.toml").read_text(),
        plan=plan or make_plan(config, stats, facts, MACHINE),
        examples=examples,
        stats=stats,
        account=splits.account,
        trainer=trainer,
        on_event=on_event,
        should_stop=should_stop,
        calibrates=calibrates,
        character=character,
    )


def account_of(folder):
    config = load_config(folder / "duologue.toml")
    return config, load_splits(config, folder).account


def test_a_finished_run_leaves_the_whole_ledger(folder):
    result = train(folder)
    names = {path.name for path in result.run.folder.iterdir()}
    assert names >= {
        "duologue.toml",
        "resolved.json",
        "data.json",
        "plan.json",
        "events.jsonl",
        "tensorboard",
        "checkpoints",
        "adapter",
        "manifest.json",
    }
    assert (result.run.folder / "duologue.toml").read_text() == (folder / "duologue.toml").read_text()
    data = result.run.read("data.json")
    assert data["num_conversations"] == 24 and len(data["files"][0]["sha256"]) == 64
    manifest = result.run.read("manifest.json")
    assert manifest["num_steps"] == 8 and manifest["base"]["name"] == "bundled:smollm2-135m"


def test_planned_and_measured_stand_side_by_side(folder):
    result = train(folder)
    versus = result.plan_versus_actual
    assert set(versus) == {"tokens_per_second", "train_minutes", "memory_gib"}
    plan = result.run.read("plan.json")
    assert versus["train_minutes"]["plan"] == pytest.approx(plan["time"]["train_minutes"])
    seconds = sum(record.seconds for record in read_history(result.run).steps)
    assert versus["train_minutes"]["actual"] == pytest.approx(seconds / 60)


def test_each_measure_carries_the_interval_that_the_plan_gave(folder):
    versus = train(folder).plan_versus_actual
    for name, pair in versus.items():
        assert 0 <= pair["low"] < pair["plan"] < pair["high"], name
    assert versus["tokens_per_second"]["high"] / versus["tokens_per_second"]["low"] == pytest.approx(
        versus["train_minutes"]["high"] / versus["train_minutes"]["low"]
    ), "speed and minutes are uncertain by the same share"


def test_a_finished_run_is_kept_for_the_next_plan_and_an_interrupted_one_is_not(folder, tmp_path):
    target = CalibrationTarget(tmp_path / "state" / "calibration.json", "host", "2026-11-22")
    with pytest.raises(InterruptedRun):
        train(folder, stop_after=6, calibrates=target)
    assert not target.path.exists()
    found, plan = load_resumable(folder, *account_of(folder))
    result = train(folder, into=found, plan=plan, calibrates=target, trainer=PlausibleTrainer())
    (entry,) = load_calibration(target.path).entries
    versus = result.plan_versus_actual["tokens_per_second"]
    assert entry.speed_ratio == pytest.approx(versus["actual"] / versus["plan"])
    assert entry.kind.device == "CPU with 2 cores" and entry.kind.host == "host"
    assert entry.num_steps == 8 and entry.model == "bundled:smollm2-135m"
    assert "from 1 run on this machine" in result.learned
    assert result.run.read("manifest.json")["learned"] == result.learned == result.as_json()["learned"]


def test_a_calibration_file_that_cannot_be_written_does_not_lose_the_run(folder, tmp_path):
    (tmp_path / "taken").write_text("a file where a folder should be")
    target = CalibrationTarget(tmp_path / "taken" / "calibration.json", "host", "2026-11-22")
    result = train(folder, calibrates=target, trainer=PlausibleTrainer())
    assert "cannot be written" in result.learned
    assert result.run.is_finished


def test_the_fake_engine_teaches_the_planner_nothing(folder, tmp_path):
    target = CalibrationTarget(tmp_path / "calibration.json", "host", "2026-11-22")
    assert "was not kept" in train(folder, calibrates=target).learned
    assert not target.path.exists()


def test_the_next_plan_is_nearer_to_what_the_machine_does(folder, tmp_path):
    target = CalibrationTarget(tmp_path / "calibration.json", "host", "2026-11-22")
    config = load_config(folder / "duologue.toml")
    splits = load_splits(config, folder)
    examples = make_examples(splits, open_trainer("fake").tokenizer(None), config, Character("Lila"))
    stats = measure(examples.train, examples.validation)
    ratios = []
    for _ in range(3):
        measured = Measured("host", load_calibration(target.path))
        plan = make_plan(config, stats, known_facts(config.model.base), MACHINE, measured=measured)
        result = train(folder, plan=plan, calibrates=target, trainer=PlausibleTrainer())
        pair = result.plan_versus_actual["tokens_per_second"]
        ratios.append(abs(math.log(pair["actual"] / pair["plan"])))
    assert ratios[0] > 2 * ratios[1] > 2 * ratios[2]


def test_events_are_written_as_lines_and_as_tensorboard_curves(folder):
    events = []
    result = train(folder, events=events)
    history = read_history(result.run)
    assert [record.step for record in history.steps] == list(range(1, 9))
    assert [step for step, _ in history.validation] == [4, 8]
    assert [event.values["loss"] for event in events if event.name == "step"] == [r.loss for r in history.steps]
    board = EventAccumulator(str(result.run.folder / "tensorboard"))
    board.Reload()
    curve = board.Scalars("train/loss")
    assert [point.step for point in curve] == list(range(1, 9))
    assert [point.value for point in curve] == pytest.approx([r.loss for r in history.steps], rel=1e-5)


def test_an_interrupted_run_is_found_and_goes_on_with_its_own_plan(folder):
    with pytest.raises(InterruptedRun):
        train(folder, stop_after=3)
    assert find_adapter(folder) is None
    config, account = account_of(folder)
    found, plan = load_resumable(folder, config, account)
    assert json.loads(json.dumps(plan.as_json())) == found.read("plan.json")
    events = []
    result = train(folder, into=found, plan=plan, events=events)
    assert next(event.step for event in events if event.name == "step") == 4
    assert [record.step for record in read_history(result.run).steps] == list(range(1, 9)), "both parts count"
    assert newest_unfinished(folder) is None
    assert find_adapter(folder)[0] == result.run


def test_a_changed_configuration_or_changed_data_is_shown_and_not_resumed(folder):
    with pytest.raises(InterruptedRun):
        train(folder, stop_after=3)
    toml = (folder / "duologue.toml").read_text()
    (folder / "duologue.toml").write_text(toml + "learning_rate = 0.5\n")
    with pytest.raises(ConfigError, match=r"training.learning_rate: 0.0002 -> 0.5"):
        load_resumable(folder, *account_of(folder))
    (folder / "duologue.toml").write_text(toml)
    rows = json.loads((folder / "a.json").read_text())
    (folder / "a.json").write_text(json.dumps(rows[:-1]))
    with pytest.raises(ConfigError, match=r"data file .*a.json"):
        load_resumable(folder, *account_of(folder))


def test_nothing_to_resume_is_said(folder):
    with pytest.raises(ConfigError, match="no interrupted run"):
        load_resumable(folder, *account_of(folder))
    train(folder)
    with pytest.raises(ConfigError, match="no interrupted run"):
        load_resumable(folder, *account_of(folder))


def test_runs_are_numbered_per_day_and_listed_in_order(folder):
    for _ in range(11):
        new_run(folder, today=TODAY)
    new_run(folder, today=date(2026, 11, 23))
    for name in ("2026-11-23-1 (copy)", "2026-11-23-good", "2026-11-23-"):
        (folder / "runs" / name).mkdir()  # put there by a person
    names = [item.name for item in list_runs(folder)]
    assert names == [*(f"2026-11-22-{n}" for n in range(1, 12)), "2026-11-23-1"]
    assert new_run(folder, today=date(2026, 11, 23)).name == "2026-11-23-2"


def test_a_changed_adapter_file_is_refused(folder):
    result = train(folder)
    file = result.run.folder / "adapter" / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(EngineError, match="was changed since the run ended"):
        find_adapter(folder)


def test_a_line_cut_short_in_the_event_log_is_left_out(folder):
    result = train(folder)
    log = result.run.folder / "events.jsonl"
    log.write_text(log.read_text() + '{"name": "step", "st')
    assert len(read_history(result.run).steps) == 8


def test_the_ledger_is_written_whole_or_not_at_all(tmp_path):
    item = Run(tmp_path)
    item.write("x.json", {"a": 1})
    with pytest.raises(TypeError):
        item.write("x.json", {"a": object()})
    assert item.read("x.json") == {"a": 1}
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(EngineError, match="ledger"):
        item.read("x.json")


def test_a_second_training_is_refused_and_a_dead_one_leaves_no_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from duologue.train import training_lock\n"
        f"with training_lock(Path({str(tmp_path)!r})):\n    print('locked', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout is not None
    assert process.stdout.readline() == b"locked\n"
    with pytest.raises(ConfigError, match=f"process {process.pid} is training this character"), training_lock(tmp_path):
        pass
    process.kill()
    process.communicate()
    with training_lock(tmp_path):
        pass


@pytest.mark.parametrize(("line", "length"), [("", 0), ("packing = true\n", 256)])
def test_packing_asks_the_engine_for_rows_of_the_longest_example(folder, line, length):
    toml = folder / "duologue.toml"
    toml.write_text(toml.read_text().replace("[training]\n", f"max_length_tokens = 256\n[training]\n{line}"))
    config = load_config(toml)
    stats = measure_of(folder, config)
    facts = known_facts(config.model.base)
    plan = make_plan(config, stats, facts, MACHINE)
    assert make_job(config, plan, folder).pack_length_tokens == length


def measure_of(folder, config):
    splits = load_splits(config, folder)
    trainer = open_trainer("fake")
    sets = make_examples(splits, trainer.tokenizer(None), config, Character("Lila"))
    return measure(sets.train, sets.validation)


class TalkativeTrainer(FakeTrainer):
    """The fake, with what a real engine says besides: a reply, a spike, a change, the best step."""

    def fit(self, job, train, validation, *, on_event, should_stop):
        def louder(event):
            if event.name == "step" and event.step == 3:
                event = replace(event, values={**event.values, "is_spike": True})
            on_event(event)
            if event.name == "evaluated":
                values = {"prompt": "Hello/hi?", "text": "Good evening.\nTicket?", "faults": "does not end"}
                on_event(Event("reply", event.step, values))

        result = super().fit(job, train, validation, on_event=louder, should_stop=should_stop)
        on_event(Event("best", 8, {"kept_step": 4, "validation_loss": 1.5}))
        return replace(result, changes=("from step 2 on: micro-batches of 1",), fast_path=("attention: exact",))


def test_replies_spikes_changes_and_the_kept_step_are_in_the_ledger_and_on_the_board(folder):
    result = train(folder, trainer=TalkativeTrainer())
    history, manifest = read_history(result.run), result.run.read("manifest.json")
    assert history.replies[0] == ReplyRecord(4, "Hello/hi?", "Good evening.\nTicket?", "does not end")
    assert [record.step for record in history.steps if record.is_spike] == [3]
    assert (history.kept_step, history.kept_loss) == (4, 1.5)
    assert manifest["changes"] == ["from step 2 on: micro-batches of 1"] == result.as_json()["changes"]
    assert manifest["fast_path"] == ["attention: exact"]
    assert manifest["kept_step"] == 4 and manifest["num_loss_spikes"] == 1
    board = EventAccumulator(str(result.run.folder / "tensorboard"))
    board.Reload()
    assert [point.step for point in board.Scalars("train/spike")] == [3]
    assert [point.step for point in board.Scalars("validation/loss")] == [4, 8], "the best one has its point already"
    texts = board.Tensors("replies/Hello hi?/text_summary")
    assert [point.step for point in texts] == [4, 8]
    assert b"> Good evening.\n> Ticket?" in texts[0].tensor_proto.string_val[0]


def test_every_setting_of_the_adapter_and_the_optimizer_reaches_the_engine(folder):
    toml = folder / "duologue.toml"
    toml.write_text(
        toml.read_text()
        + 'optimizer = "paged_adamw_8bit"\nneftune_alpha = 5\nadapter_dtype = "bfloat16"\ncompile = true\n'
        + 'early_stopping_patience = 3\nearly_stopping_on = "replies"\n'
        + '[lora]\nuse_rslora = true\nuse_dora = true\ninit_weights = "pissa"\nlr_ratio = 16\n'
    )
    config = load_config(toml)
    plan = make_plan(config, measure_of(folder, config), known_facts(config.model.base), MACHINE)
    job = make_job(config, plan, folder)
    assert (job.optimizer, job.neftune_alpha, job.adapter_dtype) == ("paged_adamw_8bit", 5.0, "bfloat16")
    assert (job.use_compile, job.early_stopping_patience, job.early_stopping_on) == (True, 3, "replies")
    lora = job.lora
    assert (lora.use_rslora, lora.use_dora, lora.init_weights, lora.lr_ratio) == (True, True, "pissa", 16.0)


def test_sampled_replies_are_asked_as_chat_asks_and_tell_who_speaks(folder):
    config = load_config(folder / "duologue.toml")
    tokenizer = FakeTokenizer()
    found = sample_request(config, LILA, tokenizer)
    assert [prompt for prompt, _ in found.prompts] == list(config.evaluation.prompts[:2])
    text = tokenizer.decode(found.prompts[0][1])
    assert "A night conductor." in text and config.evaluation.prompts[0] in text
    assert found.max_new_tokens == config.generation.max_new_tokens
    assert found.user_marks == ("User:",), "a header of control tokens and a plain word marks nothing"


class PlainTokenizer(FakeTokenizer):
    """Headers as plain text, which a model that forgets to stop goes on to write."""

    def render_text(self, messages, *, add_generation_prompt):
        headers = {"system": "### System:", "user": "### Instruction:", "assistant": "### Response:"}
        return "".join(f"{headers[message.role]}\n{message.content}\n\n" for message in messages)


def test_a_header_of_plain_text_tells_a_reply_that_speaks_for_the_user(folder):
    config = load_config(folder / "duologue.toml")
    assert sample_request(config, LILA, PlainTokenizer()).user_marks == ("User:", "### Instruction:")


@pytest.mark.parametrize(
    ("section", "line", "words"),
    [
        ("lora", "use_rslora = true", "lora.use_rslora: False -> True"),
        ("lora", "lr_ratio = 16", "lora.lr_ratio: 1.0 -> 16.0"),
        ("training", 'optimizer = "adamw_8bit"', "training.optimizer: 'auto' -> 'adamw_8bit'"),
        ("training", "neftune_alpha = 5", "training.neftune_alpha: 0.0 -> 5.0"),
        ("training", "early_stopping_patience = 2", "training.early_stopping_patience: 0 -> 2"),
        ("character", 'persona = "A sailor."', "character.persona: '' -> 'A sailor.'"),
        ("data", 'near_duplicates = "drop"', "data.near_duplicates: 'keep' -> 'drop'"),
        ("training", "num_checkpoints = 5", ""),
        ("training", "num_sample_replies = 0", ""),
        ("character", 'author_note = "It rains."', ""),
        ("generation", "temperature = 0.1", ""),
    ],
)
def test_each_changed_key_that_decides_something_is_shown_and_others_do_not_matter(folder, section, line, words):
    with pytest.raises(InterruptedRun):
        train(folder, stop_after=3)
    toml = folder / "duologue.toml"
    text = toml.read_text()
    header = f"[{section}]\n"
    toml.write_text(text.replace(header, header + line + "\n") if header in text else f"{text}{header}{line}\n")
    if not words:
        assert load_resumable(folder, *account_of(folder))
        return
    with pytest.raises(ConfigError) as caught:
        load_resumable(folder, *account_of(folder))
    assert words in caught.value.found and caught.value.found.count("->") == 1


def test_a_run_of_an_older_version_without_a_key_had_its_default(folder):
    with pytest.raises(InterruptedRun):
        train(folder, stop_after=3)
    [interrupted] = list_runs(folder)
    resolved = interrupted.read("resolved.json")
    for section, key in (("training", "neftune_alpha"), ("lora", "use_dora"), ("data", "user_names")):
        del resolved[section][key]
    interrupted.write("resolved.json", resolved)
    assert load_resumable(folder, *account_of(folder))[0] == interrupted


def test_a_changed_character_card_is_shown(folder):
    with pytest.raises(InterruptedRun):
        train(folder, stop_after=3, character=LILA)
    assert load_resumable(folder, *account_of(folder), LILA)
    with pytest.raises(ConfigError, match=r"character card, system: .*night conductor.* -> .*lighthouse keeper"):
        load_resumable(folder, *account_of(folder), replace(LILA, description="A lighthouse keeper."))


def test_a_full_disk_under_the_event_log_says_what_to_do(folder):
    class FullTrainer(FakeTrainer):
        def fit(self, *args, on_event, **kwargs):
            on_event(Event("loading", values={"base": "x"}))
            raise OSError(28, "No space left on device")

    with pytest.raises(EngineError, match=r"cannot be written \(No space left on device\)") as caught:
        train(folder, trainer=FullTrainer())
    assert "--resume" in caught.value.action
