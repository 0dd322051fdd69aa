"""duologue: fine-tune a chat model on your own conversations and talk to the character."""

__version__ = "0.1.0"
