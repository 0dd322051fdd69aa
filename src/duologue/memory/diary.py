"""Memories as a diary in Markdown: one heading per day, one line per memory, readable, editable, importable."""

import json
import re
from collections.abc import Sequence
from datetime import datetime

from duologue.errors import GuardError
from duologue.memory.exchange import parse_json_lines, refuse, to_json_line
from duologue.memory.records import StoredLine

_HEAD = "# What is remembered"
_DETAILS = re.compile(r" ?<!--(?P<json>\{.*\})-->\s*$")
_LINE = re.compile(r"^- \*\*(?P<who>.*?)\*\*(?P<marks>(?: \[[a-z0-9 ]+\])*): (?P<text>.*)$")


def to_markdown(lines: Sequence[StoredLine]) -> str:
    """Return memories as a diary, in the order they were said.

    What a reader does not need, such as message numbers, stands in a comment behind each line.
    """
    parts = [_HEAD, ""]
    day = ""
    for line in lines:
        if line.said_at[:10] != day:
            day = line.said_at[:10]
            parts += [f"## {day}", ""]
        parts.append(_to_line(line))
        parts.append("")
    return "\n".join(parts)


def from_markdown(text: str, *, where: str) -> tuple[StoredLine, ...]:
    """Return the memories of a diary; a text that was changed in it is an edited memory.

    Raises:
        DataError: Lines cannot be read; they are named together.
    """
    found: list[StoredLine] = []
    faults: list[str] = []
    for number, row in enumerate(text.split("\n"), start=1):
        if not row.startswith("- "):
            continue
        line, details = _LINE.match(_DETAILS.sub("", row)), _DETAILS.search(row)
        if line is None or details is None:
            faults.append(f"{where}:{number}: not written as `- **who**: text <!--…-->`")
            continue
        try:
            found.append(_from_line(line, details["json"]))
        except (ValueError, RecursionError, GuardError) as error:
            faults.append(f"{where}:{number}: {error}")
    refuse(faults, where=where, needed="lines as `duologue memory export FILE.md` writes them")
    return tuple(found)


def _to_line(line: StoredLine) -> str:
    marks = "".join(
        f" [{mark}]"
        for mark, holds in (
            ("fact", line.kind == "fact"),
            (f"used to be so until {line.used_until[:10]}".replace("-", " "), bool(line.used_until)),
            ("pinned", line.is_pinned),
            ("private", line.is_private),
        )
        if holds
    )
    return f"- **{_escape(line.name or line.speaker)}**{marks}: {_escape(line.text)} <!--{_comment(line)}-->"


def _comment(line: StoredLine) -> str:
    return to_json_line(line).replace("--", "-\\u002d").replace(">", "\\u003e")


def _from_line(line: re.Match[str], details: str) -> StoredLine:
    document = json.loads(details)
    if not isinstance(document, dict):
        raise ValueError("the comment is not a JSON object")
    text = _unescape(line["text"])
    if text != document.get("text"):
        document.setdefault("original", document.get("text"))
        document["text"] = text
    document["is_pinned"] = "[pinned]" in line["marks"]
    document["is_private"] = "[private]" in line["marks"]
    datetime.fromisoformat(str(document.get("said_at", "")))
    [parsed] = parse_json_lines([json.dumps(document)], where="line")
    return parsed


def _escape(text: str) -> str:
    return re.sub(r"[\\*\[\]<>]", r"\\\g<0>", text).replace("\n", "\\n").replace("\r", "\\r")


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), text)
