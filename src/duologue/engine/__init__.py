"""Engines: what trains and what generates, behind small Protocols. Model libraries stay in `engine.hf`."""

from duologue.engine.base import Generator, Piece, Sampling, TemplateTraits, TextTokenizer, Tokenizer, Trainer
from duologue.engine.bundled import BUNDLED_MODELS, bundled_file
from duologue.engine.bundled import PREFIX as BUNDLED_PREFIX
from duologue.engine.facts import Gpu, Hardware, ModelFacts
from duologue.engine.gguf_checking import Turns, compare_gguf, place_of_base, read_turns
from duologue.engine.gguf_writing import (
    GGUF_FORMS,
    GgufForm,
    check_gguf_base,
    gguf_size_bytes,
    write_gguf,
    write_lora_gguf,
)
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
from duologue.engine.open import (
    ENGINES,
    EngineName,
    join_training,
    open_generator,
    open_preference_trainer,
    open_trainer,
    probe_training,
)
from duologue.engine.packing import pack
from duologue.engine.preference_job import (
    FeedbackExample,
    LikedExample,
    PreferenceExample,
    PreferenceJob,
    PreferenceMethod,
    PreferenceTrainer,
)
from duologue.engine.probed import MicroBatch, MicroStep, Probe
from duologue.engine.shelf import Shelf

__all__ = [
    "BUNDLED_MODELS",
    "BUNDLED_PREFIX",
    "ENGINES",
    "GGUF_FORMS",
    "NOT_TRAINED",
    "Adapter",
    "BaseModel",
    "EngineName",
    "Event",
    "Example",
    "FeedbackExample",
    "FitResult",
    "Generator",
    "GgufForm",
    "Gpu",
    "Hardware",
    "LikedExample",
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
    "PreferenceExample",
    "PreferenceJob",
    "PreferenceMethod",
    "PreferenceTrainer",
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
    "Turns",
    "bundled_file",
    "check_gguf_base",
    "compare_gguf",
    "count_neutralised",
    "detect_hardware",
    "gguf_size_bytes",
    "join_training",
    "neutralise",
    "open_generator",
    "open_preference_trainer",
    "open_trainer",
    "pack",
    "place_of_base",
    "probe_training",
    "read_turns",
    "write_gguf",
    "write_lora_gguf",
]
