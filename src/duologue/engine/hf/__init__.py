"""The engine on transformers, PEFT and bitsandbytes: trains, and serves right after training."""

from duologue.engine.hf.fit import HfTrainer
from duologue.engine.hf.generate import HfGenerator

__all__ = ["HfGenerator", "HfTrainer"]
