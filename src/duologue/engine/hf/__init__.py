"""The engine on transformers, PEFT and bitsandbytes: trains, and serves right after training."""

import logging

# bitsandbytes notes, when it is imported on some processors, that a package of kernels it could do without is absent.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

from duologue.engine.hf.generate import HfGenerator  # noqa: E402
from duologue.engine.hf.trainer import HfTrainer  # noqa: E402

__all__ = ["HfGenerator", "HfTrainer"]
