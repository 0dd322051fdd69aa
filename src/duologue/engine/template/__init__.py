"""Chat templates, which are programs written by whoever published the model: filled in a sandbox with a budget."""

from duologue.engine.template.fill import MAX_TEMPLATE_CHARS, ChatTemplate

__all__ = ["MAX_TEMPLATE_CHARS", "ChatTemplate"]
