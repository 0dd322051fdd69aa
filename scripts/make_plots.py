"""Makes the curves of the fine-tuning guide: trains the bundled model well and badly, and draws what came of it.

Usage: python scripts/make_plots.py [FOLDER]

In FOLDER (a temporary one when none is given) each run of RUNS is trained on the shipped conversations by
`duologue train`, unless it is there, which takes a few minutes of two cores each; then the pictures in docs/images/ are
drawn from what the runs wrote.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from duologue.characters import LILA_FOLDER, lila_data_files
from duologue.config import make_folder

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SMALL = (
    *("data.max_length_tokens=256", "training.micro_batch_size=2", "training.gradient_accumulation_steps=2"),
    *("lora.num_layers=8", "budget.max_minutes=60", "training.num_sample_replies=0"),
)
BLUE, RED, GREY, GREEN = "#1f5fa8", "#b3261e", "#77777f", "#2c7a3f"


@dataclass(frozen=True, slots=True)
class Run:
    """One training.

    Attributes:
        name: Its folder.
        settings: What differs from the recipe `quickstart`, beside SMALL.
        num_conversations: How many of the short ones are used; all of all files where it is None.
    """

    name: str
    settings: tuple[str, ...]
    num_conversations: int | None = None


RUNS = (
    Run("good", ("training.max_steps=30",)),
    Run("too-high", ("training.max_steps=30", "training.learning_rate=0.1")),
    Run("too-low", ("training.max_steps=30", "training.learning_rate=0.00001")),
    Run(
        "by-heart",
        ("training.max_steps=40", "training.eval_every_steps=5", "data.validation_fraction=0.4"),
        num_conversations=20,
    ),
)


def main() -> None:
    """Train what is missing and draw."""
    if len(sys.argv) > 2 or sys.argv[1:2] == ["--help"]:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(sys.argv[1] if sys.argv[1:] else temporary)
        home.mkdir(parents=True, exist_ok=True)
        logs = {run.name: trained(run, home) for run in RUNS}
    write(learning_rates(logs), "curves-learning-rate")
    write(by_heart(logs["by-heart"]), "curves-by-heart")


def trained(run: Run, home: Path) -> list[dict[str, object]]:
    """Return the events of a run, after training it where it is not there."""
    folder = home / run.name
    if not list(folder.glob("runs/20*/adapter/adapter_model.safetensors")):
        if not folder.exists():
            make_folder(folder, recipe="quickstart", data=_data(run, home), card=LILA_FOLDER / "character.png")
        sets = [part for value in (*SMALL, *run.settings) for part in ("--set", value)]
        print(f"training {run.name}", flush=True)
        subprocess.run([sys.executable, "-m", "duologue", "train", folder, "--no-eval", *sets], check=True)
    [file] = folder.glob("runs/20*/events.jsonl")
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _data(run: Run, home: Path) -> tuple[Path, ...]:
    if run.num_conversations is None:
        return lila_data_files()
    [short] = [path for path in lila_data_files() if path.name == "alpaca.json"]
    rows = json.loads(short.read_text(encoding="utf-8"))[: run.num_conversations]
    few = home / f"{run.name}.json"
    few.write_text(json.dumps(rows), encoding="utf-8")
    return (few,)


def learning_rates(logs: Mapping[str, Sequence[Mapping[str, object]]]) -> Figure:
    """Draw loss and gradient norm of three learning rates."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    loss, norm = figure.subplots(1, 2)
    lines = (("too-high", "0.1: too high", RED), ("too-low", "0.00001: too low", GREY), ("good", "0.002: good", BLUE))
    for name, label, colour in lines:
        loss.plot(*curve(logs[name], "loss"), color=colour, label=label)
        norm.plot(*curve(logs[name], "grad_norm"), color=colour, label=label)
    loss.set_ylim(3, 12)
    norm.set_yscale("log")
    dress(loss, "train/loss", "nats per trained token")
    dress(norm, "train/grad_norm", "before it is cut to 1")
    steps, losses = curve(logs["too-high"], "loss")
    highest = max(range(len(losses)), key=losses.__getitem__)
    loss.annotate(f"up to {losses[highest]:.0f}", (steps[highest], 11.4), (6, 0), textcoords="offset points")
    loss.legend(title="learning rate", loc=(0.45, 0.42), frameon=False)
    return figure


def by_heart(log: Sequence[Mapping[str, object]]) -> Figure:
    """Draw training and held-out loss of a run that sees twelve conversations again and again."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(*curve(log, "loss"), color=BLUE, label="train/loss")
    steps, losses = curve(log, "validation_loss")
    axes.plot(steps, losses, color=RED, marker="o", label="validation/loss")
    best = min(range(len(losses)), key=losses.__getitem__)
    axes.annotate("from here on it learns by heart", (steps[best], losses[best]), (0, 26), textcoords="offset points")
    dress(axes, "twelve conversations, seen again and again", "nats per trained token")
    axes.legend(frameon=False)
    return figure


def curve(log: Sequence[Mapping[str, object]], value: str) -> tuple[list[int], list[float]]:
    """Return the steps that have a value, and the values, as TensorBoard shows them."""
    points = [(event["step"], event[value]) for event in log if value in event and event["name"] != "best"]
    return [int(str(step)) for step, _ in points], [float(str(number)) for _, number in points]


def dress(axes: Axes, title: str, unit: str) -> None:
    """Give a picture its title and units."""
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel("step")
    axes.set_ylabel(unit)
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def write(figure: Figure, name: str) -> None:
    """Write one picture."""
    path = IMAGES / f"{name}.png"
    figure.savefig(path, dpi=130, metadata={"Software": None})
    print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
