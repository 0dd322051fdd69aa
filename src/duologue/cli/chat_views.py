"""What the model was sent, part by part, and which lore fired, as text for a terminal."""

from typing import TYPE_CHECKING

from duologue.chat import Context, ContextBlock

if TYPE_CHECKING:
    from duologue.cli.terminal import TerminalChat

_SHOWN_CHARS = 76


def show_context(chat: "TerminalChat", argument: str) -> None:
    """Show every part of the last prompt; `full` shows whole texts."""
    context = chat.bot.context(chat.session_id)
    for block in context.blocks:
        chat.out.say(context_row(block, is_full=argument == "full"))
    for left in context.left_out:
        chat.out.say(f"left out: {left.num} {left.kind} ({left.why})", style="yellow")
    chat.out.say(figures(context), style="bold")


def show_lore(chat: "TerminalChat", _: str) -> None:
    """Show which entries of the lorebooks fired for the last reply, and which nearly did."""
    context = chat.bot.context(chat.session_id)
    for trace in context.lore:
        name = " · ".join(part for part in (trace.book, trace.name or trace.uid) if part)
        key = f" [{trace.key}]" if trace.key else ""
        chat.out.say(f"{'fired' if trace.is_fired else 'not':<6}{name}{key}: {trace.why}")
    if not context.lore:
        chat.out.say("no lore fired")


def context_row(block: ContextBlock, *, is_full: bool) -> str:
    """Return one part of a prompt as text."""
    text = block.text if is_full else " ".join(block.text.split())
    if not is_full and len(text) > _SHOWN_CHARS:
        text = f"{text[: _SHOWN_CHARS - 1]}…"
    place = "front" if block.depth < 0 else f"depth {block.depth}"
    why = f"  ({block.why})" if block.why else ""
    return f"{block.num_tokens:>6}  {block.kind:<13}{block.role:<10}{place:<9}{text}{why}"


def figures(context: Context) -> str:
    """Return the sums of a prompt as a sentence."""
    text = f"{context.num_prompt_tokens} of {context.room_tokens} tokens"
    if context.cached_fraction is not None:
        text += f"; {context.cached_fraction:.0%} were cached"
    if context.session_cached_fraction is not None:
        text += f", {context.session_cached_fraction:.0%} in this session so far"
    return text
