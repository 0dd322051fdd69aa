"""Every card with every config."""

from duologue.plan import card_table, hardware_for
from duologue.plan.forecast import forecast
from duologue.plan.gpus import all_gpus
from tests.plan.machines import CPU, candidate, machine


def test_every_card_is_there_once_for_each_config_from_small_to_large():
    rows = card_table([candidate("original"), candidate("optimized")], base=CPU)
    assert len(rows) == 2 * len(all_gpus())
    assert {(row.gpu, row.name) for row in rows} == {
        (card.name, name) for card in all_gpus() for name in ("original", "optimized")
    }
    sizes = [row.available_gib for row in rows]
    assert sizes == sorted(sizes)


def test_a_row_says_what_the_forecast_for_the_card_says():
    one = candidate("optimized")
    rows = {row.gpu: row for row in card_table([one], base=CPU)}
    for name in ("RTX 4090 24GB", "T4 16GB", "H100 SXM 80GB"):
        found = forecast(one.config, one.stats, one.facts, machine=machine(name))
        row = rows[name]
        assert (row.verdict, row.device_gib) == (found.memory.verdict, found.memory.device_gib)
        assert (row.hours, row.rent_usd) == (found.time.total_minutes / 60, found.cost.rent_usd)


def test_more_memory_never_turns_a_fit_into_a_failure_on_the_same_chip():
    rows = {row.gpu: row.verdict for row in card_table([candidate("original")], base=CPU)}
    assert rows["A100 SXM4 80GB"] == "fits"
    assert rows["RTX 3060 12GB"] == "no"
    order = ["no", "tight", "fits"]
    assert order.index(rows["A100 PCIe 40GB"]) <= order.index(rows["A100 PCIe 80GB"])
    assert hardware_for("A100 80GB", base=CPU).gpus[0].name == "A100 PCIe 80GB"
