"""Engines: what trains and what generates, behind small Protocols. Model libraries stay in `engine.hf`."""

from duologue.engine.base import Generator, Piece, Sampling, TemplateTraits, TextTokenizer, Tokenizer, Trainer
from duologue.engine.facts import Gpu, Hardware, ModelFacts
from duologue.engine.hardware import detect_hardware
from duologue.engine.job import (
    NOT_TRAINED,
    Adapter,
    BaseModel,
    Event,
    Example,
    FitResult,
    LoraSettings,
    OnEvent,
    Place,
    Precision,
    Quantization,
    SampleRequest,
    TrainingJob,
)
from duologue.engine.merging import Onto, Parity
from duologue.engine.neutral import count_neutralised, neutralise
from duologue.engine.open import ENGINES, EngineName, join_training, open_generator, open_trainer, probe_training
from duologue.engine.packing import pack
from duologue.engine.probed import MicroBatch, MicroStep, Probe
from duologue.engine.shelf import Shelf

__all__ = [
    "ENGINES",
    "NOT_TRAINED",
    "Adapter",
    "BaseModel",
    "EngineName",
    "Event",
    "Example",
    "FitResult",
    "Generator",
    "Gpu",
    "Hardware",
    "LoraSettings",
    "MicroBatch",
    "MicroStep",
    "ModelFacts",
    "OnEvent",
    "Onto",
    "Parity",
    "Piece",
    "Place",
    "Precision",
    "Probe",
    "Quantization",
    "SampleRequest",
    "Sampling",
    "Shelf",
    "TemplateTraits",
    "TextTokenizer",
    "Tokenizer",
    "Trainer",
    "TrainingJob",
    "count_neutralised",
    "detect_hardware",
    "join_training",
    "neutralise",
    "open_generator",
    "open_trainer",
    "pack",
    "probe_training",
]
