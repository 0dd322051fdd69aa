"""The adapter on disk, read back and compared by its logits before a run is called done.

Files whose keys do not match load silently as nothing at all, so a saved adapter proves nothing by being there.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file

from duologue.engine.hf.batches import collate
from duologue.engine.hf.load import HfModel, load_model
from duologue.engine.hf.merge import attach
from duologue.engine.hf.passes import Passes
from duologue.engine.hf.recover import free_memory
from duologue.engine.job import Adapter, Example, TrainingJob
from duologue.errors import EngineError
from duologue.files import sync

_PROBE_TOKENS = 64
_LARGEST_DIFFERENCE = 1e-3
_LARGEST_SHARE = 0.05  # of the largest logit, where base and adapter are computed anew in 16 bit or 4


def save_and_compare(passes: Passes, example: Example) -> tuple[Adapter, float]:
    """Save the trained adapter; return it with the largest absolute logit difference after reading it back.

    An adapter that begins at zero leaves its base as it is, so it is read back into the same model. One that begins
    elsewhere (PiSSA, LoftQ) changes the base's weights in memory: it is put on a base loaded from disk, as a person
    will do, and the trained model is gone afterwards.

    Raises:
        EngineError: The adapter on disk is not the one that was trained, or the disk is full.
    """
    job = passes.job
    folder = job.run_folder / "adapter"
    before = _logits(passes, passes.model, example)
    try:
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier end that was interrupted
        passes.model.save_pretrained(str(folder), safe_serialization=True)
        _sort_targets(folder / "adapter_config.json")
        for path in [*folder.iterdir(), folder]:
            sync(path)
    except (OSError, SafetensorError) as error:
        raise EngineError(
            f"the adapter could not be written ({error})",
            where=str(folder),
            action="Free some disk space, then go on with: duologue train FOLDER --resume",
        ) from error
    adapter = Adapter(folder, job.base)
    if job.lora.init_weights == "default":
        _scramble(passes)
        set_peft_model_state_dict(passes.model, load_file(folder / "adapter_model.safetensors"))
        after, allowed = _logits(passes, passes.model, example), _LARGEST_DIFFERENCE
    else:
        passes.model = None
        passes.parameters = []
        free_memory()
        after = _logits(passes, attach(load_model(job.base), adapter), example)
        allowed = _allowed(job, before)
    difference = float((after - before).abs().max())
    if not difference <= allowed:
        raise EngineError(
            f"the saved adapter gives other logits than the trained one (difference {difference:.3g})",
            where=str(folder),
            needed=f"at most {allowed:.3g}",
        )
    return adapter, difference


def _sort_targets(path: Path) -> None:
    """Write the adapted layers in an order of their own: PEFT keeps a set, whose order is another in each process."""
    document = json.loads(path.read_bytes())
    if isinstance(document["target_modules"], list):
        document["target_modules"].sort()
        path.write_text(json.dumps(document, indent=2, sort_keys=True), encoding="utf-8")


def _allowed(job: TrainingJob, logits_BTV: torch.Tensor) -> float:
    is_exact = job.base.quantization == "none" and job.base.compute_dtype == "float32"
    return _LARGEST_DIFFERENCE if is_exact else _LARGEST_SHARE * float(logits_BTV.abs().max())


@torch.no_grad()
def _logits(passes: Passes, model: HfModel, example: Example) -> torch.Tensor:
    model.eval()
    device = model.get_input_embeddings().weight.device
    batch = collate([example], pad_token_id=0, device=device)
    with passes.autocast():
        return model(input_ids=batch["input_ids"][:, :_PROBE_TOKENS], use_cache=False).logits.float().cpu()


@torch.no_grad()
def _scramble(passes: Passes) -> None:
    for parameter in passes.parameters:
        parameter.fill_(0.5)  # so that a file whose keys do not match cannot pass unnoticed
