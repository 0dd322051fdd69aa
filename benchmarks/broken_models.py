"""Are the evaluators right? Models are really trained to be broken, and each must be caught by the measure made for it.

Five adapters of the bundled model are trained as `duologue train` does it, all meant to be Mira, a made-up character:

- `healthy`: two epochs on her conversations;
- `wrong template`: the same, but trained in another chat format than it is asked in, as happens when an adapter is put
  on a base model whose file carries another chat template;
- `loop`: trained on replies that go round in circles;
- `other character`: trained on the conversations of Bruno, and evaluated as Mira;
- `memorised`: many epochs on a few of her conversations at a high rate.

All of them and the untrained base are put through the evaluators of `duologue eval`: held-out replies and a few trained
ones are scored, held-out and written dialogues are had, and beginnings of trained dialogues are gone on with. Each is
compared with the base, as `duologue eval` does, and with the healthy one, as `duologue eval --against` does. A model is
caught when its measure says `worse`: the 95% interval of the difference does not hold zero.

    python benchmarks/broken_models.py --work WORK --json --out benchmarks/results/broken_models.json

Run again with the same `--work`, it does only what is missing. Replies are drawn by llama.cpp, which is several times
quicker here than the engine that trains; scores come from the engine that trains.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from broken_models_data import BRUNO, MIRA, conversations, looping

from duologue.characters import Character
from duologue.cli.output import Output
from duologue.cli.workflow import prepare, train_run
from duologue.config import Config, load_config
from duologue.data import load_splits, make_examples
from duologue.engine import Adapter, BaseModel, Generator, open_generator, open_trainer, write_lora_gguf
from duologue.engine.bundled import bundled_file
from duologue.evaluate import Known, Opener, Subject, load_suite, make_work
from duologue.evaluate.keep import digest_of, read_observed, write_observed
from duologue.evaluate.measure import Measure
from duologue.evaluate.observe import Work, observe
from duologue.evaluate.observed import Observed
from duologue.evaluate.run import measure_all
from duologue.evaluate.suite import Suite
from duologue.train import find_adapter, newest_unfinished, read_history, user_header

BASE = "bundled:smollm2-135m"
HEALTHY = "healthy"
OTHER_END = "<issue_closed>"  # a token of this vocabulary that ends nothing in the bundled model's own format
OTHER_TEMPLATE = (  # of Vicuna's form: plain words
    "{% for message in messages %}{% if message.role == 'system' %}{{ message.content }}\n\n"
    "{% elif message.role == 'user' %}USER: {{ message.content }}\n"
    "{% else %}ASSISTANT: {{ message.content }}" + OTHER_END + "\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
RIGHT_MEASURES: dict[str, tuple[str, ...]] = {
    "wrong template": ("character.ends_by_itself", "character.broken"),
    "loop": ("character.loops",),
    "other character": ("character.facts_contradicted", "language.bits_per_byte"),
    "memorised": ("privacy.continued_verbatim",),
}
"""What each is to be caught by, against the base; any of them is enough, and the healthy one by none of all."""
EVALUATORS = ("language", "voice", "facts", "user_speech", "loops", "form", "habits", "refusal", "memorisation")


@dataclass(frozen=True)
class Sizes:
    """How much is done."""

    train: int
    few: int
    held_out: int
    cases: int
    num_layers: int
    rank: int
    epochs: float
    epochs_of_few: float
    reply_tokens: int


FULL = Sizes(
    train=64, few=8, held_out=24, cases=10, num_layers=10, rank=16, epochs=2, epochs_of_few=16, reply_tokens=200
)
TINY = Sizes(train=32, few=6, held_out=8, cases=6, num_layers=6, rank=16, epochs=2, epochs_of_few=12, reply_tokens=200)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        rows: Its conversations.
        num_epochs: How often they are gone through.
        learning_rate: The highest.
        base: What it is trained on.
    """

    rows: list[dict[str, Any]]
    num_epochs: float
    learning_rate: float = 1e-3
    base: str = BASE


def main() -> None:
    """Train what is missing, look, and say who was caught by what."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--table", action="store_true", help="print the verdicts as a table in Markdown")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--work", type=Path, help="work here and keep what is made")
    parser.add_argument("--tiny", action="store_true", help="fewer conversations, layers and cases")
    parser.add_argument("--models", nargs="+", choices=list(RIGHT_MEASURES), help="only these, beside the healthy one")
    arguments = parser.parse_args()
    sizes = TINY if arguments.tiny else FULL
    names = [HEALTHY, *(name for name in RIGHT_MEASURES if name in (arguments.models or RIGHT_MEASURES))]
    with tempfile.TemporaryDirectory() as temporary:
        document = measured(arguments.work or Path(temporary), sizes, names)
    document["is_tiny"] = arguments.tiny
    text = json.dumps(document, indent=1, ensure_ascii=False)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text if arguments.json else table(document) if arguments.table else summary(document))


def measured(work: Path, sizes: Sizes, names: Sequence[str]) -> dict[str, Any]:
    """Train and look at the models, and return what the evaluators say of each."""
    check_same(work, sizes)
    adapters, seconds = {}, {}
    for name in names:
        adapters[name], seconds[name] = trained(work, name, sizes)
    look = Look(work, sizes)
    base = look.at("base", None)
    seen = {name: look.at(name, adapter) for name, adapter in adapters.items()}
    models = [
        one(name, look, base=base, seen=seen) | {"train_seconds": seconds[name], "settings": settings(work, name)}
        for name in names
    ]
    return {
        "benchmark": "broken_models",
        "base": BASE,
        "sizes": asdict(sizes),
        "right_measures": RIGHT_MEASURES,
        "machine": {"platform": platform.platform(), "cores": os.cpu_count()},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "is_right": all(model["is_right"] for model in models),
        "models": models,
    }


def check_same(work: Path, sizes: Sizes) -> None:
    """Refuse to mix models of different sizes in one folder."""
    work.mkdir(parents=True, exist_ok=True)
    path, text = work / "sizes.json", json.dumps(asdict(sizes))
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        sys.exit(f"{work} holds models of other sizes ({path.read_text(encoding='utf-8')}): take another --work")
    path.write_text(text, encoding="utf-8")


def recipe_of(name: str, work: Path, sizes: Sizes) -> Recipe:
    """Return how a model is trained."""
    rows = mira_rows(sizes)
    recipes: dict[str, Callable[[], Recipe]] = {
        HEALTHY: lambda: Recipe(rows, sizes.epochs),
        "wrong template": lambda: Recipe(rows, sizes.epochs, base=str(other_template(work))),
        "loop": lambda: Recipe(looping(rows, seed=5), sizes.epochs),
        "other character": lambda: Recipe(conversations(BRUNO, sizes.train, seed=3), sizes.epochs),
        "memorised": lambda: Recipe(rows[: sizes.few], sizes.epochs_of_few, learning_rate=3e-3),
    }
    return recipes[name]()


def mira_rows(sizes: Sizes) -> list[dict[str, Any]]:
    """Return Mira's conversations that are trained on."""
    return conversations(MIRA, sizes.train, seed=1)


def other_template(work: Path) -> Path:
    """Return a copy of the bundled file that carries another chat template."""
    path, partial = work / "other-template.gguf", work / "partial.gguf"
    if not path.is_file():
        command = [sys.executable, "-m", "gguf.scripts.gguf_new_metadata", "--force"]
        command += ["--chat-template", OTHER_TEMPLATE, "--special-token", "eos", OTHER_END]
        command += [str(bundled_file(BASE)), str(partial)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.replace(partial, path)
    return path


def trained(work: Path, name: str, sizes: Sizes) -> tuple[Adapter, float]:
    """Train a model as `duologue train` does, going on with what was interrupted; return it and the seconds."""
    folder = folder_of(work, name)
    if not (folder / "duologue.toml").is_file():
        write_folder(folder, recipe_of(name, work, sizes), sizes)
    if find_adapter(folder) is None:
        print(f"training: {name}", file=sys.stderr)
        train_run(prepare(folder, None), Output(is_json=True), is_resumed=newest_unfinished(folder) is not None)
    found = find_adapter(folder)
    assert found is not None, "the training above ended well"
    run, adapter = found
    return adapter, round(sum(step.seconds for step in read_history(run).steps), 1)


def folder_of(work: Path, name: str) -> Path:
    """Return the folder of a model."""
    return work / name.replace(" ", "-")


def write_folder(folder: Path, recipe: Recipe, sizes: Sizes) -> None:
    """Write a character's folder: Mira's card, whatever it is trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chats.json").write_text(json.dumps(recipe.rows, indent=1), encoding="utf-8")
    write_card(folder)
    (folder / "duologue.toml").write_text(
        f'[model]\nbase = "{recipe.base}"\nquantization = "none"\ncompute_dtype = "float32"\n'
        f'[data]\ntrain = ["chats.json"]\nvalidation_fraction = 0\nmax_length_tokens = 512\n'
        f"[lora]\nrank = {sizes.rank}\nalpha = {2 * sizes.rank}\nnum_layers = {sizes.num_layers}\n"
        f"[training]\nnum_epochs = {recipe.num_epochs}\nlearning_rate = {recipe.learning_rate}\n"
        "micro_batch_size = 4\ngradient_accumulation_steps = 1\neval_every_steps = 0\nnum_sample_replies = 0\n"
        "save_every_steps = 20\n"
        '[character]\ncard = "character.json"\n',
        encoding="utf-8",
    )


def write_card(folder: Path) -> None:
    """Write Mira's card."""
    card = {"name": MIRA.name, "description": MIRA.description}
    (folder / "character.json").write_text(json.dumps(card), encoding="utf-8")


def settings(work: Path, name: str) -> dict[str, Any]:
    """Return what a model was trained with."""
    config = load_config(folder_of(work, name) / "duologue.toml")
    rows = json.loads((folder_of(work, name) / "chats.json").read_text(encoding="utf-8"))
    return {
        "num_conversations": len(rows),
        "num_epochs": config.training.num_epochs,
        "learning_rate": config.training.learning_rate,
    }


class Look:
    """What every model is asked, and what was seen of each."""

    def __init__(self, work: Path, sizes: Sizes) -> None:
        """Make the questions from Mira's held-out conversations and from the few that are learned by heart."""
        self._folder = work / "look"
        self.suite = write_suite(self._folder, sizes)
        config = load_config(self._folder / "duologue.toml")
        character = Character(MIRA.name, description=MIRA.description)
        tokenizer = open_trainer("hf").tokenizer(BaseModel(BASE))
        parts = {}
        for part in ("train", "few", "held-out"):
            only = set_train(config, f"{part}.json")
            splits = load_splits(only, self._folder)
            parts[part] = (splits.train, make_examples(splits, tokenizer, only, character).train)
        self.work = make_work(
            self.suite,
            config,
            character,
            train=parts["few"][1],
            validation=parts["held-out"][1],
            conversations=(parts["few"][0], parts["held-out"][0]),
        )
        self.known = Known(
            config,
            character,
            tuple(parts["train"][0]),
            tuple(parts["held-out"][0]),
            seed=config.run.seed,
            more={"user_header": user_header(tokenizer)},
        )

    def at(self, name: str, adapter: Adapter | None) -> Observed:
        """Return what is seen of a model on the base it is asked with: its scores, and its replies."""
        scored = replace(self.work, cases=(), seeds=())
        talked = replace(self.work, examples={})
        first = self._seen(name, scored, "hf", lambda: open_generator("hf", BaseModel(BASE), adapter=adapter))
        second = self._seen(name, talked, "gguf", lambda: self._quick(name, adapter))
        return replace(first, dialogues=second.dialogues, faults=(*first.faults, *second.faults))

    def _seen(self, name: str, work: Work, engine: str, open_model: Callable[[], Generator]) -> Observed:
        folder = self._folder / name.replace(" ", "-")
        folder.mkdir(exist_ok=True)
        model = {"name": name, "engine": engine}
        digest = digest_of(work, model)
        if (found := read_observed(folder, digest)) is not None:
            return found
        print(f"looking with {engine}: {name}", file=sys.stderr)
        subject = Subject(name, model, Opener(engine, open_model))
        seen = observe(work, subject, which="tuned", on_event=lambda _event: None)
        write_observed(folder, digest, seen)
        return seen

    def _quick(self, name: str, adapter: Adapter | None) -> Generator:
        if adapter is None:
            return open_generator("gguf", BaseModel(BASE))
        folder = self._folder / name.replace(" ", "-") / "gguf-lora"
        if not (folder / "adapter.gguf").is_file():
            folder.mkdir(exist_ok=True)
            write_lora_gguf(adapter, folder / "adapter.gguf", on_event=lambda _event: None)
        return open_generator("gguf", BaseModel(BASE), adapter=Adapter(folder, BaseModel(BASE)))


def set_train(config: Config, name: str) -> Config:
    """Return the config with one data file."""
    return config.model_copy(update={"data": config.data.model_copy(update={"train": (name,)})})


def write_suite(folder: Path, sizes: Sizes) -> Suite:
    """Write what is looked at: data, written cases, and the suite's file."""
    write_folder(folder, Recipe([], 1), sizes)
    (folder / "chats.json").unlink()
    rows = mira_rows(sizes)
    held_out = conversations(MIRA, sizes.held_out, seed=2)
    for name, part in (("train", rows), ("few", rows[: sizes.few]), ("held-out", held_out)):
        (folder / f"{name}.json").write_text(json.dumps(part), encoding="utf-8")
    asked = [question for question, _ in MIRA.about_oneself]
    cases = [(f"oneself-{number}", [first, asked[number - 2]]) for number, first in enumerate(asked, start=1)]
    (folder / "written.toml").write_text(
        "".join(f"[[cases]]\nid = {json.dumps(name)}\nuser_turns = {json.dumps(turns)}\n" for name, turns in cases),
        encoding="utf-8",
    )
    versions = "".join(f"{name} = {evaluator_version(name)}\n" for name in EVALUATORS)
    (folder / "suite.toml").write_text(
        f'name = "broken models"\nversion = 1\nseeds = [0]\nnum_held_out_cases = {sizes.cases}\nnum_turns = 2\n'
        f"max_new_tokens = {sizes.reply_tokens}\nnum_train_samples = {sizes.few}\nnum_prefix_cases = {sizes.few}\n"
        f'cases = ["written.toml"]\n[evaluators]\n{versions}',
        encoding="utf-8",
    )
    return load_suite(str(folder / "suite.toml"))


def evaluator_version(name: str) -> int:
    """Return the version of an evaluator."""
    from duologue.evaluate import load_evaluator

    return load_evaluator(name).version


def one(name: str, look: Look, *, base: Observed, seen: dict[str, Observed]) -> dict[str, Any]:
    """Return what the evaluators say of one model, against the base and against the healthy one."""
    measures, notes = measure_all(look.suite, look.known, base, seen[name])
    against = () if name == HEALTHY else measure_all(look.suite, look.known, seen[HEALTHY], seen[name])[0]
    worse = worse_of(measures)
    right = RIGHT_MEASURES.get(name, ())
    watched = {measure for wanted in RIGHT_MEASURES.values() for measure in wanted}
    caught = [measure for measure in worse if measure in (right or watched)]
    return {
        "name": name,
        "caught_by": caught,
        "is_right": bool(caught) if right else not caught,
        "worse_than_base": worse,
        "worse_than_healthy": worse_of(against),
        "measures": [shown(measure) for measure in measures],
        "measures_against_healthy": [shown(measure) for measure in against],
        "replies": [dialogue.replies[0].text for dialogue in seen[name].dialogues[:4]],
        "notes": [*notes, *seen[name].faults],
    }


def worse_of(measures: Sequence[Measure]) -> list[str]:
    """Return the names of the measures that say so."""
    return list(dict.fromkeys(measure.name for measure in measures if measure.verdict == "worse"))


def shown(measure: Measure) -> dict[str, Any]:
    """Return what a table needs of a measure."""
    names = ("name", "part", "unit", "base", "tuned", "low", "high", "reference", "verdict", "num", "fault")
    return {name: getattr(measure, name) for name in names}


def table(document: dict[str, Any]) -> str:
    """Return what each measure says of each model against the base; bold is what it was to be caught by."""
    models = document["models"]
    heads = [model["name"] for model in models]
    lines = [f"| measure | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for row in zip(*(model["measures"] for model in models), strict=True):
        name = f"`{row[0]['name']}`" + (f" ({row[0]['part']})" if row[0]["part"] else "")
        cells = [cell(measure, model) for measure, model in zip(row, models, strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(measure: dict[str, Any], model: dict[str, Any]) -> str:
    """Return a verdict with its interval."""
    if measure["low"] is None or measure["high"] is None:
        return str(measure["verdict"])
    text = f"{measure['verdict']} ({measure['low']:+.2f} to {measure['high']:+.2f})"
    return f"**{text}**" if model["name"] != HEALTHY and measure["name"] in model["caught_by"] else text


def summary(document: dict[str, Any]) -> str:
    """Return the verdicts in words."""
    lines = []
    for model in document["models"]:
        lines.append(f"{model['name']}: {'as it should be' if model['is_right'] else 'NOT as it should be'}")
        lines.append(f"  caught by: {', '.join(model['caught_by']) or 'nothing'}")
        lines.append(f"  worse than the base: {', '.join(model['worse_than_base']) or 'nothing'}")
        lines.append(f"  worse than the healthy one: {', '.join(model['worse_than_healthy']) or 'nothing'}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
