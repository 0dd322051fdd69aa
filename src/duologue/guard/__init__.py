"""What goes in: checked messages, a limit on requests per client, and the content policy."""

from duologue.guard.input import InputValidator
from duologue.guard.policy import ContentPolicy, Rating
from duologue.guard.rate import Allowance, RateLimiter

__all__ = ["Allowance", "ContentPolicy", "InputValidator", "RateLimiter", "Rating"]
