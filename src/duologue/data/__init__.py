"""Conversations from files to tokenized examples, with an account of every row."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from duologue.data.found import DataFormat

if TYPE_CHECKING:
    from duologue.data.counts import counted_stats
    from duologue.data.estimate import estimate_stats
    from duologue.data.examples import ExampleSets, check_files, make_examples, prepare_examples
    from duologue.data.files import resolve_files
    from duologue.data.histogram import Distribution
    from duologue.data.load import (
        Loaded,
        LoadSettings,
        Splits,
        find_unknown_speakers,
        load_files,
        load_settings,
        load_splits,
    )
    from duologue.data.page import bin_name, look_page, message_title, shown_page, write_page
    from duologue.data.render import Rendered, RenderSettings, render_all
    from duologue.data.show import Choice, show_files
    from duologue.data.shown import Shown, ShownConversation, ShownMessage, SplitName
    from duologue.data.stats import DataLook, look_at_files
    from duologue.data.token_text import visible

# Imported when they are first asked for: a plan needs the counts only, and its start counts in tenths of a second.
_LATER = {
    "files": ("resolve_files",),
    "counts": ("counted_stats",),
    "estimate": ("estimate_stats",),
    "examples": (
        "ExampleSets",
        "check_files",
        "make_examples",
        "prepare_examples",
    ),
    "histogram": ("Distribution",),
    "load": (
        "Loaded",
        "LoadSettings",
        "Splits",
        "find_unknown_speakers",
        "load_files",
        "load_settings",
        "load_splits",
    ),
    "page": (
        "bin_name",
        "look_page",
        "message_title",
        "shown_page",
        "write_page",
    ),
    "render": (
        "Rendered",
        "RenderSettings",
        "render_all",
    ),
    "show": (
        "Choice",
        "show_files",
    ),
    "shown": (
        "Shown",
        "ShownConversation",
        "ShownMessage",
        "SplitName",
    ),
    "stats": (
        "DataLook",
        "look_at_files",
    ),
    "token_text": ("visible",),
}

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
    "counted_stats",
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
    "render_all",
    "resolve_files",
    "show_files",
    "shown_page",
    "visible",
    "write_page",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 (whatever the room offers under this name)
    for module, names in _LATER.items():
        if name in names:
            return getattr(import_module(f"duologue.data.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
