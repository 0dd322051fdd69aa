"""Conversations from files to tokenized examples, with an account of every row."""

from typing import TYPE_CHECKING

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
from duologue.later import offered_later

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
    from duologue.data.preferences import (
        FeedbackExamples,
        FeedbackNote,
        feedback_stats,
        pairs_as_likes,
        render_feedback,
    )
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
    "preferences": (
        "FeedbackExamples",
        "FeedbackNote",
        "feedback_stats",
        "pairs_as_likes",
        "render_feedback",
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
    "FeedbackExamples",
    "FeedbackNote",
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
    "feedback_stats",
    "find_unknown_speakers",
    "load_files",
    "load_settings",
    "load_splits",
    "look_at_files",
    "look_page",
    "make_examples",
    "measure",
    "message_title",
    "pairs_as_likes",
    "prepare_examples",
    "render_all",
    "render_feedback",
    "resolve_files",
    "show_files",
    "shown_page",
    "visible",
    "write_page",
]

__getattr__ = offered_later(__name__, _LATER)
