"""What may be talked about: limits compiled in for everyone, and a rating the operator chooses.

Two tiers, as in the OpenAI Model Spec (root and operator). The root tier takes no argument and reads no setting, so
nothing can turn it off; docs/explanation/safety.md says what it refuses and how that is tested.
The rules are a fence, not a judge: they read words, not meaning, and refuse rather too much than too little. A scene
that cannot be checked, for its length or for a fault of ours, is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from duologue.errors import GuardError

if TYPE_CHECKING:
    from duologue.guard.scene import Heat

Rating = Literal["general", "mature", "adult"]
RATINGS: tuple[Rating, ...] = get_args(Rating)  # the strictest first
REASON = "content_policy"
MAX_SCENE_CHARS = 2_000_000  # a prompt of a million tokens has twice as many; one book has half as many


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """The policy at one content rating.

    Attributes:
        rating: `general` refuses sexual content and innuendo, `mature` only what is explicit, `adult` leaves both to
            the operator. The root tier is always the same.
    """

    rating: Rating

    def check(self, texts: Sequence[str], *, where: str) -> None:
        """Refuse a scene that crosses a limit.

        Args:
            texts: Every text of the scene, read together: card, persona, recalled lines, the last messages, in order.
            where: What is checked, for the message.

        Raises:
            GuardError: With reason `content_policy`.
        """
        num_chars = sum(map(len, texts))
        if num_chars > MAX_SCENE_CHARS:
            raise GuardError(
                f"{num_chars:,} characters are too many to check",
                reason=REASON,
                where=where,
                needed=f"at most {MAX_SCENE_CHARS:,}",
                action="Split it.",
            )
        try:
            _check(texts, rating=self.rating, where=where)
        except GuardError:
            raise
        except Exception as error:  # whatever it was: what was not checked does not pass
            raise GuardError(
                f"this could not be checked ({type(error).__name__})",
                reason=REASON,
                where=where,
                action="Report it as a fault of duologue; nothing passes unchecked.",
            ) from error


def _check(texts: Sequence[str], *, rating: Rating, where: str) -> None:
    from duologue.guard import scene  # its patterns take 60 ms to compile

    heat = scene.find_heat(texts)
    if heat == scene.Heat():
        return
    _check_root(texts, heat, where=where)
    if rating == "adult":
        return
    refused = heat.explicit or (heat.suggestive if rating == "general" else "")
    if refused:
        raise GuardError(
            f"this is sexual content ('{refused}') and the content rating is '{rating}'",
            reason=REASON,
            where=where,
            action="Leave it out; an operator can choose another rating with guard.rating.",
        )


def is_surely_harmless(texts: Sequence[str]) -> bool:
    """Return whether no rating refuses a scene, by one quick look at all of it; False only asks for `check`.

    For many scenes that are seen once, such as training data. `check` looks at each text by itself and keeps what it
    found, which is quicker for a chat, whose texts come again with every turn.
    """
    from duologue.guard.signals import is_plainly_without_signals

    joined = "\n".join(texts)
    return len(joined) <= MAX_SCENE_CHARS and joined.isascii() and is_plainly_without_signals(joined)


def _check_root(texts: Sequence[str], heat: "Heat", *, where: str) -> None:
    from duologue.guard.scene import find_force, find_minor, find_weapon_uplift

    sexual = heat.explicit or heat.suggestive
    if (sexual or heat.abuse) and (minor := find_minor(texts, is_explicit=bool(heat.explicit))):
        raise _root_refusal(f"brings a minor ('{minor}') and sexual content ('{sexual or heat.abuse}') together", where)
    if sexual and (force := find_force(texts)):
        raise _root_refusal(f"brings sexual content ('{sexual}') and force ('{force}') together", where)
    if heat.weapon and (weapon := find_weapon_uplift(texts)):
        raise _root_refusal(f"asks how a weapon of mass harm is made ('{weapon}')", where)


def _root_refusal(what: str, where: str) -> GuardError:
    return GuardError(
        f"this {what}",
        reason=REASON,
        where=where,
        action="This is refused at every rating, and no setting changes it.",
    )
