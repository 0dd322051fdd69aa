"""Drawings for a terminal: conversations as they are trained, and the figures of files.

What is trained and what is cut has a colour, a line and brackets, so that one of them is left without colours, on paper
and in a pipe.
"""

from itertools import groupby

from rich.table import Table
from rich.text import Text

from duologue.cli.output import Output
from duologue.data import (
    DataLook,
    Distribution,
    Shown,
    ShownConversation,
    ShownMessage,
    bin_name,
    message_title,
    visible,
)

_STYLES = {"trained": "green underline", "context": "", "cut": "red strike"}
_BRACKETS = {"trained": ("⟦", "⟧"), "context": ("", ""), "cut": ("⟪", "⟫")}
_SIGNS = {"trained": "█", "context": "░", "cut": "x"}
_COLOURS = {"trained": "green", "context": "", "cut": "red"}
_CONTROL_STYLE = "bold magenta"
_BAR_COLUMNS = 40


def draw_shown(out: Output, shown: Shown) -> None:
    """Print conversations token by token."""
    out.say(
        f"Tokens of {shown.tokenizer}; an example has at most {shown.max_length_tokens:,} of them. Longer "
        f"conversations: {shown.long_conversations}."
    )
    legend = Text("⟦trained⟧", style=_STYLES["trained"])
    legend.append("  context  ", style="none")
    legend.append("⟪cut: in no example⟫", style=_STYLES["cut"])
    legend.append("  <|control token|>", style=_CONTROL_STYLE)
    out.say(legend)
    for note in shown.notes:
        out.say(f"  {visible(note)}")
    for conversation in shown.conversations:
        _draw_conversation(out, conversation)


def _draw_conversation(out: Output, conversation: ShownConversation) -> None:
    trained, context = conversation.num_trained_tokens, conversation.num_context_tokens
    cut = conversation.num_cut_tokens
    out.title(f"{visible(conversation.path)}:{conversation.row} ({conversation.split} split)")
    out.say(_bar({"trained": trained, "context": context, "cut": cut}))
    for fault in conversation.faults:
        where = f"{fault.field}: " if fault.field else ""
        out.say(f"  noticed: {visible(where + fault.reason)} ({fault.action})", style="yellow")
    for number, example in enumerate(conversation.examples, start=1):
        out.say(
            f"\nexample {number} of {len(conversation.examples)}: {example.num_tokens:,} tokens, "
            f"{example.num_trained_tokens:,} trained",
            style="bold",
        )
        for message in example.messages:
            _draw_message(out, message)
    if conversation.cut:
        out.say(f"\ncut: {cut:,} tokens that are in no example", style="bold")
        for message in conversation.cut:
            _draw_message(out, message)


def _draw_message(out: Output, message: ShownMessage) -> None:
    counts = f"{message.num_tokens:,} tokens"
    if message.num_trained_tokens:
        counts += f", {message.num_trained_tokens:,} trained"
    out.say(f"-- {message_title(message)} · {counts}", style="dim")
    text = Text()
    for state, tokens in groupby(message.tokens, key=lambda token: token.state):
        before, after = _BRACKETS[state]
        text.append(before, style="bold")
        for token in tokens:
            style = f"{_STYLES[state]} {_CONTROL_STYLE}" if token.is_control else _STYLES[state]
            text.append(visible(token.text).replace("\n", "↵\n"), style=style)
        if after and text.plain.endswith("\n"):
            text.right_crop(1)
            after += "\n"  # the bracket closes on the line of its token
        text.append(after, style="bold")
    text.rstrip()
    out.console.print(text, soft_wrap=True)


def _bar(counts: dict[str, int]) -> Text:
    total = max(1, sum(counts.values()))
    bar = Text()
    for name, count in counts.items():
        bar.append(_SIGNS[name] * round(_BAR_COLUMNS * count / total), style=_COLOURS[name])
    words = ", ".join(f"{count:,} {name} ({count / total:.0%})" for name, count in counts.items())
    return bar.append(f" {words}")


def draw_look(out: Output, look: DataLook) -> None:
    """Print the figures of files."""
    account = look.account
    tokens = account.tokens
    assert tokens is not None, "a look counts tokens"
    splits, twice = account.splits, account.duplicates
    out.say(
        f"{account.num_conversations:,} conversations ({splits.train:,} to train on, {splits.validation:,} held out), "
        f"{look.num_messages:,} messages, {account.num_turns:,} replies, {look.num_chars:,} characters; "
        f"{account.num_dropped:,} rows dropped, {twice.exact:,} conversations equal and {twice.near:,} nearly equal to "
        "another"
    )
    out.say(
        f"{tokens.total:,} tokens of {tokens.tokenizer} in {look.example_tokens.count:,} examples: {tokens.trained:,} "
        f"trained ({look.trained_fraction:.0%}), {tokens.context:,} context"
    )
    languages = ", ".join(f"{name} {count:,}" for name, count in look.languages.items())
    out.say(f"languages, of {sum(look.languages.values()):,} conversations: {languages}")
    _draw_histogram(out, "tokens in a conversation", look.conversation_tokens)
    _draw_histogram(out, f"tokens in an example, at most {look.max_length_tokens:,}", look.example_tokens)
    _draw_histogram(out, "replies in a conversation", look.turns)
    out.title("what each length of examples would cost")
    table = Table("longest", "examples", "longer", "learned", "packed", "padded", box=None, pad_edge=False)
    for column in table.columns:
        column.justify = "right"
    for one in look.lengths:
        mark = "*" if one.max_length_tokens == look.max_length_tokens else ""
        fractions = (one.longer_fraction, one.trained_fraction, one.packed_fraction, one.padded_fraction)
        table.add_row(
            f"{mark}{one.max_length_tokens:,}", f"{one.num_examples:,}", *(f"{share:.1%}" for share in fractions)
        )
    out.say(table)
    out.say(
        "longer: conversations cut into windows; learned: tokens to be learned that stay; packed, padded: share of the "
        f"rows that is no padding, packed or in length-sorted batches of {look.micro_batch_size}; *: as it is set",
        style="dim",
    )


def _draw_histogram(out: Output, title: str, numbers: Distribution) -> None:
    out.title(title)
    most = max((one.count for one in numbers.bins), default=1)
    names = [bin_name(one.start, one.stop) for one in numbers.bins]
    width = max(map(len, names), default=0)
    for name, one in zip(names, numbers.bins, strict=True):
        length = max(1, round(_BAR_COLUMNS * one.count / most)) if one.count else 0
        out.say(f"{name:>{width}}  {'█' * length}{' ' if length else ''}{one.count:,}")
    out.say(
        f"mean {numbers.mean:,.1f}, half at most {numbers.median:,}, 90% at most {numbers.p90:,}, 99% at most "
        f"{numbers.p99:,}, largest {numbers.largest:,}",
        style="dim",
    )
