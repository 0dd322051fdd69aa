"""Learning from feedback with the bundled model: does the preferred kind of reply rise, and what does it cost?

A character is trained on made-up conversations whose replies are short or long and warm or plain, at random. Then the
trained character is asked four times for each of some prompts, as a person swipes. A made-up person prefers, of the
first two and of the last two, the shorter reply (`shorter`) or the one with more words of a small list (`warmer`);
where both are equal, it says nothing. Each kind is two runs of `duologue train --from-feedback` from the same start:
one with the default settings, one in which nothing is replayed (`feedback.replay_fraction=0`); in both, what raises the
held-out loss beyond `feedback.max_loss_rise_fraction` is taken back. `--set` tries others.

Measured on prompts that no pair came from, with the same seeds before and after: words of a reply, and the share of its
sentences with a warm word; the paired bootstrap interval of the difference (95%, prompts are drawn). And the loss on
held-out conversations, before and after: it must rise by less than 2%.

    python benchmarks/feedback.py --json --out benchmarks/results/feedback.json
"""

import argparse
import json
import os
import platform
import random
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import Any

from duologue.cli.output import Output
from duologue.cli.train_feedback import make_feedback_run
from duologue.cli.workflow import Prepared, prepare, train_run
from duologue.engine import Adapter, Sampling, open_generator, open_preference_trainer, write_lora_gguf
from duologue.evaluate.intervals import paired_mean
from duologue.messages import Message, Preference
from duologue.prompt import build
from duologue.train import (
    FeedbackRun,
    Pieces,
    find_start,
    held_out_change,
    list_runs,
    new_run,
    read_history,
    run_feedback,
)

BASE = "bundled:smollm2-135m"
NUM_CONVERSATIONS = 160
NUM_ASKED, NUM_HELD_OUT = 64, 48
SWIPES = ((1, 2), (7, 8))  # seeds of the replies between which the person chooses
HELD_OUT_SEEDS = (3, 4, 5, 6)
MAX_NEW_TOKENS = 72
NO_REPLAY = ("feedback.replay_fraction=0",)
WARM_WORDS = ("dear", "gladly", "lovely", "friend", "welcome", "delighted")
PLACES = (
    "harbour", "museum", "market", "old mill", "library", "theatre", "north gate", "bridge", "park", "bakery",
    "lighthouse", "station", "garden", "clock tower", "school", "fountain",
)  # fmt: skip
QUESTIONS = (
    "Does this tram go to the {place}?", "When do we reach the {place}?", "Is the {place} still open?",
    "What is there to see at the {place}?", "How far is it to the {place}?", "Do I change trams for the {place}?",
    "Who rides to the {place} at this hour?", "Is it quiet near the {place}?",
)  # fmt: skip
PLAIN = (
    "The {place} is three stops from here.", "We pass the {place} after the second bend.",
    "The lamps at the {place} are on until midnight.", "You get out on the left side.",
    "The next tram comes in twenty minutes.", "The rails are wet tonight, so we go slowly.",
    "I will ring the bell before we stop.", "Few people ride this late.",
)  # fmt: skip
WARM = (
    "Gladly, dear friend.", "How lovely that you ask.", "You are always welcome on my tram.",
    "I am delighted to take you there.", "Sit by the window, dear, the view is lovely.",
)  # fmt: skip


def main() -> None:
    """Train the start, learn each preference from it, and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--work", type=Path, help="work here and keep what is made")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="instead of both settings")
    arguments = parser.parse_args()
    every = (tuple(arguments.set),) if arguments.set else ((), NO_REPLAY)
    with tempfile.TemporaryDirectory() as temporary:
        result = measured(arguments.work or Path(temporary), every)
    text = json.dumps(result, indent=2)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text if arguments.json else "\n".join(map(sentence, result["preferences"])))


def measured(work: Path, every: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return what each preference did with each of some settings."""
    folder = work / "ada"
    if not folder.is_dir():
        make_folder(folder)
    prepared = prepare(folder, None)
    started = time.perf_counter()
    if not list((folder / "runs").glob("20*/manifest.json")):
        train_run(prepared, Output(is_json=True), is_resumed=False)
    train_seconds = time.perf_counter() - started
    run, adapter = find_start(folder, list_runs(folder)[0].name)
    prompts = questions()
    asked, held_out = prompts[:NUM_ASKED], prompts[NUM_ASKED : NUM_ASKED + NUM_HELD_OUT]
    swipes = [tuple(replies(prepared, adapter, asked, seed=seed) for seed in both) for both in SWIPES]
    before = [replies(prepared, adapter, held_out, seed=seed) for seed in HELD_OUT_SEEDS]
    kinds: dict[str, tuple[Callable[[str], float], int]] = {"shorter": (num_words, -1), "warmer": (warmth, 1)}
    found = []
    for name, (measure, direction) in kinds.items():
        pairs = [pair for said in swipes for pair in preferred(asked, *said, measure, direction)]
        for changes in every:
            changed = prepare(folder, list(changes))
            feedback = make_feedback_run(changed, Pieces(preferences=tuple(pairs)), run.name)
            measures = one(name, changed, feedback, before, held_out, measure=measure, direction=direction)
            found.append({"changes": changes, **measures})
    return {
        "base": BASE,
        "settings": prepared.config.feedback.model_dump(mode="json"),
        "num_conversations": NUM_CONVERSATIONS,
        "num_held_out_prompts": len(held_out),
        "seconds_to_train_the_start": train_seconds,
        "preferences": found,
        "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "load": os.getloadavg()},
    }


def one(
    name: str,
    prepared: Prepared,
    feedback: FeedbackRun,
    before: Sequence[Sequence[str]],
    held_out: Sequence[str],
    *,
    measure: Callable[[str], float],
    direction: int,
) -> dict[str, Any]:
    """Learn one preference from the start, and measure."""
    result = run_feedback(
        new_run(prepared.folder, today=date.today()),
        feedback,
        config=prepared.config,
        config_text=prepared.config_text,
        examples=prepared.examples,
        stats=prepared.stats,
        account=prepared.account,
        trainer=open_preference_trainer(),
        on_event=lambda event: print(event.name, event.step, event.values, file=sys.stderr),
        should_stop=threading.Event(),
        character=prepared.character,
    )
    after = [replies(prepared, result.run.adapter(), held_out, seed=seed) for seed in HELD_OUT_SEEDS]
    interval = paired_mean(per_prompt(before, measure), per_prompt(after, measure), seed=0)
    losses = held_out_change(result.run)
    assert losses is not None, "the held-out loss is measured before and after"
    history = read_history(result.run)
    rise = losses[1] / losses[0] - 1
    ends = (interval.low, interval.high)
    return {
        "name": name,
        "num_pairs": len(feedback.chosen.examples),
        "num_replayed": len(feedback.chosen.replayed),
        "num_steps": result.fit.num_steps,
        "final_loss": result.fit.final_loss,
        "kept_share": result.fit.kept_share,
        "seconds": sum(step.seconds for step in history.steps),
        "before": interval.base,
        "after": interval.tuned,
        "low": interval.low,
        "high": interval.high,
        "has_risen": all(direction * end > 0 for end in ends),
        "held_out_loss_before": losses[0],
        "held_out_loss_after": losses[1],
        "held_out_rise": rise,
        "is_cheap": rise < 0.02,
        "plan_versus_actual": result.plan_versus_actual,
        "examples": [{"before": old, "after": new} for old, new in list(zip(before[0], after[0], strict=True))[:4]],
    }


def make_folder(folder: Path) -> None:
    """Write a character and its conversations."""
    (folder / "data").mkdir(parents=True)
    draw = random.Random(7)
    rows = []
    for _ in range(NUM_CONVERSATIONS):
        place = draw.choice(PLACES)
        question = draw.choice(QUESTIONS).format(place=place)
        sentences = draw.sample(PLAIN, draw.choice((1, 1, 2, 3, 4)))
        if draw.random() < 0.5:
            sentences.insert(draw.randrange(len(sentences) + 1), draw.choice(WARM))
        rows.append({"instruction": question, "output": " ".join(sentences).format(place=place)})
    (folder / "data" / "rides.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    card = {"name": "Ada Bell", "description": "Ada Bell drives the night tram and knows every stop."}
    (folder / "character.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "duologue.toml").write_text(
        f'[model]\nbase = "{BASE}"\nquantization = "none"\n[data]\ntrain = ["data/*.json"]\nvalidation_fraction = 0.2\n'
        "max_length_tokens = 256\n[lora]\nrank = 16\nnum_layers = 15\n"
        "[training]\nnum_epochs = 2\nlearning_rate = 5e-4\nnum_sample_replies = 0\neval_every_steps = 1000\n"
        '[character]\ncard = "character.json"\n',
        encoding="utf-8",
    )


def questions() -> list[str]:
    """Return every question about every place, in an order of its own."""
    every = [question.format(place=place) for question in QUESTIONS for place in PLACES]
    random.Random(11).shuffle(every)
    return every


def replies(prepared: Prepared, adapter: Adapter, prompts: Sequence[str], *, seed: int) -> list[str]:
    """Return what the character says to each prompt."""
    quick = adapter.folder.parent / "gguf-lora"  # llama.cpp is several times quicker than the engine that trains
    if not quick.is_dir():
        quick.mkdir()
        write_lora_gguf(adapter, quick / "adapter.gguf", on_event=lambda _event: None)
    generator = open_generator("gguf", adapter.base, adapter=Adapter(quick, adapter.base))
    said = []
    try:
        for number, text in enumerate(prompts):
            messages = build(
                prepared.character, (Message("user", text),), user_name=prepared.config.character.user_name
            )
            ids = generator.tokenizer.render(messages, add_generation_prompt=True)
            sampling = Sampling(max_new_tokens=MAX_NEW_TOKENS, seed=1000 * seed + number, temperature=0.9)
            pieces = generator.stream(ids, sampling, cancel=threading.Event())
            said.append("".join(piece.text for piece in pieces).strip())
    finally:
        generator.close()
    return said


def preferred(
    prompts: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
    measure: Callable[[str], float],
    direction: int,
) -> list[Preference]:
    """Return the pairs in which one reply has more of what is measured, or less when the direction is -1."""

    def score(text: str) -> float:
        return direction * measure(text)

    pairs = []
    for number, (prompt, *both) in enumerate(zip(prompts, first, second, strict=True)):
        better, worse = sorted(both, key=score, reverse=True)
        if score(better) > score(worse):
            pairs.append(Preference((Message("user", prompt),), better, worse, f"swipe {number + 1}"))
    return pairs


def per_prompt(said: Sequence[Sequence[str]], measure: Callable[[str], float]) -> list[float]:
    """Return the mean over the seeds for each prompt: the prompts are the units that are drawn."""
    return [fmean(map(measure, texts)) for texts in zip(*said, strict=True)]


def num_words(text: str) -> float:
    """Return the words of a reply."""
    return float(len(text.split()))


def warmth(text: str) -> float:
    """Return the share of a reply's sentences that have a warm word."""
    sentences = [part for part in re.split(r"[.!?]+", text.lower()) if part.strip()]
    warm = sum(any(word in part for word in WARM_WORDS) for part in sentences)
    return warm / len(sentences) if sentences else 0.0


def sentence(found: dict[str, Any]) -> str:
    """Return one result in words."""
    return (
        f"{' '.join((found['name'], *found['changes']))}: {found['before']:.2f} before, {found['after']:.2f} after "
        f"(difference {found['low']:+.2f} to {found['high']:+.2f}), {found['num_pairs']} pairs, "
        f"{found['kept_share']:.0%} kept, held-out loss {found['held_out_rise']:+.1%}, {found['seconds']:.0f} s"
    )


if __name__ == "__main__":
    main()
