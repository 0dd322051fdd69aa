"""What each form of a GGUF file loses: KL divergence and greedy agreement of every form, by the export's own check.

Trains a small adapter on the first conversations of Synthetic-Persona-Chat (`../shared/data/personachat_sharegpt.json`
beside the project, or `--data FILE`), folds it in, writes each form and compares it in llama.cpp with the adapter on
its base, on conversations that were held out. Two bases, because the bundled model alone would tell too little:

- `bundled`: the model as it is. Its rows of 576 weights are no multiple of 256, so most of its tensors take the
  shorter blocks (Q8_0, Q5_1, Q5_0, Q4_0) and not K-quants, and its weights lie on the grid of the Q4_1 file it comes
  in, which rounds them well.
- `turned`: the same function with its residual stream turned at random into 768 dimensions. Every row is a multiple of
  256, so every tensor takes the K-quant that larger models get, and no weight lies on a grid.

    python -m benchmarks.gguf_forms --out benchmarks/results/gguf_forms.json      # about 10 minutes, 4 GB of disk
    python -m benchmarks.gguf_forms --forms f16 q3_k_m --steps 2 --conversations 12

Only times depend on what else the machine does; no time is a result here.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from duologue.cli.exporting import held_out
from duologue.cli.workflow import prepare, trained_adapter
from duologue.engine import GGUF_FORMS, BaseModel, compare_gguf, write_gguf
from duologue.engine.bundled import bundled_file
from duologue.engine.hf.load import load_model, quiet
from duologue.export.parity import BARS

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "personachat_sharegpt.json"
BUNDLED = "bundled:smollm2-135m"
BASES = ("bundled", "turned")
WIDTH, NUM_HEADS, NUM_KV_HEADS = 768, 12, 4  # of the turned model; 576, 9 and 3 in the bundled one
SAME_FUNCTION = 2e-3  # largest difference of logits between the two, of some 20


def main() -> None:
    """Measure every form on every base and print the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--conversations", type=int, default=200)
    parser.add_argument("--steps", type=int, default=12, help="optimizer steps of 8 examples")
    parser.add_argument("--bases", nargs="+", default=list(BASES), choices=BASES)
    parser.add_argument("--forms", nargs="+", default=list(GGUF_FORMS), choices=GGUF_FORMS)
    parser.add_argument("--folder", type=Path, help="where the files are written; a temporary folder by default")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    if not arguments.data.is_file():
        print(f"skipped: {arguments.data} is not there", file=sys.stderr)
        return
    rows = json.loads(arguments.data.read_text(encoding="utf-8"))[: arguments.conversations]
    results = []
    for name in arguments.bases:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
            results.append(measured(name, rows, Path(place), forms=arguments.forms, steps=arguments.steps))
    document = {
        "benchmark": "gguf_forms",
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "load_average": os.getloadavg(),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "num_conversations": len(rows),
        "bases": results,
    }
    text = json.dumps(document, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def measured(name: str, rows: list[Any], place: Path, *, forms: Sequence[str], steps: int) -> dict[str, Any]:
    """Train on a base, fold, write each form, and compare it."""
    base = BUNDLED
    if name == "turned":
        base = str(place / "turned")
        turn(place / "turned")
    folder = place / "character"
    folder.mkdir()
    (folder / "chats.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "duologue.toml").write_text(
        f"[model]\nbase = {json.dumps(base)}\n"
        '[data]\ntrain = ["chats.json"]\nvalidation_fraction = 0.1\nmax_length_tokens = 256\n'
        "[lora]\nrank = 16\nalpha = 32\n"
        f"[training]\nmax_steps = {steps}\nlearning_rate = 1e-3\n"
        "micro_batch_size = 1\ngradient_accumulation_steps = 8\neval_every_steps = 0\nnum_sample_replies = 0\n",
        encoding="utf-8",
    )
    training = command("train", str(folder), "--no-eval")["training"]
    command("export", "merged", str(folder))
    adapter = trained_adapter(folder)
    prepared = prepare(folder, None)
    held = held_out(prepared)
    found = []
    for form in forms:
        file = folder / f"{form}.gguf"
        write_gguf(folder / "exports" / "merged", file, form=form, on_event=lambda _: None)
        (parity,) = compare_gguf(adapter, [file], held.examples, held.prompts)
        kinds = Counter(tensor.tensor_type.name for tensor in GGUFReader(file).tensors)
        bar = BARS[form]
        found.append(
            {
                "form": form,
                **parity.as_json(),
                "mib": round(file.stat().st_size / 2**20, 1),
                "tensors_by_type": dict(kinds),
                "bar": {"mean_kl_nats": bar.mean_kl_nats, "greedy_agreement": bar.greedy_agreement},
            }
        )
        print(f"{name} {form}: {parity.mean_kl_nats:.3g} nats, {parity.greedy_agreement:.1%}", file=sys.stderr)
        file.unlink()
    return {
        "base": name,
        "num_steps": training["num_steps"],
        "num_trained_tokens": training["num_trained_tokens"],
        "final_loss": training["final_loss"],
        "forms": found,
    }


def command(*words: str) -> dict[str, Any]:
    """Run a command of duologue's and return its JSON."""
    done = subprocess.run([sys.executable, "-m", "duologue", *words, "--json"], check=True, stdout=subprocess.PIPE)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@torch.no_grad()
def turn(folder: Path) -> None:
    """Write the bundled model as another with the same function, in rows of 768 and 1536 weights.

    A norm without weights commutes with a rotation, so each norm's weights go into the layers behind it, and the
    residual stream is multiplied with an isometry from 576 to 768 dimensions (as QuaRot does, arXiv 2404.00456). The
    mean over 768 dimensions is 3/4 of that over 576, which the norms' weights and epsilon make good. Values are turned
    within each head. The heads that are added have weights of zero.
    """
    file = bundled_file(BUNDLED)
    with quiet():
        tokenizer = PreTrainedTokenizerFast.from_pretrained(str(file.parent), gguf_file=file.name)
    old = load_model(BaseModel(BUNDLED)).float()
    config, draw = old.config, torch.Generator().manual_seed(0)
    head = config.hidden_size // config.num_attention_heads
    share = config.hidden_size / WIDTH
    isometry = torch.linalg.qr(torch.randn(WIDTH, config.hidden_size, generator=draw))[0]
    turns = [torch.linalg.qr(torch.randn(head, head, generator=draw))[0] for _ in range(config.num_key_value_heads)]
    group = config.num_attention_heads // config.num_key_value_heads
    values = torch.block_diag(*turns)
    outputs = torch.block_diag(*(turns[at // group] for at in range(config.num_attention_heads)))

    def padded(weight: torch.Tensor, num_rows: int) -> torch.Tensor:
        return torch.cat([weight, torch.zeros(num_rows - len(weight), weight.shape[1])])

    state = {"model.norm.weight": torch.full((WIDTH,), share**0.5)}
    state["model.embed_tokens.weight"] = old.model.embed_tokens.weight @ isometry.T
    state["lm_head.weight"] = (old.lm_head.weight * old.model.norm.weight) @ isometry.T
    for number, layer in enumerate(old.model.layers):
        name = f"model.layers.{number}"
        for norm in ("input_layernorm", "post_attention_layernorm"):
            state[f"{name}.{norm}.weight"] = torch.full((WIDTH,), share**0.5)
        before, after = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
        attention, mlp = layer.self_attn, layer.mlp
        heads = {"q_proj": NUM_HEADS, "k_proj": NUM_KV_HEADS, "v_proj": NUM_KV_HEADS}
        for part, num_heads in heads.items():
            weight = getattr(attention, part).weight * before @ isometry.T
            weight = values @ weight if part == "v_proj" else weight
            state[f"{name}.self_attn.{part}.weight"] = padded(weight, num_heads * head)
        for part in ("gate_proj", "up_proj"):
            state[f"{name}.mlp.{part}.weight"] = getattr(mlp, part).weight * after @ isometry.T
        turned_back = attention.o_proj.weight @ outputs.T
        state[f"{name}.self_attn.o_proj.weight"] = padded((isometry @ turned_back).T, NUM_HEADS * head).T.contiguous()
        state[f"{name}.mlp.down_proj.weight"] = isometry @ mlp.down_proj.weight
    new = LlamaForCausalLM(
        LlamaConfig(
            **{
                **config.to_dict(),
                "hidden_size": WIDTH,
                "num_attention_heads": NUM_HEADS,
                "num_key_value_heads": NUM_KV_HEADS,
                "head_dim": head,
                "rms_norm_eps": config.rms_norm_eps * share,
                "tie_word_embeddings": False,
            }
        )
    )
    new.load_state_dict(state, strict=True)
    ids = torch.tensor([tokenizer.encode("The last tram leaves the harbour at midnight, said the conductor.")])
    difference = float((new(ids).logits - old(ids).logits).abs().max())
    assert difference < SAME_FUNCTION, f"the turned model is another one: its logits differ by {difference:g}"
    new.to(torch.bfloat16).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


if __name__ == "__main__":
    main()
