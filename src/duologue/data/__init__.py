"""Conversations from files to tokenized examples, with an account of every row."""

from duologue.data.account import (
    Account,
    DataStats,
    DuplicateCounts,
    Fault,
    FileAccount,
    SplitCounts,
    TokenCounts,
    measure,
)
from duologue.data.estimate import estimate_stats
from duologue.data.examples import ExampleSets, check_files, make_examples, prepare_examples
from duologue.data.found import DataFormat
from duologue.data.histogram import Distribution
from duologue.data.load import (
    Loaded,
    LoadSettings,
    Splits,
    find_unknown_speakers,
    load_files,
    load_settings,
    load_splits,
    resolve_files,
)
from duologue.data.page import bin_name, look_page, message_title, shown_page, write_page
from duologue.data.render import Rendered, RenderSettings, render, render_all
from duologue.data.show import Choice, Shown, ShownConversation, ShownMessage, SplitName, show_files
from duologue.data.stats import DataLook, look_at_files
from duologue.data.token_text import visible

__all__ = [
    "Account",
    "Choice",
    "DataFormat",
    "DataLook",
    "DataStats",
    "Distribution",
    "DuplicateCounts",
    "ExampleSets",
    "Fault",
    "FileAccount",
    "LoadSettings",
    "Loaded",
    "RenderSettings",
    "Rendered",
    "Shown",
    "ShownConversation",
    "ShownMessage",
    "SplitCounts",
    "SplitName",
    "Splits",
    "TokenCounts",
    "bin_name",
    "check_files",
    "estimate_stats",
    "find_unknown_speakers",
    "load_files",
    "load_settings",
    "load_splits",
    "look_at_files",
    "look_page",
    "make_examples",
    "measure",
    "message_title",
    "prepare_examples",
    "render",
    "render_all",
    "resolve_files",
    "show_files",
    "shown_page",
    "visible",
    "write_page",
]
