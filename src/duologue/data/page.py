"""One HTML page that loads nothing and runs nothing: conversations as they are trained, and figures of files."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from itertools import groupby, islice
from pathlib import Path
from string import Template

from duologue.data.account import Account
from duologue.data.histogram import Distribution
from duologue.data.shown import Shown, ShownConversation, ShownMessage, ShownToken
from duologue.data.stats import DataLook
from duologue.data.token_text import visible
from duologue.errors import DataError
from duologue.files import write_whole

_LEGEND = (
    "<ul class='legend'><li><mark class='sample'>underlined</mark> trained: the character learns to say it</li>"
    "<li>plain: context, read but not learned</li>"
    "<li><del class='sample'>struck through</del> cut: in no example</li>"
    "<li><span class='control sample'>&lt;|bold|&gt;</span> a control token</li>"
    "<li>a dotted edge: repeated from an earlier example</li></ul>"
    "<p class='soft'>Point at a token to see its number.</p>"
)
_MOST_REASONS = 12
_RUN_ELEMENTS = {"trained": "mark", "cut": "del", "context": "span"}


def shown_page(shown: Shown) -> str:
    """Return the page of `duologue data show`."""
    body = [
        f"<p class='soft'>Tokens of {_text(shown.tokenizer)}, at most {shown.max_length_tokens:,} in an example. "
        f"Longer conversations: {_text(shown.long_conversations)}.</p>",
        _LEGEND,
        _summary(shown.account, shown.notes),
        *(_conversation(conversation) for conversation in shown.conversations),
    ]
    return _page("What is trained", body)


def look_page(look: DataLook) -> str:
    """Return the page of `duologue data stats`."""
    tokens = look.account.tokens
    assert tokens is not None, "a look counts tokens"
    tiles = (
        (f"{look.account.num_conversations:,}", "conversations"),
        (f"{look.num_messages:,}", "messages"),
        (f"{look.num_chars:,}", "characters of text"),
        (f"{tokens.total:,}", "tokens"),
        (f"{look.trained_fraction:.0%}", "of them trained"),
        (f"{look.turns.mean:.1f}", "replies in a conversation"),
        (f"{look.conversation_tokens.median:,}", "tokens in a conversation (median)"),
        (f"{look.conversation_tokens.largest:,}", "tokens in the longest"),
    )
    languages = ((name, f"{count:,}") for name, count in look.languages.items())
    body = [
        f"<p class='soft'>Tokens of {_text(tokens.tokenizer)}.</p>",
        _summary(look.account, ()),
        _tiles(tiles),
        _section("Tokens in a conversation", _histogram(look.conversation_tokens)),
        _section(
            f"Tokens in an example, at most {look.max_length_tokens:,}",
            _histogram(look.example_tokens),
        ),
        _section("Replies in a conversation", _histogram(look.turns)),
        _section("What each length of examples would cost", _lengths(look)),
        _section("Languages, of a sample", _table(("language", "conversations"), languages)),
    ]
    return _page("Your conversations in figures", body)


def write_page(path: Path, page: str) -> None:
    """Write a page, whole or not at all.

    Raises:
        DataError: It cannot be written.
    """
    try:
        write_whole(path, page.encode("utf-8", "replace"))
    except OSError as error:
        raise DataError(f"the page cannot be written ({error.strerror})", where=str(path)) from error


def _page(title: str, body: Iterable[str]) -> str:
    template = resources.files("duologue.data").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(title=_text(title), body="\n".join(body))


def _text(text: str) -> str:
    return escape(visible(text))


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{_text(title)}</h2>{''.join(parts)}</section>"


def _tiles(tiles: Iterable[tuple[str, str]]) -> str:
    return f"<dl class='tiles'>{''.join(f'<div><dt>{words}</dt><dd>{value}</dd></div>' for value, words in tiles)}</dl>"


def _summary(account: Account, notes: Sequence[str]) -> str:
    files = "".join(
        f"<li>{_text(Path(file.path).name)}: {_text(file.format)}, {file.num_rows:,} rows, {file.num_loaded:,} used, "
        f"{file.num_dropped:,} dropped</li>"
        for file in account.files
    )
    splits, twice = account.splits, account.duplicates
    lines = [
        f"{account.num_conversations:,} conversations with {account.num_turns:,} replies: {splits.train:,} to train "
        f"on, {splits.validation:,} held out",
        f"{twice.exact:,} equal to another and dropped, {twice.near:,} nearly equal",
        *(_text(note) for note in notes),
        *(_text(f"{count:,} x {reason}") for reason, count in islice(account.reasons().items(), _MOST_REASONS)),
    ]
    num_more = len(account.reasons()) - _MOST_REASONS
    if num_more > 0:
        lines.append(f"and {num_more:,} more kinds; duologue data check lists every fault")
    return _section("The files", f"<ul>{files}{''.join(f'<li>{line}</li>' for line in lines)}</ul>")


def _conversation(conversation: ShownConversation) -> str:
    trained, context, cut = (
        conversation.num_trained_tokens,
        conversation.num_context_tokens,
        conversation.num_cut_tokens,
    )
    words = f"{trained:,} tokens trained, {context:,} context, {cut:,} cut"
    parts = [f"<p>{_text(conversation.split)} split · {words}</p>", _share(trained, context, cut)]
    for number, example in enumerate(conversation.examples, start=1):
        share = example.num_trained_tokens / max(1, example.num_tokens)
        parts.append(
            f"<h3>Example {number} of {len(conversation.examples)}: {example.num_tokens:,} tokens, "
            f"{example.num_trained_tokens:,} trained ({share:.0%})</h3>"
        )
        if len(conversation.examples) > 1:
            parts.append(_share(example.num_trained_tokens, example.num_tokens - example.num_trained_tokens, 0))
        parts += map(_message, example.messages)
    if conversation.cut:
        parts.append(f"<h3>Cut: {cut:,} tokens that are in no example</h3>")
        parts += map(_message, conversation.cut)
    if conversation.faults:
        faults = "".join(
            f"<li>{_text(f'{fault.field}: ' if fault.field else '')}{_text(fault.reason)} "
            f"<span class='soft'>({_text(fault.action)})</span></li>"
            for fault in conversation.faults
        )
        parts.append(f"<h3>Noticed</h3><ul>{faults}</ul>")
    return _section(f"{Path(conversation.path).name}, row {conversation.row}", *parts)


def _share(trained: int, context: int, cut: int) -> str:
    total = max(1, trained + context + cut)
    parts = (("trained", trained), ("context", context), ("cut", cut))
    words = ", ".join(f"{100 * number / total:.0f}% {name}" for name, number in parts)
    bars = "".join(
        f"<div class='{name}' style='width:{100 * number / total:.2f}%' title='{name}: {number:,} tokens'></div>"
        for name, number in parts
    )
    return f"<div class='share' role='img' aria-label='{words}'>{bars}</div><small>{words}</small>"


def _message(message: ShownMessage) -> str:
    is_cut = any(token.state == "cut" for token in message.tokens)
    kinds = ["message", message.role, *(["repeated"] if message.is_repeated else []), *(["left"] if is_cut else [])]
    counts = f"{message.num_tokens:,} tokens"
    if message.num_trained_tokens:
        counts += f", {message.num_trained_tokens:,} trained"
    by_state = groupby(message.tokens, key=lambda token: token.state)
    runs = "".join(_run(state, list(tokens)) for state, tokens in by_state)
    return (
        f"<article class='{' '.join(kinds)}'><header>{message_title(message)} · {counts}</header>"
        f"<p class='tokens'>{runs}</p></article>"
    )


def message_title(message: ShownMessage) -> str:
    """Return who speaks and where the message is from."""
    where = "put in front, from the card" if message.place is None else f"message {message.place + 1}"
    return f"{message.role} · {where}{' · repeated as context' if message.is_repeated else ''}"


def _run(state: str, tokens: Sequence[ShownToken]) -> str:
    element = _RUN_ELEMENTS[state]
    return f"<{element}>{''.join(map(_token, tokens))}</{element}>"


def _token(token: ShownToken) -> str:
    ids = " ".join(map(str, token.ids))
    kind = " class='control'" if token.is_control else ""
    text = _text(token.text).replace("\n", "<span class='line'>\n</span>")
    return f"<span{kind} title='token{'s' if len(token.ids) > 1 else ''} {ids}'>{text}</span>"


def bin_name(start: int, stop: int | None) -> str:
    """Return the name of a bin, such as `100-199`."""
    if stop is None:
        return f"{start:,} and more"
    return f"{start:,}" if stop == start + 1 else f"{start:,}-{stop - 1:,}"


def _histogram(numbers: Distribution) -> str:
    most = max((one.count for one in numbers.bins), default=1)
    rows = "".join(
        f"<tr><td>{bin_name(one.start, one.stop)}</td>"
        f"<td><i style='width:{100 * one.count / most:.1f}%'></i></td><td>{one.count:,}</td></tr>"
        for one in numbers.bins
    )
    line = (
        f"mean {numbers.mean:,.0f}, half at most {numbers.median:,}, 90% at most {numbers.p90:,}, "
        f"99% at most {numbers.p99:,}, longest {numbers.largest:,}"
    )
    return f"<table class='bars'>{rows}</table><p class='soft'>{line}</p>"


def _lengths(look: DataLook) -> str:
    head = ("length", "examples", "longer", "learned", "packed", "padded")
    rows = "".join(
        f"<tr{' class=chosen' if one.max_length_tokens == look.max_length_tokens else ''}>"
        + "".join(
            f"<td>{cell}</td>"
            for cell in (
                f"{one.max_length_tokens:,}",
                f"{one.num_examples:,}",
                f"{one.longer_fraction:.1%}",
                f"{one.trained_fraction:.1%}",
                f"{one.packed_fraction:.1%}",
                f"{one.padded_fraction:.1%}",
            )
        )
        + "</tr>"
        for one in look.lengths
    )
    note = (
        "longer: conversations cut into windows; learned: tokens to be learned that stay; packed and padded: share of "
        f"the rows that is no padding, with packing and in length-sorted batches of {look.micro_batch_size}. "
        "Bold: the length that is set."
    )
    names = "".join(f"<th>{name}</th>" for name in head)
    return f"<div class='wide'><table><thead><tr>{names}</tr></thead>{rows}</table></div><p class='soft'>{note}</p>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    names = "".join(f"<th>{_text(name)}</th>" for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{names}</tr></thead>{lines}</table>"
