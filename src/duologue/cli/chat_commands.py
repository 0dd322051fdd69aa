"""The commands of `duologue chat`: what a line that begins with a slash does."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duologue.cli import chat_memory, chat_views
from duologue.config import preset_about, preset_names
from duologue.errors import ConfigError

if TYPE_CHECKING:
    from duologue.cli.terminal import TerminalChat

Run = Callable[["TerminalChat", str], None]


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes:
        run: Does it; gets what stands behind the command's name.
        usage: What may stand there.
        about: What it does.
    """

    run: Run
    usage: str
    about: str


def help_text() -> str:
    """Return the list of commands."""
    rows = [(f"{name} {command.usage}".strip(), command.about) for name, command in COMMANDS.items()]
    rows += [("/help", "this list"), ("/quit", "end (also Ctrl-D); Ctrl-C stops a reply")]
    width = max(len(usage) for usage, _ in rows) + 2
    return "\n".join(f"{usage:<{width}}{about}" for usage, about in rows)


def _new(chat: "TerminalChat", argument: str) -> None:
    chat.open(chat.bot.new_session(greeting=_number(argument, 1) - 1))


def _sessions(chat: "TerminalChat", argument: str) -> None:
    found = chat.bot.sessions.list_sessions(character=chat.bot.model_id, tag=argument)
    for number, info in enumerate(found, start=1):
        tags = f"  #{' #'.join(info.tags)}" if info.tags else ""
        chat.out.say(f"{number:>4}  {info.updated_at[:16]}  {info.num_messages} messages  {info.title}{tags}")


def _open(chat: "TerminalChat", argument: str) -> None:
    known = chat.bot.sessions.list_sessions(character=chat.bot.model_id)
    if not argument.isdecimal() or not 1 <= int(argument) <= len(known):
        raise ConfigError(f"'{argument}' is no session", needed="a number as /sessions shows it")
    chat.open(known[int(argument) - 1].id)


def _history(chat: "TerminalChat", _: str) -> None:
    chat.show_history()


def _swipe(chat: "TerminalChat", argument: str) -> None:
    message_id = chat.message(argument).id if argument else None
    chat.show(lambda cancel: chat.bot.regenerate(chat.session_id, cancel=cancel, message_id=message_id))


def _left(chat: "TerminalChat", argument: str) -> None:
    _step(chat, argument, by=-1)


def _right(chat: "TerminalChat", argument: str) -> None:
    _step(chat, argument, by=1)


def _step(chat: "TerminalChat", argument: str, *, by: int) -> None:
    path = chat.path()
    entry = chat.message(argument) if argument else path[-1]
    shown = chat.bot.editor.swipe(chat.session_id, by=by, message_id=entry.id)
    if shown is not None:
        chat.out.say(f"[{shown.swipe}/{shown.num_swipes}] {chat.name_of(shown)}: {shown.message.content}\n")
    elif by > 0 and not argument and entry.message.role == "assistant" and len(path) > 1:
        chat.show(lambda cancel: chat.bot.regenerate(chat.session_id, cancel=cancel))
    else:
        chat.out.say("there is no other version in this direction")


def _edit(chat: "TerminalChat", argument: str) -> None:
    number, _, text = argument.partition(" ")
    chat.bot.editor.edit(chat.session_id, chat.message(number).id, text)
    chat.out.say("changed; /undo takes it back")


def _resay(chat: "TerminalChat", argument: str) -> None:
    number, _, text = argument.partition(" ")
    message_id = chat.message(number).id
    chat.show(lambda cancel: chat.bot.edit_and_reply(chat.session_id, message_id, text, cancel=cancel))
    chat.show_waiting()


def _delete(chat: "TerminalChat", argument: str) -> None:
    num_gone = chat.bot.editor.delete_message(chat.session_id, chat.message(argument).id)
    chat.out.say(f"deleted {num_gone} messages; /undo brings them back")


def _undo(chat: "TerminalChat", _: str) -> None:
    kind = chat.bot.editor.undo(chat.session_id)
    chat.out.say(f"undone: {kind}" if kind else "there is nothing to undo")


def _branch(chat: "TerminalChat", argument: str) -> None:
    entry = chat.message(argument) if argument else chat.path()[-1]
    chat.open(chat.bot.editor.branch(chat.session_id, entry.id))


def _continue(chat: "TerminalChat", _: str) -> None:
    chat.show(lambda cancel: chat.bot.continue_reply(chat.session_id, cancel=cancel))


def _impersonate(chat: "TerminalChat", _: str) -> None:
    chat.show(lambda cancel: chat.bot.impersonate(chat.session_id, cancel=cancel))
    chat.out.say("(not sent; write it yourself if you like it)", style="dim")


def _greeting(chat: "TerminalChat", argument: str) -> None:
    greetings = chat.bot.editor.greetings
    if not argument:
        for number, text in enumerate(greetings, start=1):
            chat.out.say(f"{number}. {text}\n")
        return
    chosen = _number(argument, 0)
    path = chat.path()
    versions = chat.bot.sessions.swipes(path[0].id) if path else ()
    wanted = greetings[chosen - 1] if 1 <= chosen <= len(greetings) else None
    found = next((entry for entry in versions if entry.message.content == wanted), None)
    if found is None:
        chat.open(chat.bot.new_session(greeting=chosen - 1))
    else:
        chat.bot.editor.choose(chat.session_id, found.id)
        chat.show_history()


def _note(chat: "TerminalChat", argument: str) -> None:
    depth, text = None, argument
    first, _, rest = argument.partition(" ")
    if first.startswith("depth="):
        depth, text = _number(first.removeprefix("depth="), 4), rest
    if argument:
        chat.bot.editor.set_note(chat.session_id, "" if text == "-" else text, depth=depth)
    note = chat.bot.editor.note(chat.session_id)
    chat.out.say(f"{note.text} (depth {note.depth})" if note.text else "there is no note")


def _summary(chat: "TerminalChat", argument: str) -> None:
    if argument:
        chat.bot.editor.set_summary(chat.session_id, "" if argument == "-" else argument)
    summary = chat.bot.editor.summary(chat.session_id)
    if summary is None:
        chat.out.say("there is no summary; generation.summarise makes one of what no longer fits the context")
    else:
        chat.out.say(f"{summary.text} (of the first {summary.num_messages} messages)")


def _preset(chat: "TerminalChat", argument: str) -> None:
    if argument:
        chat.say_unsupported(chat.bot.draw(preset=argument))
        return
    for name in preset_names():
        chat.out.say(f"{name:<16}{preset_about(name)}")


def _set(chat: "TerminalChat", argument: str) -> None:
    key, equals, value = argument.partition("=")
    if equals:
        chat.say_unsupported(chat.bot.draw(**{key.strip(): value.strip()}))
    generation = chat.bot.config.generation.model_dump()
    shown = {key.strip(): generation[key.strip()]} if equals else generation
    chat.out.say("\n".join(f"{name} = {found}" for name, found in shown.items()))


def _rename(chat: "TerminalChat", argument: str) -> None:
    chat.bot.sessions.rename(chat.session_id, argument)
    chat.out.say(f"this session is called: {chat.bot.sessions.info(chat.session_id).title}")


def _tag(chat: "TerminalChat", argument: str) -> None:
    if argument:
        words = [] if argument == "-" else [tag.lstrip("#") for tag in argument.replace(",", " ").split()]
        chat.bot.sessions.set_tags(chat.session_id, words)
    tags = chat.bot.sessions.info(chat.session_id).tags
    chat.out.say(" ".join(f"#{tag}" for tag in tags) or "no tags")


def _search(chat: "TerminalChat", argument: str) -> None:
    hits = chat.bot.sessions.search(argument, character=chat.bot.model_id)
    numbers = {
        info.id: number
        for number, info in enumerate(chat.bot.sessions.list_sessions(character=chat.bot.model_id), start=1)
    }
    for hit in hits:
        chat.out.say(f"{numbers.get(hit.session_id, 0):>4}  {hit.created_at[:16]}  {hit.title}: {hit.snippet}")
    chat.out.say("(/open NUMBER goes there)" if hits else "nothing was found", style="dim")


def _as(chat: "TerminalChat", argument: str) -> None:
    name = argument or chat.bot.name
    if chat.show(lambda cancel: chat.bot.next_reply(chat.session_id, cancel=cancel, speaker=name)) is None:
        chat.out.say("say something first")


def _next(chat: "TerminalChat", _: str) -> None:
    chat.show(lambda cancel: chat.bot.go_on(chat.session_id, cancel=cancel))


def _say(chat: "TerminalChat", argument: str) -> None:
    chat.bot.say(chat.session_id, argument)


def _hide(chat: "TerminalChat", argument: str) -> None:
    entry = chat.message(argument)
    chat.bot.editor.hide(chat.session_id, entry.id, is_hidden=not entry.is_hidden)
    chat.out.say("in the prompt again" if entry.is_hidden else "no longer in the prompt")


def _like(chat: "TerminalChat", argument: str) -> None:
    _mark(chat, argument, is_liked=True)


def _dislike(chat: "TerminalChat", argument: str) -> None:
    _mark(chat, argument, is_liked=False)


def _mark(chat: "TerminalChat", argument: str, *, is_liked: bool) -> None:
    """Mark a reply, or take the same mark back; say what is used of it, and ask for nothing twice."""
    path, marks = chat.path(), chat.bot.sessions.marks
    entry = chat.message(argument) if argument else path[-1] if path else None
    if entry is None or entry.message.role != "assistant":
        raise ConfigError("that is no reply", needed="the number of a reply, as /history shows it")
    was = marks.opinions(chat.session_id).get(entry.id)
    marks.set_opinion(entry.id, None if was is is_liked else is_liked)
    chat.out.say("taken back" if was is is_liked else "liked" if is_liked else "disliked")
    consent = marks.consent(chat.session_id)
    if not consent.state:
        marks.set_consent(chat.session_id, "asked")
        chat.out.say(
            "No model learns from it: this chat has no consent. To let one learn from its likes, chosen versions and"
            " edits: /consent give"
        )


def _consent(chat: "TerminalChat", argument: str) -> None:
    marks, states = chat.bot.sessions.marks, {"give": "given", "refuse": "refused"}
    if argument and argument not in states:
        raise ConfigError(f"'{argument}' is no answer", needed="give or refuse")
    if argument == "give":
        marks.set_consent(chat.session_id, "given")
    elif argument == "refuse":
        marks.set_consent(chat.session_id, "refused")
    is_given = marks.consent(chat.session_id).state == "given"
    chat.out.say(f"training {'may' if is_given else 'may not'} use the likes, chosen versions and edits of this chat")


def _number(text: str, default: int) -> int:
    if text and not text.isdecimal():
        raise ConfigError(f"'{text}' is no number")
    return int(text) if text else default


COMMANDS: dict[str, Command] = {
    "/new": Command(_new, "[N]", "start a new session, with greeting N"),
    "/sessions": Command(_sessions, "[TAG]", "earlier sessions"),
    "/open": Command(_open, "N", "go on with an earlier session"),
    "/rename": Command(_rename, "TITLE", "call this session so"),
    "/tag": Command(_tag, "[TAG ...|-]", "show or set its tags"),
    "/search": Command(_search, "WORDS", "find words in all sessions"),
    "/history": Command(_history, "", "the session so far, with numbers"),
    "/swipe": Command(_swipe, "[N]", "another reply to the last message, or beside reply N (also /regenerate)"),
    "/regenerate": Command(_swipe, "[N]", "the same as /swipe"),
    "/left": Command(_left, "[N]", "the version before"),
    "/right": Command(_right, "[N]", "the next version; a new one behind the last"),
    "/edit": Command(_edit, "N TEXT", "change message N; what follows stays"),
    "/resay": Command(_resay, "N TEXT", "say your message N differently and get a new reply"),
    "/delete": Command(_delete, "N", "delete message N and what follows"),
    "/undo": Command(_undo, "", "take the last change back"),
    "/like": Command(_like, "[N]", "like the last reply, or reply N; the same again takes it back"),
    "/dislike": Command(_dislike, "[N]", "the opposite"),
    "/consent": Command(_consent, "[give|refuse]", "whether training may use what you like, choose and edit here"),
    "/branch": Command(_branch, "[N]", "copy the chat up to message N into a new session"),
    "/hide": Command(_hide, "N", "keep message N out of the prompt, or let it in again"),
    "/continue": Command(_continue, "", "go on with the last reply"),
    "/impersonate": Command(_impersonate, "", "what you might say next"),
    "/greeting": Command(_greeting, "[N]", "list the greetings, or begin with greeting N"),
    "/as": Command(_as, "NAME", "let NAME reply, in a chat of several"),
    "/next": Command(_next, "", "let somebody speak although you say nothing"),
    "/say": Command(_say, "TEXT", "say something without a reply"),
    "/note": Command(_note, "[depth=N] [TEXT|-]", "show, set or remove the author's note of this session"),
    "/summary": Command(_summary, "[TEXT|-]", "show, write or remove the summary of what no longer fits"),
    "/context": Command(chat_views.show_context, "[full]", "what the model was sent: every part, its tokens, and why"),
    "/lore": Command(chat_views.show_lore, "", "which lore fired for the last reply, and why"),
    "/recalled": Command(chat_memory.show_recalled, "", "what was remembered for the last reply"),
    "/recall": Command(chat_memory.remind, "WORDS", "remember this for the next reply"),
    "/memory": Command(
        chat_memory.run,
        "[VERB ...]",
        "what is remembered: search WORDS, why N, pin N, unpin N, private N, public N, forget N ...",
    ),
    "/preset": Command(_preset, "[NAME]", "list the sampler presets, or take one"),
    "/set": Command(_set, "[KEY=VALUE]", "show or change how replies are drawn"),
}
