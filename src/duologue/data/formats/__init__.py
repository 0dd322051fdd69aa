"""Rows of a file to dialogues, whatever format they have."""

from duologue.data.formats.chat_log import PAUSE_HOURS
from duologue.data.formats.reading import Reading, read_dialogues
from duologue.data.formats.tally import LEFT_OUT, NOT_USED, ROW_LEFT_OUT

__all__ = ["LEFT_OUT", "NOT_USED", "PAUSE_HOURS", "ROW_LEFT_OUT", "Reading", "read_dialogues"]
