"""With the bundled model: what people liked better becomes likelier, on prompts that no pair came from."""

import pytest

from duologue.characters import Character
from duologue.config import Config
from duologue.data import render_feedback
from duologue.engine import NOT_TRAINED, BaseModel, Example, LoraSettings, open_generator
from duologue.engine.hf.load import load_tokenizer
from duologue.evaluate.intervals import paired_mean
from duologue.messages import Message, Preference
from tests.engine.fitting import fit, said
from tests.engine.made import a_job
from tests.engine.preferring import a_preference_job, prefer

BASE = BaseModel("bundled:smollm2-135m")
PLACES = ("harbour", "museum", "market", "library", "theatre", "bridge", "bakery", "park", "station", "garden")
SHORT = "The {0} is the third stop."
LONG = (
    "The {0} is the third stop. We pass the mill first. The rails are wet tonight, so we go slowly. Few ride this late."
)


def rendered(tokenizer, places, question):
    """Pairs about these places, the shorter reply liked better."""
    config = Config.model_validate({"model": {"base": BASE.name}, "data": {"train": ["a.json"]}})
    preferences = [
        Preference((Message("user", question.format(place)),), SHORT.format(place), LONG.format(place), place)
        for place in places
    ]
    character = Character("Ada Bell", description="Ada Bell drives the night tram.")
    found = render_feedback(
        preferences=preferences, opinions=(), corrections=(), tokenizer=tokenizer, character=character, config=config
    )
    return found.pairs


def as_examples(pairs, which):
    """One side of pairs as examples to score."""
    replies = [getattr(pair, which) for pair in pairs]
    return [
        Example((*p.prompt_ids, *r), ((NOT_TRAINED,) * len(p.prompt_ids) + r), p.source)
        for p, r in zip(pairs, replies, strict=True)
    ]


def preferences_of(adapter, pairs):
    """How much likelier the shorter reply is, in nats, for each pair."""
    generator = open_generator("hf", adapter.base, adapter=adapter)
    try:
        short, long = (generator.score(as_examples(pairs, which)) for which in ("chosen_ids", "rejected_ids"))
    finally:
        generator.close()
    return [worse[0] - better[0] for better, worse in zip(short, long, strict=True)]


@pytest.mark.slow
def test_the_preferred_kind_becomes_likelier_where_nobody_was_asked_and_held_out_loss_stays(tmp_path):
    tokenizer = load_tokenizer(BASE)
    pairs = rendered(tokenizer, PLACES, "Does this tram go to the {0}?")
    held_out = rendered(tokenizer, PLACES[::-1], "How far is it to the {0}?")
    both = [*as_examples(pairs, "chosen_ids"), *as_examples(pairs, "rejected_ids")]
    lora = LoraSettings(rank=8, alpha=16, num_layers=4)
    started, _, _ = fit(a_job(BASE, tmp_path / "start", lora=lora, max_steps=5, learning_rate=5e-4), both)
    job = a_preference_job(
        started.adapter, tmp_path / "run", lora=lora, max_steps=8, learning_rate=1e-4, eval_every_steps=8
    )
    validation = [*as_examples(held_out, "chosen_ids"), *as_examples(held_out, "rejected_ids")]
    result, events, _ = prefer(job, pairs, validation=validation)
    before, after = preferences_of(started.adapter, held_out), preferences_of(result.adapter, held_out)
    assert paired_mean(before, after, seed=0).low > 0, "the interval excludes that nothing changed"
    first, last = (values["validation_loss"] for values in said(events, "evaluated"))
    assert last < 1.02 * first
