"""What goes in and comes out: checked messages and JSON, limits per visitor, the content policy, help in a crisis."""

from duologue.guard.cards import check_character
from duologue.guard.crisis import caring_answer, encourages_self_harm, find_crisis
from duologue.guard.input import InputValidator, check_tokens
from duologue.guard.json_text import check_json
from duologue.guard.judge import Judge, ModelJudge
from duologue.guard.judge_formats import Verdict
from duologue.guard.limits import SHARED_KEY, Grant, Limits, open_counts
from duologue.guard.policy import RATINGS, ContentPolicy, Rating, is_surely_harmless
from duologue.guard.rate import MAX_CLIENTS, Allowance, Quota, RateLimiter

__all__ = [
    "MAX_CLIENTS",
    "RATINGS",
    "SHARED_KEY",
    "Allowance",
    "ContentPolicy",
    "Grant",
    "InputValidator",
    "Judge",
    "Limits",
    "ModelJudge",
    "Quota",
    "RateLimiter",
    "Rating",
    "Verdict",
    "caring_answer",
    "check_character",
    "check_json",
    "check_tokens",
    "encourages_self_harm",
    "find_crisis",
    "is_surely_harmless",
    "open_counts",
]
