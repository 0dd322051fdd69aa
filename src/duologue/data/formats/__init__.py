"""Rows of a file to dialogues, whatever format they have; how values are read, for other readers of chats as well."""

from duologue.data.formats.chat_log import PAUSE_HOURS
from duologue.data.formats.detect import detect_format, is_chat_header
from duologue.data.formats.reading import Reading, read_dialogues
from duologue.data.formats.tally import LEFT_OUT, NOT_USED, ROW_LEFT_OUT
from duologue.data.formats.values import (
    JsonObject,
    flag_of,
    json_type,
    object_of,
    optional_text,
    required,
    required_list,
    required_text,
    role_of,
    shown,
    text_of,
)
from duologue.data.found import Row, RowFault
from duologue.data.strict_json import JsonFault
from duologue.data.strict_json import parse as parse_json

__all__ = [
    "LEFT_OUT",
    "NOT_USED",
    "PAUSE_HOURS",
    "ROW_LEFT_OUT",
    "JsonFault",
    "JsonObject",
    "Reading",
    "Row",
    "RowFault",
    "detect_format",
    "flag_of",
    "is_chat_header",
    "json_type",
    "object_of",
    "optional_text",
    "parse_json",
    "read_dialogues",
    "required",
    "required_list",
    "required_text",
    "role_of",
    "shown",
    "text_of",
]
