"""Training in 32 bit, NF4 and int8 on real conversations: loss, held-out perplexity, tokens per second, peak memory.

Takes the first conversations of Synthetic-Persona-Chat (`../shared/data/personachat_sharegpt.json` beside the project,
or `--data FILE`), trains the bundled model once per weight format, each in a process of its own so that peak memory is
its own, and prints one JSON document.

    python benchmarks/weight_formats.py --conversations 300 --out benchmarks/results/weight_formats.json
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "personachat_sharegpt.json"
FORMATS = ("none", "nf4", "int8")


def main() -> None:
    """Measure each format and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--conversations", type=int, default=300)
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps of 8 examples; one epoch is some 54")
    parser.add_argument("--layers", type=int, default=6, help="adapt the last N blocks; fewer are quicker on a CPU")
    parser.add_argument("--formats", nargs="+", default=list(FORMATS), choices=FORMATS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        print(f"skipped: {arguments.data} is not there", file=sys.stderr)
        return
    rows = json.loads(arguments.data.read_text(encoding="utf-8"))[: arguments.conversations]
    results = [measure_format(name, rows, arguments.layers, steps=arguments.steps) for name in arguments.formats]
    document = {
        "benchmark": "weight_formats",
        "machine": {"platform": platform.platform(), "processor": processor(), "python": platform.python_version()},
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "num_conversations": len(rows),
        "rows": results,
    }
    text = json.dumps(document, indent=2)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text + "\n", encoding="utf-8")


def measure_format(name: str, rows: list[Any], layers: int, *, steps: int) -> dict[str, Any]:
    """Train some steps in one weight format through the command line."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "chats.json").write_text(json.dumps(rows), encoding="utf-8")
        (folder / "duologue.toml").write_text(
            f'[model]\nbase = "bundled:smollm2-135m"\nquantization = "{name}"\n'
            '[data]\ntrain = ["chats.json"]\nvalidation_fraction = 0.05\nmax_length_tokens = 512\n'
            f"[lora]\nrank = 16\nalpha = 32\nnum_layers = {layers}\n"
            f"[training]\nmax_steps = {steps}\n"
            "learning_rate = 1e-3\nmicro_batch_size = 4\ngradient_accumulation_steps = 2\n"
            'eval_every_steps = 0\n[evaluation]\nprompts = ["What do you like to do for fun?"]\nmax_new_tokens = 30\n',
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "duologue", "train", str(folder), "--json"]
        ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    document = json.loads(ended.stdout)
    training, evaluation = document["training"], document["evaluation"]
    return {
        "quantization": name,
        "num_steps": training["num_steps"],
        "num_tokens": training["num_tokens"],
        "num_trained_tokens": training["num_trained_tokens"],
        "final_loss": training["final_loss"],
        "base_perplexity": evaluation["base_perplexity"],
        "tuned_perplexity": evaluation["tuned_perplexity"],
        "tokens_per_second": training["tokens_per_second"],
        "planned_tokens_per_second": training["plan_versus_actual"]["tokens_per_second"]["plan"],
        "train_minutes": training["minutes"],
        "peak_memory_gib": training["peak_memory_gib"],
        "planned_memory_gib": training["plan_versus_actual"]["memory_gib"]["plan"],
        "reply": evaluation["replies"][0]["tuned"],
    }


def processor() -> str:
    """Return the processor's name where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} threads" if names else platform.processor()


if __name__ == "__main__":
    main()
