"""What an export must reach before it may leave."""

import pytest

from duologue.engine import Parity
from duologue.errors import EngineError
from duologue.export import check_parity


def measured(agreement: float, num_positions: int, *, kl: float = 1e-3, **more: bool) -> Parity:
    facts = {"ids_equal": True, "stops": True, **more}
    return Parity(kl, agreement, 3, num_positions, max_logit_difference=0.1, **facts)


@pytest.mark.parametrize(("agreement", "num_positions"), [(1.0, 1), (5 / 6, 6), (0.93, 256), (0.91, 256)])
def test_what_an_export_at_the_bar_can_be_found_at_passes(agreement: float, num_positions: int) -> None:
    check_parity(measured(agreement, num_positions), form="bfloat16", where="here")


@pytest.mark.parametrize(("agreement", "num_positions"), [(4 / 6, 6), (0.5, 6), (0.88, 256), (0.0, 1), (0.9, 2000)])
def test_what_chance_does_not_explain_is_refused(agreement: float, num_positions: int) -> None:
    with pytest.raises(EngineError, match="of its tokens are the same"):
        check_parity(measured(agreement, num_positions), form="bfloat16", where="here")


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (measured(1.0, 6, kl=0.03), "nats away"),
        (measured(1.0, 6, kl=float("nan")), "nats away"),
        (measured(1.0, 6, ids_equal=False), "other token ids"),
        (measured(1.0, 6, stops=False), "does not end its replies"),
    ],
)
def test_few_tokens_excuse_nothing_else(figures: Parity, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        check_parity(figures, form="bfloat16", where="here")
