"""A character's folder to a bot."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from duologue.characters import Character, load_character, load_lorebook
from duologue.chat.bot import Bot
from duologue.chat.cast import Cast, Member, slug
from duologue.chat.people import People
from duologue.chat.sessions import Sessions
from duologue.config import Config
from duologue.engine import Adapter, BaseModel, EngineName, Generator, Shelf, open_generator
from duologue.engine.embed import open_embedder
from duologue.errors import ConfigError
from duologue.guard import ContentPolicy, ModelJudge, check_character
from duologue.memory import MemoryStore, Scope, open_hosted


def open_bot(
    folder: Path,
    config: Config,
    *,
    engine: EngineName = "hf",
    adapter: Adapter | None = None,
    api_key: str = "",
    database_url: str = "",
    supermemory_key: str = "",
    shelf: Shelf | None = None,
    people: People | None = None,
    judge_key: str = "",
    merged: BaseModel | None = None,
    base: BaseModel | None = None,
    num_replies: int = 1,
) -> Bot:
    """Open cards, lorebooks, sessions, memory and model of a character's folder.

    Args:
        folder: The character's folder.
        config: Its configuration.
        engine: Which engine replies.
        adapter: The trained adapter; None talks to the base model.
        api_key: For the `remote` engine.
        database_url: Address of a PostgreSQL database for chats and memories; empty for files in the folder.
        supermemory_key: Key of the second memory, where `memory.supermemory` asks for it.
        shelf: Where the model is shared with other bots and loaded once it is needed; None loads one of its own now.
        people: What users have set for themselves, shared by the bots of a server.
        judge_key: API key of the judge's server (`guard.judge`).
        merged: An exported model that has the trained adapter in it; with it `adapter` is None.
        base: How the base is held in memory where no adapter says it; as the configuration says when None.
        num_replies: Replies that the model makes at the same time.

    Raises:
        DuologueError: One of the parts cannot be opened; what was opened before is closed again.
    """
    cast = load_cast(folder, config)
    _check_cast(cast, config)
    if config.memory.supermemory and not supermemory_key:
        raise ConfigError(
            "memory.supermemory is true, but there is no key",
            where="memory.supermemory",
            action="Set SUPERMEMORY_API_KEY, or set memory.supermemory to false.",
        )
    with ExitStack() as opened:
        told: list[str] = []
        sessions = Sessions.open(database_url or folder / "chats.sqlite", notify=told.append)
        opened.callback(sessions.close)
        memory, hosted = None, None
        if config.memory.enabled:
            embedder = open_embedder(config.memory.embedder)
            place = database_url or folder / "memory.sqlite"
            memory = MemoryStore.open(place, embedder=embedder, notify=told.append)
            opened.callback(memory.close)
            if config.memory.supermemory:
                hosted = open_hosted(memory, url=config.memory.supermemory_url, key=supermemory_key)
                hosted.start()
                opened.callback(hosted.close)
        model = adapter.base if adapter is not None else merged or base or _base(config)
        model = replace(model, trusted_code=config.model.trusted_code)
        lend = open_generator if shelf is None else shelf.lend
        generator = lend(engine, model, adapter=adapter, api_key=api_key)
        opened.callback(generator.close)
        bot = Bot(
            generator,
            cast,
            config=config,
            sessions=sessions,
            memory=memory,
            is_trained=adapter is not None or merged is not None,
            hosted=hosted,
            told=told,
            people=people,
            judge=_judge(config, lend, api_key=judge_key),
            num_replies=num_replies,
        )
        opened.pop_all()
    return bot


def load_cast(folder: Path, config: Config) -> Cast:
    """Return everyone in a folder's chats, with their lorebooks.

    Raises:
        ConfigError: A card or a lorebook is missing or broken, or two characters have the same name.
    """
    settings = config.character
    more = [replace(load_lorebook(folder / path), origin="global") for path in settings.lorebooks]
    characters = [load_folder_character(folder, config)]
    characters += [load_character(folder / path) for path in settings.companions]
    members = tuple(Member.of(character, more=more) for character in characters)
    _check_names(members, config)
    return Cast(members, settings.speaking_order)


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


def _check_names(members: Sequence[Member], config: Config) -> None:
    taken = [config.character.user_name.casefold()] if len(members) > 1 else []
    for member in members:
        names = {member.name.casefold(), member.model_id}
        if names & set(taken):
            raise ConfigError(
                f"two in this chat are called '{member.name}'",
                where="character.companions",
                needed="another name for each",
                action="Give one of the cards a nickname, or change character.user_name.",
            )
        taken += names


def _check_cast(cast: Cast, config: Config) -> None:
    """Refuse cards and lore that no chat may hold, before anything is opened."""
    rating, settings = config.guard.rating, config.character
    ContentPolicy(rating).check([settings.persona, settings.author_note], where="character")
    for number, member in enumerate(cast.members):
        where = (settings.companions[number - 1] if number else settings.card) or "character"
        check_character(member.character, rating=rating, where=where, lorebooks=member.lorebooks)


def _judge(config: Config, lend: Callable[..., Generator], *, api_key: str) -> ModelJudge | None:
    """Return the model that is asked as well. One on this machine counts among the models in memory."""
    guard = config.guard
    if not guard.judge:
        return None
    is_remote = "://" in guard.judge
    engine: EngineName = "remote" if is_remote else "gguf" if guard.judge.endswith(".gguf") else "hf"

    def open_model() -> Generator:
        if is_remote:
            return open_generator(engine, BaseModel(name=guard.judge), api_key=api_key)
        return lend(engine, BaseModel(name=guard.judge))

    return ModelJudge(open_model, guard.judge_format, rating=guard.rating)


def _base(config: Config) -> BaseModel:
    model = config.model
    return BaseModel(
        name=model.base,
        quantization="none" if model.quantization == "auto" else model.quantization,
        use_double_quantization=model.use_double_quantization,
        int8_threshold=model.int8_threshold,
        compute_dtype="float32" if model.compute_dtype == "auto" else model.compute_dtype,
    )
