"""Any OpenAI-compatible server as an engine: it generates; it does not score, and its tokens are only estimated."""

from duologue.engine.remote.generator import RemoteGenerator
from duologue.engine.remote.tokenizer import RemoteTokenizer

__all__ = ["RemoteGenerator", "RemoteTokenizer"]
