"""A trained character's folder made by hand, its bundle, and bundles written anew with something changed."""

import hashlib
import json
import random
import struct
import zipfile
from pathlib import Path

from duologue.characters import LILA_FOLDER
from duologue.chat import load_folder_character
from duologue.config import load_config, make_folder
from duologue.engine import open_trainer
from duologue.export.bundle import write_bundle
from duologue.train import find_adapter

WEIGHTS = "assets/x_lora/ai/adapter_model.safetensors"
CONFIG = "assets/x_lora/ai/adapter_config.json"
SETTINGS = "assets/x_duologue/other/settings.json"
RUN = "assets/x_duologue/other/run.json"
PREFIX = "base_model.model.model.layers.29.self_attn.q_proj"
REPLIES = [{"prompt": "Hello, who are you?", "base": "A model.", "tuned": "The night conductor, passenger."}]
BASE = {
    "name": "bundled:smollm2-135m",
    "quantization": "none",
    "use_double_quantization": True,
    "int8_threshold": 6.0,
    "compute_dtype": "float32",
}


def safetensors(tensors: dict[str, tuple[list[int], list[float]]]) -> bytes:
    header, body = {}, b""
    for name, (shape, numbers) in tensors.items():
        content = struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def lora(rank: int = 4, *, width: int = 576, first: float | None = None) -> bytes:
    draw = random.Random(7)
    numbers = [draw.uniform(-0.5, 0.5) for _ in range(rank * width)]
    if first is not None:
        numbers[0] = first
    return safetensors(
        {
            f"{PREFIX}.lora_A.weight": ([rank, width], numbers),
            f"{PREFIX}.lora_B.weight": ([width, rank], [draw.uniform(-0.5, 0.5) for _ in range(rank * width)]),
        }
    )


def trained_folder(folder: Path) -> Path:
    """A folder as `duologue train` leaves it, with an adapter of random numbers."""
    make_folder(folder, recipe="quickstart", data=(), card=LILA_FOLDER / "character.png")
    adapter = folder / "runs" / "2026-11-22-1" / "adapter"
    adapter.mkdir(parents=True)
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    settings |= {
        "layers_to_transform": [29],
        "lora_dropout": 0.0,
        "bias": "none",
        "base_model_name_or_path": "/home/ann",
    }
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    (adapter / "adapter_model.safetensors").write_bytes(lora())
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in adapter.iterdir()}
    manifest = {"base": BASE, "adapter_sha256": digests, "num_steps": 5, "machine": "ann-laptop"}
    evaluation = {"base_perplexity": 20.0, "tuned_perplexity": 8.0, "base_loss": 3.0, "tuned_loss": 2.0}
    evaluation |= {"num_scored_tokens": 100, "replies": REPLIES}
    data = {"num_conversations": 9, "num_turns": 20, "num_dropped": 0, "files": [{"path": "/home/ann/diary.json"}]}
    for name, document in (("manifest", manifest), ("evaluation", evaluation), ("data", data)):
        (adapter.parent / f"{name}.json").write_text(json.dumps(document))
    return folder


def bundle_of(folder: Path, file: Path, *, engine="fake", overrides=(), memories=()):
    config = load_config(folder / "duologue.toml", overrides=overrides)
    found = find_adapter(folder)
    assert found is not None
    return write_bundle(
        folder,
        file,
        config=config,
        character=load_folder_character(folder, config),
        adapter=found[1],
        tokenizer=open_trainer(engine).tokenizer(found[1].base),
        memories=memories,
    )


def rewritten(source: Path, target: Path, changes: dict[str, bytes | None], *, lists=True, **manifest) -> Path:
    """Write a bundle again with files replaced, added or (None) left out, and, unless told not to, a list to match."""
    with zipfile.ZipFile(source) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    document = json.loads(files.pop("duologue.json"))
    for name, content in changes.items():
        files.pop(name, None)
        if content is not None:
            files[name] = content
    if lists:
        document["files"] = {
            name: {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        }
    document |= manifest
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        archive.writestr("duologue.json", json.dumps(document))
    return target
