"""Models that are broken on purpose are seen by the measure that is there for it."""

from duologue.characters import Character
from duologue.config import make_config
from duologue.engine.fake import FakeGenerator
from duologue.evaluate.case import Case
from duologue.evaluate.evaluators import load_evaluator
from duologue.evaluate.observe import Opener, Subject, Work, observe
from duologue.evaluate.observed import Known
from duologue.messages import Conversation, Message

BASE = "bundled:smollm2-135m"
CHARACTER = Character("Mira", description="Mira keeps a lighthouse on a rocky island.")
QUESTIONS = (
    ("What is the capital of France?", "The capital of France is Paris."),
    ("How many days are in a week?", "There are seven days in a week."),
    ("Which colour is the sky on a clear day?", "On a clear day the sky is blue."),
    ("What do bees make?", "Bees make honey from the nectar of flowers."),
    ("Where do fish live?", "Fish live in water, in rivers, lakes and seas."),
    ("What falls from clouds?", "Rain falls from clouds, and snow when it is cold."),
    ("What do we use a key for?", "We use a key to open and close a lock."),
    ("When does the sun rise?", "The sun rises in the morning, in the east."),
)


def config():
    return make_config({"model": {"base": BASE}, "data": {"train": ["a.json"]}}, where="test")


def known():
    rows = tuple(
        Conversation((Message("user", asked), Message("assistant", said)), source=f"a.json:{row}")
        for row, (asked, said) in enumerate(QUESTIONS, start=1)
    )
    return Known(config(), CHARACTER, train=rows, validation=rows)


def named(measures, name):
    return next(measure for measure in measures if measure.name == name and not measure.part)


def cases():
    return tuple(
        Case(f"a.json:{row}", "held_out", (asked,), references=(said,), source=f"a.json:{row}")
        for row, (asked, said) in enumerate(QUESTIONS, start=1)
    )


def talked(reply):
    work = Work(config=config(), character=CHARACTER, cases=cases(), seeds=(0, 1), max_new_tokens=120)
    subject = Subject("m", {}, Opener("fake", lambda: FakeGenerator(reply=reply)))
    return observe(work, subject, which="tuned", on_event=lambda _: None)


def test_a_loop_is_seen_by_the_measures_of_loops():
    sound = talked("Well, {message} That is a fine thing to ask a keeper of lamps.")
    looping = talked("the tide and the lamp and " * 30)
    measures = load_evaluator("loops").measure(known(), sound, looping)
    for name in ("character.loops", "character.longest_repeat"):
        assert named(measures, name).verdict == "worse", name
    same = load_evaluator("loops").measure(known(), sound, sound)
    assert named(same, "character.loops").verdict != "worse"


def test_a_model_that_speaks_for_the_user_is_seen_by_that_measure():
    sound = talked("A fine thing to ask a keeper of lamps.")
    broken = talked("A fine thing to ask.\nUser: And what about the sea?\nMira: It is wide.")
    measures = load_evaluator("user_speech").measure(known(), sound, broken)
    assert named(measures, "character.speaks_for_user").verdict == "worse"
