"""`duologue train --from-feedback` from the command line: a run like any other, shown before, gone on with after."""

import contextlib
import json
import threading

import pytest

from duologue.chat import Sessions, load_folder_character, slug
from duologue.chat.feedback import Feedback
from duologue.config import load_config
from duologue.messages import Correction, Message, Opinion, Preference
from duologue.train import find_adapter, list_runs
from tests.train.test_feedback import a_run


def asked(number):
    return (Message("user", f"Question {number}?"),)


FEEDBACK = Feedback(
    preferences=tuple(Preference(asked(n), f"Answer {n}.", f"No answer {n} at all.", f"swipe {n}") for n in range(9)),
    opinions=(Opinion(asked(3), "Answer.", True, "like 3"),),
    corrections=(Correction(asked(4), "Dunno.", "Answer number 4.", "edit 4"),),
)


class After(threading.Event):
    """Is set once it was asked so many times."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def is_set(self):
        self.times -= 1
        return self.times < 0


@pytest.fixture
def give(monkeypatch):
    """Sets what the chats say."""

    def given(feedback):
        monkeypatch.setattr("duologue.chat.collect_feedback", lambda _folder, _config, **_more: feedback)

    given(FEEDBACK)
    return given


@pytest.fixture
def trained(duologue, folder):
    """A folder with a finished run."""
    ended = duologue("train", folder, "--no-eval", "--json")
    assert ended.exit_code == 0, ended.err
    return folder


def test_feedback_makes_a_run_like_any_other_and_tells_where_it_comes_from(duologue, trained, give):
    ended = duologue("train", trained, "--from-feedback", "--no-eval", "--json", "--set", "feedback.num_epochs=1")
    assert ended.exit_code == 0, ended.err
    document = ended.json["feedback"]
    assert document["method"] == "dpo" and document["started_from"] == list_runs(trained)[0].name
    assert (document["num_corrected_replies"], document["num_pairs"]) == (1, 10)
    assert document["held_out_loss_after"] == pytest.approx(document["held_out_loss_before"], rel=0.05)
    run, _ = find_adapter(trained)
    assert run.name == list_runs(trained)[1].name
    manifest, data = run.read("manifest.json"), run.read("data.json")
    assert manifest["started_from"] == list_runs(trained)[0].name
    assert manifest["num_steps"] == ended.json["plan"]["settings"]["max_steps"]
    assert set(manifest["plan_versus_actual"]) == {"tokens_per_second", "train_minutes", "memory_gib"}
    assert len(data["feedback"]["pieces"]) == 11 and data["files"], "what was learned, and the data that was measured"
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["name"] == "step"]
    assert "reward_margin" in steps[-1] and "reward_margin" not in steps[0], "corrections come first"


@pytest.mark.slow
def test_the_feedback_is_shown_by_kind_before_it_is_learned(duologue, trained, give):
    [run] = list_runs(trained)
    shown = duologue("train", trained, "--from-feedback", "--no-eval", "--set", "feedback.num_epochs=1")
    assert f"going on from run {run.name}" in shown.out
    for words in ("1 corrected replies", "10 pairs", "1 single replies", "duologue feedback list", "held-out"):
        assert words in " ".join(shown.out.split())


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_the_feedback_it_began_with(duologue, trained, give, monkeypatch):
    @contextlib.contextmanager
    def stopped_soon():
        yield After(9)

    arguments = ("train", trained, "--from-feedback", "--no-eval", "--json")
    with monkeypatch.context() as patch:
        patch.setattr("duologue.cli.train_feedback.stop_on_signals", stopped_soon)
        stopped = duologue(*arguments)
    assert stopped.exit_code == 7 and "--resume" in stopped.out + stopped.err
    assert duologue(*arguments, "--resume", "--start", "x").exit_code == 2
    changed = duologue(*arguments, "--resume", "--set", "feedback.beta=0.3")
    assert changed.exit_code == 2 and "feedback.beta" in changed.out + changed.err
    give(Feedback(preferences=FEEDBACK.preferences[1:], opinions=(), corrections=()))
    gone = duologue(*arguments, "--resume")
    assert gone.exit_code == 2 and "swipe 0" in gone.out + gone.err
    later = Preference(asked(1), "Something new.", "Something else.", "swipe 99")
    more = {"preferences": (*FEEDBACK.preferences, later), "opinions": FEEDBACK.opinions}
    give(Feedback(**more, corrections=FEEDBACK.corrections))
    ended = duologue("train", trained, "--resume", "--no-eval", "--json")  # it knows itself what kind of run it is
    assert ended.exit_code == 0, ended.err
    run, _ = find_adapter(trained)
    events = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
    steps = [event["step"] for event in events if event["name"] == "step"]
    assert steps == list(range(1, run.read("manifest.json")["num_steps"] + 1)), "none lost and none done twice"


def test_what_cannot_be_is_refused_before_anything_is_begun(duologue, folder, tiny_model, give):
    a_run(folder, base=tiny_model)
    for options, words in (
        (("--from-feedback", "--num-processes", "2"), "in one process"),
        (("--from-feedback", "--engine", "fake"), "cannot learn from feedback"),
        (("--from-feedback", "--start", "2020-01-01-1"), "no finished run"),
        (("--start", "2020-01-01-1"), "starts from the base model"),
        (("--from-feedback", "--resume"), "no interrupted run"),
    ):
        ended = duologue("train", folder, "--no-eval", "--json", *options)
        assert ended.exit_code == 2 and words in ended.out + ended.err
    give(Feedback())
    ended = duologue("train", folder, "--from-feedback", "--no-eval", "--json")
    assert ended.exit_code == 3 and "no feedback to learn from" in ended.out + ended.err
    assert len(list_runs(folder)) == 1


def test_without_a_trained_adapter_there_is_nothing_to_improve(duologue, folder, give):
    ended = duologue("train", folder, "--from-feedback", "--no-eval", "--json")
    assert ended.exit_code == 2 and "nothing is trained yet" in ended.out + ended.err


def test_what_was_corrected_in_a_chat_that_agreed_is_learned_and_what_was_not_agreed_to_is_not(duologue, trained):
    config = load_config(trained / "duologue.toml")
    name = slug(load_folder_character(trained, config).name)
    with contextlib.closing(Sessions.open(trained / "chats.sqlite")) as sessions:
        for is_agreed in (True, False):
            session = sessions.create(character=name)
            for number in range(3):
                sessions.append(session, Message("user", f"Question {number}?"))
                said = Message("assistant", f"Dunno {number}.")
                reply = sessions.append(session, said, finish_reason="stop", is_generated=True)
                sessions.edit(reply, f"Answer number {number}.")
            if is_agreed:
                sessions.marks.set_consent(session, "given")

    listed = duologue("feedback", "list", trained, "--json").json
    ended = duologue("train", trained, "--from-feedback", "--no-eval", "--json", "--set", "feedback.num_pairs_needed=1")

    assert ended.exit_code == 0, ended.err
    assert len(listed["feedback"]) == 3
    document = ended.json["feedback"]
    assert (document["num_corrected_replies"], document["num_pairs"], document["method"]) == (3, 3, "dpo")
