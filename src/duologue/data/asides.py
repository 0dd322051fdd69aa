"""Out-of-character asides: `((brb))`, `(OOC: ...)`, `[OOC: ...]`, `OOC: ...` lines and `// ...` lines.

Only what is marked as an aside is taken out; ordinary parentheses, smileys, sums and code stay. Nothing inside a code
fence is an aside, and a message with code in it keeps its `//` lines, for there they are comments.
"""

import re
from collections.abc import Iterator

LONGEST_ASIDE_CHARS = 1000
"""A bracket that is still open after so many characters was never meant to close."""

_HINT = re.compile(r"\(\(|//|[oO][oO][cC]")
_FENCE = re.compile(r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)", re.MULTILINE | re.DOTALL)
_RUN_OF_PARENTHESES = re.compile(r"\({2,}|\){2,}")
_SMILEY = re.compile(r"[:;=]['\u2019^o-]?[()]")
_WORD = re.compile(r"[^\W\d_]{2}")
_OOC_BRACKET = re.compile(r"[(\[{<](?=[(\[{<*_ \t]{0,8}ooc\b)", re.IGNORECASE)
_ONLY_OOC = re.compile(r"[(\[{<*_ \t]{1,9}ooc[:*_ \t]{0,8}[)\]}>]", re.IGNORECASE)
_OOC_LINE = re.compile(r"^[ \t>*_~]*ooc[*_]*[ \t]*(?::|-|\u2013|\u2014|\))[^\n]*", re.IGNORECASE | re.MULTILINE)
_SLASH_LINE = re.compile(r"^[ \t]*//[ \t]*(?=[^\W\d_])[^\n]*", re.MULTILINE)
_CODE_LINE_END = re.compile(r"[;{}][ \t]*$", re.MULTILINE)
_LONGEST_MARK = 8  # `(((( OOC`
_TOKENS = {
    opening: (
        re.compile(
            rf"(?P<smiley>{_SMILEY.pattern})|(?P<marker>\{opening}(?=[ \t]?ooc\b))|[\{opening}\{closing}]",
            re.IGNORECASE,
        ),
        closing,
    )
    for opening, closing in ("()", "[]", "{}", "<>")
}
_BLANK = re.compile(r"[ \t]*")
_BEFORE_AN_ASIDE = " \t\n\"'*_~.,!?-\u2013\u2014\u2018\u2019\u201c\u201d\u2026\u00ab\u00bb"

Span = tuple[int, int]


def strip_asides(text: str) -> tuple[str, int]:
    """Return the text without its asides, and how many were taken out."""
    if not _HINT.search(text):
        return text, 0
    fences = [match.span() for match in _FENCE.finditer(text)] if "```" in text or "~~~" in text else []
    found = [*_bracketed_ooc(text), *_double_parentheses(text), *_ooc_lines(text), *_slash_lines(text)]
    asides = _merged(found, fences)
    return (_without(text, asides), len(asides)) if asides else (text, 0)


def _bracketed_ooc(text: str) -> Iterator[Span]:
    position = 0
    while (match := _OOC_BRACKET.search(text, position)) is not None:
        start = match.start()
        end = _ONLY_OOC.match(text, start)
        # `(OOC) the rest of the line` marks the line, `(OOC: this)` marks itself.
        stop = _line_end(text, start) if end else _closing(text, start)
        yield start, stop
        position = stop


def _closing(text: str, start: int) -> int:
    """Return where the bracket that opens at `start` has closed; the end of its line when it never does."""
    tokens, closing = _TOKENS[text[start]]
    limit = min(len(text), start + LONGEST_ASIDE_CHARS)
    paragraph = text.find("\n\n", start, limit)
    depth, smile = 0, 0
    for token in tokens.finditer(text, start, limit if paragraph < 0 else paragraph):
        end = token.end()
        if token.lastgroup == "smiley":
            smile = smile or (end if token[0].endswith(closing) else 0)
        elif token.lastgroup == "marker" and token.start() > start + _LONGEST_MARK:
            break  # the next aside begins, so this one was not closed
        elif token[0] != closing:
            depth += 1
        else:
            depth -= 1
            if not depth:
                return end
    line_end = _line_end(text, start)
    return smile if 0 < smile <= line_end else line_end


def _double_parentheses(text: str) -> Iterator[Span]:
    opening: re.Match[str] | None = None
    for run in _RUN_OF_PARENTHESES.finditer(text):
        if run[0][0] == "(":
            opening = run
        elif opening is not None:
            inner = _SMILEY.sub("", text[opening.end() : run.start()])
            num_open = inner.count("(") - inner.count(")")
            start = opening.start()
            is_aside = (
                len(run[0]) - num_open >= 2
                and num_open >= 0
                and run.start() - start <= LONGEST_ASIDE_CHARS
                and (start == 0 or text[start - 1] in _BEFORE_AN_ASIDE)
                and _WORD.search(inner) is not None
            )
            if is_aside:
                yield start, run.end()
            opening = None


def _ooc_lines(text: str) -> Iterator[Span]:
    for match in _OOC_LINE.finditer(text):
        yield match.span()


def _slash_lines(text: str) -> Iterator[Span]:
    if "//" in text and "```" not in text and not _CODE_LINE_END.search(text):
        for match in _SLASH_LINE.finditer(text):
            yield match.span()


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _merged(spans: list[Span], fences: list[Span]) -> list[Span]:
    """Return the spans in order, overlapping ones as one, without those that touch a fence."""
    merged: list[Span] = []
    fence = 0
    for start, end in sorted(spans):
        while fence < len(fences) and fences[fence][1] <= start:
            fence += 1
        if fence < len(fences) and fences[fence][0] < end:
            continue
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _without(text: str, spans: list[Span]) -> str:
    """Return the text without the spans, and without the blank they leave: a line of its own, or one of two spaces."""
    kept: list[str] = []
    position = 0
    for start, end in spans:
        before = text[position:start]
        position = _end_of_blank(text, end)
        cut = before.rstrip(" \t")
        is_alone = cut.endswith("\n") if cut else not kept or kept[-1].endswith("\n")
        if position == len(text) or text[position] == "\n":
            before = cut
            position += is_alone and position < len(text)
            position += is_alone and cut.endswith("\n\n") and text.startswith("\n", position)
        elif text[end] in ".,;:!?":
            before = cut
        elif before and not is_alone and not before.endswith((" ", "\t")):
            position = end
        if before:
            kept.append(before)
    return ("".join(kept) + text[position:]).strip()


def _end_of_blank(text: str, start: int) -> int:
    match = _BLANK.match(text, start)
    return match.end() if match else start
