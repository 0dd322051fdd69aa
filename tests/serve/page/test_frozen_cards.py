"""The page refuses the cards that the command line, the data and the chat refuse."""

import pytest

from duologue.errors import GuardError
from duologue.serve.page.cards import lowest_rating
from tests.guard.table import FROZEN
from tests.guard.test_frozen import card_of


def test_no_card_with_a_frozen_case_comes_in_at_any_rating() -> None:
    for scenes in FROZEN["caught"].values():
        for scene in scenes:
            with pytest.raises(GuardError):
                lowest_rating(card_of(scene), highest="adult")
