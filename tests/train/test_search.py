"""The search: finds a known optimum, ends losers early, goes on after it was killed, keeps to its time."""

import gc
import json
import math
import random
import threading
import weakref
from statistics import mean
from types import SimpleNamespace

import pytest

from duologue.config import make_config
from duologue.data import DataStats
from duologue.engine import Event, Example, Hardware
from duologue.errors import DataError, EngineError, InterruptedRun, PlanError
from duologue.plan import known_facts, make_plan
from duologue.train.search import (
    Axis,
    Budget,
    Predictions,
    Space,
    Study,
    TrialMaker,
    best_of,
    halves,
    make_space,
    read_records,
    run_search,
    set_lines,
    start_of,
    with_settings,
)

RATE, RANK, EPOCHS = "training.learning_rate", "lora.rank", "training.num_epochs"
BEST_RATE = 7e-4
SPACE = Space(
    (Axis(RATE, 2e-5, 2e-3), Axis(RANK, values=(4, 8, 16, 32)), Axis(EPOCHS, values=(1.0, 2.0, 3.0))),
    {RATE: 2e-4, RANK: 16, EPOCHS: 1.0},
)


def true_loss(settings):
    """A bowl in the logarithm of the rate, with its ground at one rate, the highest rank and the most epochs."""
    away = math.log10(settings[RATE] / BEST_RATE)
    return 2.0 + away**2 + 0.02 * (5 - math.log2(settings[RANK])) + 0.05 * (3 - settings[EPOCHS])


class Clock:
    """Seconds that pass when a trial says so."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Bowl:
    """Trials whose result is known; each look costs a quarter of its seconds."""

    def __init__(self, clock, *, seconds=10.0, end_in=0, loss=true_loss):
        self.clock, self.seconds, self.end_in, self.loss = clock, seconds, end_in, loss
        self.done, self.looks = [], 0

    def __call__(self, settings, watch):
        self.done.append(settings)
        watch.max_steps = 40
        for place in range(1, 5):
            if len(self.done) == self.end_in and place == 2:
                raise SystemExit("killed")
            self.clock.now += self.seconds / 4
            self.looks += 1
            watch.look(10 * place, self.loss(settings) + 1 / place, place=place, is_last=place == 4)
            if place < 4 and watch.is_set():
                raise InterruptedRun("stopped")
        return self.loss(settings) + 0.25


def search(folder, bowl, *, seconds=1e9, num=0, seed=0, space=SPACE, should_stop=None, reserve=0.0, planned=10.0):
    told = []
    records = run_search(
        folder,
        Study(folder, space, seed=seed),
        bowl,
        predictions=Predictions(seconds=lambda _: planned, seed=seed),
        budget=Budget(folder, seconds=seconds, clock=bowl.clock),
        reserve_seconds=reserve,
        max_trials=num,
        should_stop=should_stop or threading.Event(),
        on_trial=told.append,
    )
    return records, told


def test_the_settings_as_they_are_are_tried_first_and_unrounded(tmp_path):
    space = Space((Axis(RATE, 1e-5, 1e-2), *SPACE.axes[1:]), {RATE: 1.23456e-4, RANK: 8, EPOCHS: 2.0})
    records, _ = search(tmp_path, Bowl(Clock()), num=2, space=space)
    assert records[0].settings == {RATE: 1.23456e-4, RANK: 8, EPOCHS: 2.0}
    assert records[1].settings != records[0].settings


def test_it_finds_a_better_minimum_than_chance_with_as_many_trials(tmp_path):
    found, by_chance = [], []
    for seed in range(3):
        records, _ = search(tmp_path / str(seed), Bowl(Clock()), num=24, seed=seed)
        found.append(best_of(records).loss - 0.25)
        rng = random.Random(seed)
        drawn = [
            {
                RATE: 10 ** rng.uniform(math.log10(2e-5), math.log10(2e-3)),
                RANK: rng.choice((4, 8, 16, 32)),
                EPOCHS: rng.choice((1.0, 2.0, 3.0)),
            }
            for _ in range(24)
        ]
        by_chance.append(min(map(true_loss, drawn)))
    ground = true_loss({RATE: BEST_RATE, RANK: 32, EPOCHS: 3.0})
    assert mean(found) < mean(by_chance)
    assert mean(found) - ground < 0.05


def test_losers_are_ended_before_their_last_step_and_the_winner_never_is(tmp_path):
    bowl = Bowl(Clock())
    records, told = search(tmp_path, bowl, num=16)
    ended = [record for record in records if record.state == "ended early"]
    finished = [record for record in records if record.state == "finished"]
    assert len(ended) >= 3 and len(finished) >= 3
    assert bowl.looks < 4 * 16
    assert all(record.loss is None and len(record.points) < 4 for record in ended)
    assert mean(true_loss(one.settings) for one in ended) > mean(true_loss(one.settings) for one in finished)
    assert best_of(records).loss == min(record.loss for record in finished)
    assert tuple(told) == records == read_records(tmp_path)


def test_a_killed_search_goes_on_with_the_same_study_and_does_the_killed_trial_again(tmp_path):
    clock = Clock()
    first = Bowl(clock, end_in=4)
    with pytest.raises(SystemExit):
        search(tmp_path, first, num=8)
    journal = tmp_path / "journal.log"
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 5, "wor')  # the line that was being written
    second = Bowl(clock)
    records, _ = search(tmp_path, second, num=8)
    killed = [record for record in records if record.state == "interrupted"]
    assert [record.number for record in killed] == [4]
    assert second.done[0] == first.done[3] == killed[0].settings
    assert [record.settings for record in records][:3] == first.done[:3]
    assert sum(record.state != "interrupted" for record in records) == 8


def test_what_is_tried_does_not_depend_on_interruptions(tmp_path):
    whole, _ = search(tmp_path / "whole", Bowl(Clock()), num=7)
    search(tmp_path / "parts", Bowl(Clock()), num=3)
    parts, _ = search(tmp_path / "parts", Bowl(Clock()), num=7)
    assert [record.settings for record in parts] == [record.settings for record in whole]


def test_ctrl_c_ends_the_search_and_the_trial_comes_again(tmp_path):
    should_stop = threading.Event()
    clock = Clock()

    class Stopping(Bowl):
        def __call__(self, settings, watch):
            if len(self.done) == 1:
                should_stop.set()
            return super().__call__(settings, watch)

    stopping = Stopping(clock)
    with pytest.raises(InterruptedRun, match="trial 2"):
        search(tmp_path, stopping, num=5, should_stop=should_stop)
    again = Bowl(clock)
    records, _ = search(tmp_path, again, num=5)
    assert again.done[0] == stopping.done[1]
    assert [record.state for record in records].count("interrupted") == 1


def test_the_settings_as_they_are_are_found_in_the_trial_that_was_done_again_for_them(tmp_path):
    clock = Clock()
    with pytest.raises(SystemExit):
        search(tmp_path, Bowl(clock, end_in=1), num=6)
    records, _ = search(tmp_path, Bowl(clock), num=6)
    assert records[0].state == "interrupted"
    assert start_of(records[:1], SPACE.start) is None
    found = start_of(records, SPACE.start)
    assert (found.number, found.settings, found.loss) == (2, SPACE.start, true_loss(SPACE.start) + 0.25)
    assert start_of(read_records(tmp_path), SPACE.start) == found, "from the disk too"


def test_time_that_was_used_before_an_interruption_counts(tmp_path):
    clock = Clock()
    with pytest.raises(SystemExit):
        search(tmp_path, Bowl(clock, end_in=2), seconds=60)
    assert Budget(tmp_path, seconds=60, clock=clock).left == pytest.approx(47.5, abs=5.1)
    records, _ = search(tmp_path, Bowl(clock), seconds=60)
    assert sum(record.seconds for record in records) <= 60
    assert 4 <= sum(record.state != "interrupted" for record in records) <= 12


def test_no_trial_is_begun_that_cannot_be_over_in_time_going_by_those_before(tmp_path):
    clock = Clock()
    search(tmp_path, Bowl(clock, seconds=20, loss=lambda _: 2.0), seconds=75, reserve=5, planned=10)
    assert clock.now == 60, "the plan said half of what a trial takes; after the first this is known"


def test_what_must_be_left_for_the_comparison_ends_a_trial_too(tmp_path):
    clock = Clock()
    records, _ = search(tmp_path, Bowl(clock, seconds=40), seconds=50, reserve=25, planned=10)
    assert ([record.state for record in records], clock.now) == (["out of time"], 30.0)


def test_how_long_trials_take_is_told_by_those_that_were_finished(tmp_path):
    class Failing(Bowl):
        def __call__(self, settings, watch):
            if self.done:
                return super().__call__(settings, watch)
            self.done.append(settings)
            self.clock.now += 40
            raise EngineError("the disk is full")

    records, _ = search(tmp_path, Failing(Clock(), seconds=10, loss=lambda _: 2.0), seconds=60, planned=10)
    assert [record.state for record in records].count("finished") == 2


def test_a_trial_that_meets_the_end_of_the_time_is_ended_and_does_not_win(tmp_path):
    records, _ = search(tmp_path, Bowl(Clock(), seconds=30), seconds=50, planned=1)
    assert [record.state for record in records] == ["finished"]
    records, _ = search(tmp_path / "slow", Bowl(Clock(), seconds=100), seconds=50, planned=1)
    assert [record.state for record in records] == ["out of time"] and best_of(records) is None


def test_dear_values_are_left_out_when_time_is_short(tmp_path):
    study = Study(tmp_path, SPACE, seed=0)
    study.end(study.ask(lambda _: True)[0], 1.0)
    for _ in range(5):
        number, settings = study.ask(lambda settings: settings[EPOCHS] <= 2)
        assert settings[EPOCHS] <= 2
        study.end(number, 1.0)
    assert study.ask(lambda _: False) is None


def test_a_failing_trial_is_recorded_and_the_search_goes_on(tmp_path):
    class Failing(Bowl):
        def __call__(self, settings, watch):
            if settings[RANK] == 32:
                self.clock.now += 1
                raise EngineError("memory ran out", action="Use less.")
            return super().__call__(settings, watch)

    records, _ = search(tmp_path, Failing(Clock()), num=16)
    failed = [record for record in records if record.state == "failed"]
    assert failed and all("memory ran out" in record.note and record.settings[RANK] == 32 for record in failed)
    assert best_of(records) is not None


def test_when_the_first_trials_all_fail_the_search_ends_with_their_reason(tmp_path):
    def broken(settings, watch):
        raise EngineError("the model is not there")

    broken.clock = Clock()
    with pytest.raises(EngineError, match="the model is not there"):
        search(tmp_path, broken, num=20)
    assert len(read_records(tmp_path)) == 3


def test_no_time_at_all_is_refused(tmp_path):
    with pytest.raises(PlanError, match="no room"):
        search(tmp_path, Bowl(Clock()), seconds=5, reserve=6)


def test_every_trial_leaves_its_settings_seed_and_curve_as_json(tmp_path):
    search(tmp_path, Bowl(Clock()), num=1, seed=3)
    document = json.loads((tmp_path / "trials" / "0001.json").read_text())
    assert document["settings"] == SPACE.start and document["seed"] == 3 and document["state"] == "finished"
    assert [step for step, _ in document["points"]] == [10, 20, 30, 40]
    assert document["seconds"] == pytest.approx(10)


def test_the_importance_names_what_decided(tmp_path):
    study = Study(tmp_path, SPACE, seed=0)
    assert study.importance() == {}
    for _ in range(20):
        number, settings = study.ask(lambda _: True)
        study.end(number, abs(math.log10(settings[RATE] / BEST_RATE)))
    shares = study.importance()
    assert max(shares, key=shares.get) == RATE and sum(shares.values()) == pytest.approx(1)


def config_with(**keys):
    tree = {"model": {"base": "bundled:smollm2-135m"}, "data": {"train": ["a.json"]}}
    for key, value in keys.items():
        section, _, name = key.partition("__")
        tree.setdefault(section, {})[name] = value
    return make_config(tree, where="test")


def test_the_space_lies_around_the_config_and_leaves_out_ranks_that_do_not_fit():
    config = config_with(lora__rank=16, training__learning_rate=2e-4, training__num_epochs=3)
    space = make_space(config, fits=lambda settings: settings[RANK] <= 32)
    axes = {axis.key: axis for axis in space.axes}
    assert axes[RATE].low == pytest.approx(2e-5) and axes[RATE].high == pytest.approx(2e-3)
    assert axes[RANK].values == (4, 8, 16, 32)
    assert axes[EPOCHS].values == (1.0, 2.0, 3.0, 4.0)
    assert space.start == {RATE: 2e-4, RANK: 16, EPOCHS: 3.0}


def test_a_fixed_number_of_steps_leaves_the_epochs_alone():
    space = make_space(config_with(training__max_steps=40), fits=lambda _: True)
    assert [axis.key for axis in space.axes] == [RATE, RANK]


def test_alpha_keeps_its_ratio_to_the_rank_and_the_lines_to_paste_say_so():
    config = config_with(lora__rank=16, lora__alpha=32)
    after = with_settings(config, {RATE: 0.00123, RANK: 8, EPOCHS: 2.0})
    assert (after.lora.rank, after.lora.alpha) == (8, 16)
    assert set_lines(config, after) == (
        "training.learning_rate=0.00123",
        "lora.rank=8",
        "lora.alpha=16",
        "training.num_epochs=2",
    )
    again = make_config(config.model_dump(mode="json"), overrides=set_lines(config, after), where="test")
    assert again == after
    stable = with_settings(config_with(lora__rank=16, lora__alpha=32, lora__use_rslora=True), {RANK: 64})
    assert stable.lora.alpha == 32


def example(source):
    return Example((1, 2, 3), (-100, 2, 3), source)


def test_no_conversation_chooses_and_reports():
    validation = [example(f"a.json:{row // 2}") for row in range(18)]
    choosing, reporting = halves(validation, seed=1)
    assert {one.source for one in choosing} & {one.source for one in reporting} == set()
    assert sorted([*choosing, *reporting], key=lambda one: one.source) == validation
    assert len({one.source for one in choosing}) == 5 and len({one.source for one in reporting}) == 4
    assert halves(validation, seed=1) == (choosing, reporting)
    assert len({halves(validation, seed=seed) for seed in range(5)}) > 1, "the seed decides, not the order of the file"


def test_too_few_held_out_conversations_are_refused():
    with pytest.raises(DataError, match="3 conversations are held out"):
        halves([example(f"a.json:{row}") for row in range(3)], seed=0)


class Model:
    """Full of circles, as real ones are."""

    def __init__(self):
        self.itself = self


class Loading(Bowl):
    """Trials that hold a model; every third one fails in its middle."""

    def __init__(self, clock):
        super().__init__(clock)
        self.models, self.num_alive = [], []

    def __call__(self, settings, watch):
        self.num_alive.append(sum(model() is not None for model in self.models))
        model = Model()
        self.models.append(weakref.ref(model))
        if len(self.models) % 3 == 0:
            raise EngineError("memory ran out", where="step 1")
        return super().__call__(settings, watch)


def test_however_a_trial_ends_its_model_is_gone_before_the_next_one_loads_its_own(tmp_path):
    trials = Loading(Clock())
    gc.disable()  # so that nothing is collected by chance
    try:
        records, _ = search(tmp_path, trials, num=12)
    finally:
        gc.enable()
    assert {"finished", "ended early", "failed"} <= {record.state for record in records}
    assert trials.num_alive == [0] * 12


class Evaluating:
    """A trainer that learns nothing and tells of the evaluations that a job asks for."""

    def __init__(self, loss=2.0):
        self.loss = loss

    def fit(self, job, train, validation, *, on_event, should_stop):
        (job.run_folder / "checkpoints").mkdir()
        for step in range(1, job.max_steps + 1):
            if step % job.eval_every_steps == 0 or step == job.max_steps:
                on_event(Event("evaluated", step, {"validation_loss": self.loss}))
        on_event(Event("best", job.max_steps, {"validation_loss": 1.5}))


def trial(folder, max_steps, *, trainer):
    """Do a trial; return its loss and what it was looked at: step, place and whether that was the end."""
    stats = DataStats(64, 8, 64 * 100, 64 * 50, 800, 100, (100,) * 64)
    hardware = Hardware((), 2, 2**34, 2**34, 2**36, cpu_gflops=100.0)
    maker = TrialMaker(
        folder=folder,
        config=config_with(training__max_steps=max_steps),
        train=(),
        validation=(),
        stats=stats,
        trainer=trainer,
        make_plan=lambda config, stats: make_plan(config, stats, known_facts(config.model.base), hardware),
        on_event=lambda _: None,
    )
    looks = []
    watch = SimpleNamespace(number=1, max_steps=0, points=[(max_steps, 0.0)])
    watch.look = lambda step, loss, *, place, is_last: looks.append((step, place, is_last))
    loss = maker({RATE: 2e-4, RANK: 16}, watch)
    assert not (maker.run_folder(1) / "checkpoints").exists()
    return loss, looks


@pytest.mark.parametrize("max_steps", [4, 5, 6, 10, 69, 72])
def test_trials_of_any_length_are_compared_at_the_same_parts_of_their_way(tmp_path, max_steps):
    loss, looks = trial(tmp_path, max_steps, trainer=Evaluating())
    assert loss == 1.5, "that of the adapter that was kept"
    steps, places, are_last = zip(*looks, strict=True)
    assert steps[-1] == max_steps and are_last == (*[False] * (len(looks) - 1), True)
    assert len(set(places)) == len(places) and (places[0], places[-1]) == (1, 4)
    assert all(place <= 4 * step / max_steps < place + 1 for step, place in zip(steps, places, strict=True))


def test_a_trial_whose_loss_is_no_number_has_failed(tmp_path):
    with pytest.raises(EngineError, match="held-out loss is nan after step"):
        trial(tmp_path, 8, trainer=Evaluating(math.nan))
