"""Who may talk to a character that is not for everyone."""

from duologue.errors import GuardError
from duologue.guard import Rating
from duologue.serve.visitor import Visitor


class AgeGate:
    """Lets adults through to characters rated `mature` or `adult`."""

    def require(self, visitor: Visitor, rating: Rating) -> None:
        """Refuse a visitor who has not shown to be an adult.

        Raises:
            GuardError: With reason `age_required`.
        """
        if rating != "general" and visitor.way != "local":
            raise GuardError("this character is for adults", reason="age_required", where="character")
