"""llama.cpp, in this process, through xllamacpp: talks with a `.gguf` file on a CPU or a GPU."""

from duologue.engine.gguf.generator import GgufGenerator
from duologue.engine.gguf.tokenizer import GgufTokenizer

__all__ = ["GgufGenerator", "GgufTokenizer"]
