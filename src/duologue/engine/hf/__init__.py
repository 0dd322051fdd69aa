"""The engine on transformers, PEFT and bitsandbytes: trains, and serves right after training."""

from duologue.engine.hf.generate import HfGenerator
from duologue.engine.hf.trainer import HfTrainer

__all__ = ["HfGenerator", "HfTrainer"]
