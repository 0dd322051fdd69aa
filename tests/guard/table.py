"""The frozen table of the content policy, and how a case of it is judged."""

import json
from pathlib import Path
from typing import Any

from duologue.errors import GuardError
from duologue.guard import ContentPolicy, Rating

Scene = list[str]
FROZEN: dict[str, Any] = json.loads((Path(__file__).parent / "frozen.json").read_text(encoding="utf-8"))
# These look-alikes are no signal of a minor or of force. That shows only beside a sexual signal, where others count.
BESIDE_A_STAND_IN = {
    "ages and numbers beside sexual content",
    "words that look like force, beside sexual content",
}


def is_refused(scene: Scene, rating: Rating) -> bool:
    """Return whether the policy refuses a scene."""
    try:
        ContentPolicy(rating).check(scene, where="scene")
    except GuardError as error:
        return error.reason == "content_policy"
    return False


def look_alike_scene(kind: str, scene: Scene) -> tuple[Scene, Rating]:
    """Return the scene in which a look-alike is judged, and the rating at which it has to pass."""
    if kind in BESIDE_A_STAND_IN:
        return [f"{scene[0]} zqflag"], "adult"
    return scene, "general"
