"""What goes in: checked messages, a limit on requests per client, and the content policy."""

from duologue.guard.input import InputValidator
from duologue.guard.limits import Limits
from duologue.guard.policy import RATINGS, ContentPolicy, Rating
from duologue.guard.rate import Allowance, RateLimiter

__all__ = ["RATINGS", "Allowance", "ContentPolicy", "InputValidator", "Limits", "RateLimiter", "Rating"]
