"""Texts to vectors: the bundled MiniLM in plain numpy, without torch."""

from duologue.engine.embed.base import Embedder
from duologue.engine.embed.opening import MODULE, EmbedderName, is_installed, open_embedder

__all__ = ["MODULE", "Embedder", "EmbedderName", "is_installed", "open_embedder"]
