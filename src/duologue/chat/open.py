"""A character's folder to a bot."""

from contextlib import ExitStack
from pathlib import Path

from duologue.characters import Character, load_character
from duologue.chat.bot import Bot, slug
from duologue.chat.sessions import Sessions
from duologue.config import Config
from duologue.engine import Adapter, BaseModel, EngineName, open_generator
from duologue.guard import ContentPolicy
from duologue.memory import MemoryStore, Scope


def open_bot(
    folder: Path, config: Config, *, engine: EngineName = "hf", adapter: Adapter | None = None, api_key: str = ""
) -> Bot:
    """Open card, sessions, memory and model of a character's folder.

    Args:
        folder: The character's folder.
        config: Its configuration.
        engine: Which engine replies.
        adapter: The trained adapter; None talks to the base model.
        api_key: For the `remote` engine.

    Raises:
        DuologueError: One of the parts cannot be opened; what was opened before is closed again.
    """
    character = load_folder_character(folder, config)
    _check_card(character, config)
    with ExitStack() as opened:
        sessions = Sessions.open(folder / "chats.sqlite")
        opened.callback(sessions.close)
        memory = MemoryStore.open(folder / "memory.sqlite") if config.memory.enabled else None
        if memory is not None:
            opened.callback(memory.close)
        base = adapter.base if adapter is not None else _base(config)
        generator = open_generator(engine, base, adapter=adapter, api_key=api_key)
        opened.pop_all()
    return Bot(generator, character, config=config, sessions=sessions, memory=memory)


def load_folder_character(folder: Path, config: Config) -> Character:
    """Return the character of a folder: its card, or a plain one named after the folder.

    Raises:
        ConfigError: The card is missing or broken.
    """
    if config.character.card:
        return load_character(folder / config.character.card)
    return Character(folder.resolve().name.replace("-", " ").replace("_", " ").title())


def memory_scope(folder: Path, config: Config, *, user: str = "local") -> Scope:
    """Return whose memories a folder holds."""
    return Scope(user=user, character=slug(load_folder_character(folder, config).name))


def _check_card(character: Character, config: Config) -> None:
    texts = (
        character.name,
        character.description,
        character.personality,
        character.scenario,
        character.system_prompt,
        character.example_dialogue,
        character.greeting,
        *character.alternate_greetings,
    )
    ContentPolicy(config.guard.rating).check(texts, where=config.character.card or "character")


def _base(config: Config) -> BaseModel:
    model = config.model
    return BaseModel(
        name=model.base,
        quantization="none" if model.quantization == "auto" else model.quantization,
        use_double_quantization=model.use_double_quantization,
        int8_threshold=model.int8_threshold,
        compute_dtype="float32" if model.compute_dtype == "auto" else model.compute_dtype,
    )
