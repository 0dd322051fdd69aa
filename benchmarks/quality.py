"""What quantisation and the recipes' settings cost in quality: the bundled model on real conversations, with intervals.

Trains the bundled model with the settings of three recipes (rank, alpha, learning rate, epochs, length; not their base
models, which need a GPU), each in 32 bit, NF4 and int8, and looks at all nine results and at the three untrained bases:

- loss, bits per byte and perplexity on held-out conversations of the same kind (`personachat_messages.jsonl`);
- bits per byte on text of another kind (`roleplay_alpaca.json`), to see what is forgotten;
- replies to the first held-out conversations: loops, form, speaking for the user, manner (the evaluators of
  `duologue eval`).

Each cell is kept in `--work` when it is done; run again, the same command does only what is missing.

    python benchmarks/quality.py --data DIR --work WORK --out benchmarks/results/quality.json
    python scripts/make_quality_page.py

`--tiny` does all of it on a few conversations and two layers, to see that it works: its numbers mean nothing.
"""

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BASE = "bundled:smollm2-135m"
RECIPES = {"original": "original", "optimized": "optimized", "best": "best-24gb"}
FORMATS = ("none", "nf4", "int8")
TRAIN_FILE, HELD_OUT_FILE, OTHER_FILE = (
    "personachat_sharegpt.json",
    "personachat_messages.jsonl",
    "roleplay_alpaca.json",
)
EVALUATORS = ("loops", "form", "user_speech", "habits")
CLAIMED_SHARE = 0.05  # the claim that is looked at


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    train: int
    held_out: int
    other: int
    cases: int
    layers: str
    reply_tokens: int


FULL = Sizes(train=48, held_out=48, other=60, cases=12, layers='"all"', reply_tokens=40)
TINY = Sizes(train=8, held_out=6, other=6, cases=2, layers="2", reply_tokens=8)


def main() -> None:
    """Do the missing cells, compare, and write the document."""
    arguments = parsed()
    missing = [name for name in (TRAIN_FILE, HELD_OUT_FILE, OTHER_FILE) if not (arguments.data / name).is_file()]
    if missing:
        print(f"skipped: {', '.join(missing)} not in {arguments.data}", file=sys.stderr)
        return
    sizes = sizes_of(arguments)
    arguments.work.mkdir(parents=True, exist_ok=True)
    check_same(arguments.work / "sizes.json", sizes)
    for name in arguments.cells or cell_names():
        do_cell(name, arguments.work, data=arguments.data, sizes=sizes)
    document = report(arguments.work, sizes, is_tiny=arguments.tiny)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text if arguments.json else summary(document))


def parsed() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with the three files")
    parser.add_argument("--work", type=Path, required=True, help="where finished cells are kept")
    parser.add_argument("--cells", nargs="+", choices=cell_names(), metavar="CELL", help="only these, such as base-nf4")
    parser.add_argument("--train", type=int, help=f"conversations to train on ({FULL.train})")
    parser.add_argument("--held-out", type=int, help=f"conversations to measure on ({FULL.held_out})")
    parser.add_argument("--other", type=int, help=f"instructions of another kind to measure on ({FULL.other})")
    parser.add_argument("--cases", type=int, help=f"conversations to talk through ({FULL.cases})")
    parser.add_argument("--tiny", action="store_true", help="a few conversations and two layers")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def sizes_of(arguments: argparse.Namespace) -> Sizes:
    """Return how much is done."""
    usual = TINY if arguments.tiny else FULL
    return Sizes(
        train=arguments.train or usual.train,
        held_out=arguments.held_out or usual.held_out,
        other=arguments.other or usual.other,
        cases=arguments.cases or usual.cases,
        layers=usual.layers,
        reply_tokens=usual.reply_tokens,
    )


def cell_names() -> list[str]:
    """Return all cells: `base-none`, `original-nf4` and so on; the bases first, then the quickest recipe."""
    return [f"{kind}-{form}" for kind in ("base", "optimized", "original", "best") for form in FORMATS]


def check_same(path: Path, sizes: Sizes) -> None:
    """Refuse to mix cells of different sizes in one folder."""
    text = json.dumps(sizes.__dict__)
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        sys.exit(f"{path.parent} holds cells of other sizes ({path.read_text(encoding='utf-8')}): take another --work")
    path.write_text(text, encoding="utf-8")


def do_cell(name: str, work: Path, *, data: Path, sizes: Sizes) -> None:
    """Train and look at one cell, unless it is done."""
    folder = work / name
    if (folder / "cell.json").is_file():
        return
    kind, _, form = name.rpartition("-")
    started = time.perf_counter()
    folder.mkdir(exist_ok=True)
    write_folder(folder, kind, form, data=data, sizes=sizes)
    training = trained(folder) if kind != "base" else {}
    trained_at = time.perf_counter()
    observed = look(folder, name, data=data, sizes=sizes)
    cell = {
        "name": name,
        "kind": kind,
        "quantization": form,
        "settings": settings_of(kind) if kind != "base" else {},
        "training": {key: training[key] for key in ("num_steps", "final_loss", "num_trained_tokens") if training},
        "train_seconds": round(trained_at - started, 1),
        "look_seconds": round(time.perf_counter() - trained_at, 1),
        "observed": observed,
    }
    partial = folder / ".cell.json.partial"
    partial.write_text(json.dumps(cell, ensure_ascii=False, indent=1), encoding="utf-8")
    os.replace(partial, folder / "cell.json")
    print(f"{name}: {cell['train_seconds']:.0f} s training, {cell['look_seconds']:.0f} s looking", file=sys.stderr)


def settings_of(kind: str) -> dict[str, float | int]:
    """Return what is taken of a recipe."""
    from duologue.config import load_recipe

    recipe = load_recipe(RECIPES[kind])
    return {
        "rank": recipe.lora.rank,
        "alpha": recipe.lora.alpha,
        "learning_rate": recipe.training.learning_rate,
        "num_epochs": recipe.training.num_epochs,
        "max_length_tokens": recipe.data.max_length_tokens,
    }


def write_folder(folder: Path, kind: str, form: str, *, data: Path, sizes: Sizes) -> None:
    """Write the character's folder of a cell."""
    rows = json.loads((data / TRAIN_FILE).read_text(encoding="utf-8"))[: sizes.train]
    (folder / "chats.json").write_text(json.dumps(rows), encoding="utf-8")
    settings = settings_of(kind if kind != "base" else "original")
    (folder / "duologue.toml").write_text(
        f'[model]\nbase = "{BASE}"\nquantization = "{form}"\ncompute_dtype = "float32"\n'
        f'[data]\ntrain = ["chats.json"]\nvalidation_fraction = 0\n'
        f"max_length_tokens = {settings['max_length_tokens']}\n"
        f"[lora]\nrank = {settings['rank']}\nalpha = {settings['alpha']}\nnum_layers = {sizes.layers}\n"
        f"[training]\nnum_epochs = {settings['num_epochs']}\nlearning_rate = {settings['learning_rate']}\n"
        "micro_batch_size = 2\ngradient_accumulation_steps = 4\neval_every_steps = 0\nnum_sample_replies = 0\n",
        encoding="utf-8",
    )


def trained(folder: Path) -> dict[str, Any]:
    """Train a folder through the command line, going on with what was interrupted; return the run's manifest."""
    from duologue.train import list_runs, newest_unfinished

    finished = [run for run in list_runs(folder) if run.is_finished]
    if not finished:
        command = [sys.executable, "-m", "duologue", "train", str(folder), "--no-eval", "--json"]
        command += ["--resume"] if newest_unfinished(folder) else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        finished = [run for run in list_runs(folder) if run.is_finished]
    return finished[-1].read("manifest.json")


def look(folder: Path, name: str, *, data: Path, sizes: Sizes) -> dict[str, Any]:
    """Score and talk to a cell's model; the same texts and cases for every cell, whatever its training length."""
    from dataclasses import asdict

    from duologue.characters import Character
    from duologue.config import load_config
    from duologue.data import load_splits, make_examples
    from duologue.engine import BaseModel, open_generator, open_trainer
    from duologue.evaluate.observe import Opener, Subject, Work, observe
    from duologue.train import find_adapter

    config = load_config(
        folder / "duologue.toml", overrides=["data.max_length_tokens=1024", "generation.temperature=0.7"]
    )
    base = BaseModel(BASE, quantization=config.model.quantization, compute_dtype="float32")  # type: ignore[arg-type]
    tokenizer = open_trainer("hf").tokenizer(base)
    sets, held_out = {}, None
    for kind, rows in (("held_out", held_out_rows(data, sizes)), ("general", other_rows(data, sizes))):
        place = folder / kind
        place.mkdir(exist_ok=True)
        (place / "chats.json").write_text(json.dumps(rows), encoding="utf-8")
        splits = load_splits(config, place)
        held_out = held_out or splits.train
        sets[kind] = make_examples(splits, tokenizer, config, Character("Assistant")).train
    assert held_out is not None
    work = Work(
        config=config,
        character=Character("Assistant"),
        examples=sets,
        cases=cases_of(held_out, sizes),
        seeds=(0,),
        max_new_tokens=sizes.reply_tokens,
    )
    found = find_adapter(folder)
    adapter = found[1] if found else None
    opened = adapter.base if adapter else base
    model = {"base": BASE, "quantization": config.model.quantization}
    subject = Subject(name, model, Opener("hf", lambda: open_generator("hf", opened, adapter=adapter)))
    seen = observe(work, subject, which="tuned" if adapter else "base", on_event=lambda _: None)
    return asdict(seen)


def held_out_rows(data: Path, sizes: Sizes) -> list[Any]:
    """Return conversations that no cell is trained on."""
    lines = (data / HELD_OUT_FILE).read_text(encoding="utf-8").splitlines()[: sizes.held_out]
    return [json.loads(line) for line in lines]


def other_rows(data: Path, sizes: Sizes) -> list[dict[str, str]]:
    """Return instructions of another kind."""
    rows = json.loads((data / OTHER_FILE).read_text(encoding="utf-8"))[: sizes.other]
    return [
        {"instruction": f"{row['instruction']}\n{row.get('input', '')}".strip(), "output": row["response"]}
        for row in rows
    ]


def cases_of(conversations: Sequence[Any], sizes: Sizes) -> tuple[Any, ...]:
    """Return the first conversations as dialogues of up to two turns, each with the real replies."""
    from duologue.evaluate.case import Case

    cases = []
    for number, conversation in enumerate(conversations):
        messages = conversation.messages
        begin = next((at for at, message in enumerate(messages) if message.role == "user"), None)
        if begin is None:
            continue
        pairs = [
            (first.content, second.content)
            for first, second in zip(messages[begin:], messages[begin + 1 :], strict=False)
            if (first.role, second.role) == ("user", "assistant")
        ][:2]
        if pairs:
            turns, replies = zip(*pairs, strict=True)
            cases.append(Case(f"held-out-{number}", "held_out", turns, tuple(messages[:begin]), replies))
    return tuple(cases[: sizes.cases])


def report(work: Path, sizes: Sizes, *, is_tiny: bool) -> dict[str, Any]:
    """Return the document: what each cell reached, and the comparisons of those that are done."""
    cells = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("*/cell.json"))]
    by_name = {cell["name"]: cell for cell in cells}
    return {
        "benchmark": "quality",
        "is_tiny": is_tiny,
        "base": BASE,
        "machine": {"platform": platform.platform(), "processor": processor(), "cores": os.cpu_count()},
        "python": platform.python_version(),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sizes": sizes.__dict__,
        "missing": [name for name in cell_names() if name not in by_name],
        "cells": [
            {key: value for key, value in cell.items() if key != "observed"} | {"levels": levels(cell)}
            for name in cell_names()
            if (cell := by_name.get(name))
        ],
        "comparisons": [
            compared(by_name[first], by_name[second], question)
            for question, first, second in pairs()
            if first in by_name and second in by_name
        ],
        "character": character_measures(by_name),
    }


def pairs() -> list[tuple[str, str, str]]:
    """Return what is compared with what: a question, the first cell and the second."""
    packed = [form for form in FORMATS if form != "none"]
    tuned = list(RECIPES)
    return [
        *(("quantised base", "base-none", f"base-{form}") for form in packed),
        *(("tuned", f"base-{form}", f"{kind}-{form}") for kind in tuned for form in FORMATS),
        *(("quantised training", f"{kind}-none", f"{kind}-{form}") for kind in tuned for form in packed),
        *(("recipes", f"original-{form}", f"{kind}-{form}") for kind in ("optimized", "best") for form in FORMATS),
        ("as shipped", "original-nf4", "optimized-int8"),
    ]


def levels(cell: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return loss, bits per byte and perplexity of a cell for each kind of text."""
    found = {}
    for kind in ("held_out", "general"):
        scores = [score for score in cell["observed"]["scores"] if score["kind"] == kind]
        nats, tokens, size = (sum(score[key] for score in scores) for key in ("nats", "num_tokens", "num_bytes"))
        found[kind] = {
            "nats_per_token": nats / tokens,
            "perplexity": math.exp(nats / tokens),
            "bits_per_byte": nats / math.log(2) / size,
            "num_texts": len(scores),
            "num_tokens": tokens,
        }
    return found


def compared(first: dict[str, Any], second: dict[str, Any], question: str) -> dict[str, Any]:
    """Return how much worse the second cell is, relative to the first, with 95% intervals (paired over the texts)."""
    result: dict[str, Any] = {"question": question, "first": first["name"], "second": second["name"]}
    for kind in ("held_out", "general"):
        sides = [by_source(cell, kind) for cell in (first, second)]
        sources = sorted(sides[0])
        result[kind] = {
            "bits_per_byte": change(sides, sources, per="num_bytes"),
            "perplexity": change(sides, sources, per="num_tokens", is_exponential=True),
        }
    return result


def by_source(cell: dict[str, Any], kind: str) -> dict[str, dict[str, float]]:
    """Return the sums of each conversation's scores; a long one is several examples."""
    sums: dict[str, dict[str, float]] = {}
    for score in cell["observed"]["scores"]:
        if score["kind"] == kind:
            row = sums.setdefault(
                score["source"].rpartition("/")[2], {"nats": 0.0, "num_tokens": 0.0, "num_bytes": 0.0}
            )
            for key in row:
                row[key] += score[key]
    return sums


def change(
    sides: Sequence[dict[str, dict[str, float]]], sources: Sequence[str], *, per: str, is_exponential: bool = False
) -> dict[str, Any]:
    """Return the relative change of nats per unit (or of its exponential) with its interval.

    The interval of the difference is divided by the first side's own value, which is taken as known.
    """
    from duologue.evaluate.intervals import paired_ratio

    rows = [[(side[source]["nats"], side[source][per]) for source in sources] for side in sides]
    interval = paired_ratio(rows[0], rows[1], seed=0)
    difference = interval.tuned - interval.base
    values = (difference, interval.low, interval.high)
    if is_exponential:
        relative = [math.expm1(value) if math.isfinite(value) else None for value in values]
    else:
        relative = [value / interval.base if math.isfinite(value) else None for value in values]
    middle, low, high = relative
    return {"change": middle, "low": low, "high": high, "num": interval.num, "verdict": verdict(low, high)}


def verdict(low: float | None, high: float | None) -> str:
    """Return whether a relative rise of what should be low is surely below the claim, surely above it, or open."""
    if low is None or high is None:
        return "not known"
    if high < CLAIMED_SHARE:
        return "below 5%"
    return "above 5%" if low > CLAIMED_SHARE else "open"


def character_measures(cells: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the measures of the replies: each tuned cell against the base in its own format."""
    from duologue.characters import Character
    from duologue.config import make_config
    from duologue.evaluate.evaluators import load_evaluator
    from duologue.evaluate.observed import Known

    config = make_config({"model": {"base": BASE}, "data": {"train": ["chats.json"]}}, where="the benchmark")
    known = Known(config, Character("Assistant"), train=(), validation=())
    rows = []
    for kind in RECIPES:
        for form in FORMATS:
            first, second = cells.get(f"base-{form}"), cells.get(f"{kind}-{form}")
            if first is None or second is None:
                continue
            for name in EVALUATORS:
                rows += [
                    {"first": first["name"], "second": second["name"], **measure}
                    for measure in measures(load_evaluator(name), known, first, second)
                ]
    return rows


def measures(evaluator: Any, known: Any, first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ANN401
    """Return an evaluator's measures, or its fault."""
    keys = ("name", "unit", "base", "tuned", "low", "high", "verdict", "num", "fault")
    try:
        found = evaluator.measure(known, restored(first), restored(second))
    except Exception as error:  # noqa: BLE001 (recorded, as `duologue eval` does)
        return [{"name": evaluator.name, "fault": f"{type(error).__name__}: {error}"}]
    return [{key: measure.as_json()[key] for key in keys} for measure in found]


def restored(cell: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return what was seen of a cell, out of its JSON."""
    from duologue.evaluate.case import Case
    from duologue.evaluate.observed import Dialogue, Observed, Spoken
    from duologue.messages import Message

    dialogues = []
    for row in cell["observed"]["dialogues"]:
        case = row["case"]
        opening = tuple(Message(**message) for message in case["opening"])
        parts = {key: tuple(case[key]) for key in ("user_turns", "references")}
        replies = tuple(Spoken(**reply) for reply in row["replies"])
        dialogues.append(Dialogue(Case(**{**case, **parts, "opening": opening}), row["seed"], replies))
    return Observed(cell["name"], {}, (), tuple(dialogues))


def summary(document: dict[str, Any]) -> str:
    """Return the comparisons in lines."""
    lines = [f"cells done: {len(document['cells'])}, missing: {', '.join(document['missing']) or 'none'}"]
    for row in document["comparisons"]:
        found = row["held_out"]["bits_per_byte"]
        ends = f"{found['low']:+.1%} to {found['high']:+.1%}" if found["low"] is not None else "no interval"
        lines.append(f"{row['question']}: {row['first']} -> {row['second']}: {found['change']:+.1%} ({ends}) bits/byte")
    return "\n".join(lines)


def processor() -> str:
    """Return the processor's name where the system tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.processor()


if __name__ == "__main__":
    main()
