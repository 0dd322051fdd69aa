"""Each sampler against a plain account of what it should do, and the rules that hold for all."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from duologue.engine import Sampling
from duologue.engine.hf import draw
from duologue.engine.hf.breakers import Breakers, find_breakers
from duologue.engine.hf.draw import Draw
from duologue.errors import EngineError

PLAIN = Sampling(max_new_tokens=8, temperature=1.0, top_p=1.0, min_p=0.0, repetition_penalty=1.0, seed=1)
NO_BREAKERS = Breakers()
CPU = torch.device("cpu")

vectors = st.lists(st.integers(-600, 600).map(lambda n: n / 100), min_size=2, max_size=12, unique=True)
masses = st.floats(0.01, 0.99)
histories = st.lists(st.integers(0, 3), min_size=1, max_size=40)


def tensor(numbers):
    return torch.tensor(numbers, dtype=torch.float32)


def left(logits):
    """The tokens that can still be drawn."""
    return {token for token, value in enumerate(logits.tolist()) if value > -math.inf}


def softmax(numbers):
    powers = [math.exp(number) for number in numbers]
    return [power / sum(powers) for power in powers]


def until(order, probs, is_enough):
    """The first tokens of an order whose probabilities together are enough."""
    kept, mass = set(), 0.0
    for token in order:
        kept.add(token)
        mass += probs[token]
        if is_enough(mass):
            break
    return kept


def sums(order, probs):
    return np.cumsum([probs[token] for token in order])


# ------------------------------------------------------------------------------------------------------------- cuts


@given(vectors, st.integers(1, 14))
def test_top_k_keeps_the_k_best(numbers, k):
    best = sorted(range(len(numbers)), key=lambda token: -numbers[token])[:k]
    assert left(draw.keep_top_k(tensor(numbers), k)) == set(best)


@given(vectors, masses)
def test_top_p_keeps_the_smallest_set_with_the_mass(numbers, mass):
    probs = softmax(numbers)
    order = sorted(range(len(numbers)), key=lambda token: -probs[token])
    assume(np.abs(sums(order, probs) - mass).min() > 1e-5)
    assert left(draw.keep_top_p(tensor(numbers), mass)) == until(order, probs, lambda total: total >= mass)


@given(st.integers(300, 3000), st.floats(0.5, 0.999), st.integers(0, 99))
def test_top_p_is_the_same_where_the_best_tokens_alone_do_not_reach_the_mass(size, mass, seed):
    logits = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    probs, order = logits.double().softmax(0).sort(descending=True)
    reached = probs.cumsum(0)
    assume(float((reached - mass).abs().min()) > 1e-5)
    assert left(draw.keep_top_p(logits, mass)) == set(order[: int((reached < mass).sum()) + 1].tolist())


@given(vectors, masses, st.floats(0.0, 1.0))
def test_top_p_and_min_p_together_are_one_after_the_other(numbers, mass, share):
    probs = softmax(numbers)
    assume(np.abs(np.cumsum(sorted(probs, reverse=True)) - mass).min() > 1e-5)
    expected = draw.keep_min_p(draw.keep_top_p(tensor(numbers), mass), share)
    assert torch.equal(draw.keep_top_p_then_min_p(tensor(numbers), mass, share), expected)


@given(vectors, masses)
def test_typical_keeps_what_is_nearest_to_the_expected_surprise(numbers, mass):
    probs = softmax(numbers)
    entropy = -sum(prob * math.log(prob) for prob in probs)
    distances = [abs(-math.log(prob) - entropy) for prob in probs]
    order = sorted(range(len(numbers)), key=lambda token: distances[token])
    assume(np.abs(sums(order, probs) - mass).min() > 1e-5)
    assume(min(b - a for a, b in zip(sorted(distances), sorted(distances)[1:], strict=False)) > 1e-4)
    assert left(draw.keep_typical(tensor(numbers), mass)) == until(order, probs, lambda total: total > mass)


@given(vectors, masses)
def test_min_p_keeps_what_has_its_share_of_the_best(numbers, share):
    probs = softmax(numbers)
    assume(min(abs(prob - share * max(probs)) for prob in probs) > 1e-5)
    expected = {token for token, prob in enumerate(probs) if prob >= share * max(probs)}
    assert left(draw.keep_min_p(tensor(numbers), share)) == expected


@given(vectors, st.floats(0.0, 1.0))
def test_xtc_takes_all_likely_choices_away_but_the_least_of_them(numbers, threshold):
    probs = softmax(numbers)
    assume(min(abs(prob - threshold) for prob in probs) > 1e-5)
    likely = sorted((token for token, prob in enumerate(probs) if prob >= threshold), key=lambda token: probs[token])
    assert left(draw.without_top_choices(tensor(numbers), threshold)) == set(range(len(numbers))) - set(likely[1:])


@given(vectors, st.floats(0.1, 12.0))
def test_mirostat_2_keeps_what_surprises_less_and_always_the_best(numbers, surprise):
    probs = softmax(numbers)
    bits = [-math.log2(prob) for prob in probs]
    assume(min(abs(bit - surprise) for bit in bits) > 1e-4)
    expected = {token for token, bit in enumerate(bits) if bit <= surprise} or {bits.index(min(bits))}
    assert left(draw.keep_unsurprising(tensor(numbers), surprise)) == expected


@given(vectors, st.floats(0.5, 8.0))
def test_mirostat_1_keeps_as_many_of_the_best_as_zipfs_law_says(numbers, surprise):
    logs = sorted((math.log(prob) for prob in softmax(numbers)), reverse=True)
    steps = [math.log((rank + 2) / (rank + 1)) for rank in range(len(logs) - 1)]
    falls = [logs[rank] - logs[rank + 1] for rank in range(len(logs) - 1)]
    exponent = sum(a * b for a, b in zip(steps, falls, strict=True)) / sum(step**2 for step in steps)
    excess = exponent - 1
    assume(abs(excess) > 1e-2)
    count = (excess * 2**surprise / (1 - len(numbers) ** -excess)) ** (1 / exponent)
    assume(count > 1e6 or abs(count - round(count)) > 1e-3)
    best = sorted(range(len(numbers)), key=lambda token: -numbers[token])
    assert left(draw.keep_zipf(tensor(numbers), surprise)) == set(best[: max(int(count), 1)])


CUTS = {
    "top-k": lambda logits, x: draw.keep_top_k(logits, 1 + int(10 * x)),
    "typical": draw.keep_typical,
    "top-p": draw.keep_top_p,
    "min-p": draw.keep_min_p,
    "XTC": draw.without_top_choices,
    "mirostat 1": lambda logits, x: draw.keep_zipf(logits, 10 * x),
    "mirostat 2": lambda logits, x: draw.keep_unsurprising(logits, 10 * x),
}


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
@given(vectors, masses, st.sets(st.integers(0, 11)))
def test_a_cut_leaves_something_brings_nothing_back_and_changes_no_logit_that_is_left(cut, numbers, setting, gone):
    before = tensor(numbers)
    before[[token for token in gone if token < len(numbers) - 1]] = -math.inf
    after = cut(before.clone(), setting)
    assert left(after)
    assert left(after) <= left(before)
    assert all(after[token] == before[token] for token in left(after))


@given(vectors)
def test_settings_at_their_ends_keep_the_best_only_or_all(numbers):
    logits, best = tensor(numbers), {numbers.index(max(numbers))}
    assert left(draw.keep_top_k(logits, 1)) == left(draw.keep_min_p(logits, 1.0)) == best
    assert left(draw.tempered(logits, 0.0)) == best
    for kept in (
        draw.keep_top_k(logits, 0),
        draw.keep_typical(logits, 1.0),
        draw.keep_top_p(logits, 1.0),
        draw.keep_min_p(logits, 0.0),
        draw.without_top_choices(logits, 0.51),
        draw.tempered(logits, 1.0),
    ):
        assert torch.equal(kept, logits)


# -------------------------------------------------------------------------------------------------------- penalties


@given(vectors, st.lists(st.integers(0, 11)), st.floats(0.5, 2), st.floats(-2, 2), st.floats(-2, 2))
def test_penalties_count_what_was_said(numbers, said, repetition, presence, frequency):
    counts = [said.count(token) for token in range(len(numbers))]
    expected = [
        (number / repetition if number > 0 else number * repetition) - presence - frequency * count if count else number
        for number, count in zip(numbers, counts, strict=True)
    ]
    found = draw.penalised(
        tensor(numbers), torch.tensor(counts), repetition=repetition, presence=presence, frequency=frequency
    )
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


@given(vectors, st.lists(st.tuples(st.integers(0, 11), st.floats(-100, 100)), unique_by=lambda pair: pair[0]))
def test_a_bias_is_added_and_tokens_that_do_not_exist_are_left_out(numbers, bias):
    expected = [number + dict(bias).get(token, 0) for token, number in enumerate(numbers)]
    assert draw.biased(tensor(numbers), tuple(bias)).tolist() == pytest.approx(expected, abs=1e-4)


def repeats(history, allowed_length, limit):
    """For each token the longest end of the history, up to the limit, that stood before that token earlier on."""
    found = {}
    for place, token in enumerate(history):
        for length in range(allowed_length, min(place, len(history) - 1, limit) + 1):
            if history[place - length : place] == history[len(history) - length :]:
                found[token] = max(found.get(token, 0), length)
    return found


@given(histories, st.integers(1, 4))
def test_dry_finds_exactly_the_tokens_that_go_on_with_a_repeated_sequence(history, allowed_length):
    found = draw.repeat_lengths(np.array(history), NO_BREAKERS, allowed_length=allowed_length, longest=1000)
    assert found == repeats(history, allowed_length, len(history))


@given(histories, st.integers(1, 3), st.integers(1, 6))
def test_a_repeated_sequence_counts_up_to_a_length(history, allowed_length, more):
    found = draw.repeat_lengths(np.array(history), NO_BREAKERS, allowed_length=allowed_length, longest=more)
    assert found == (repeats(history, allowed_length, more) if more >= allowed_length else {})


@given(histories, st.integers(1, 3), st.sets(st.lists(st.integers(0, 3), min_size=1, max_size=3).map(tuple)))
def test_no_repeated_sequence_reaches_across_a_breaker(history, allowed_length, sequences):
    breakers = Breakers(sequences, vocab_size=4)
    behind = len(history)
    for place in range(len(history)):
        ends = [place + len(s) for s in sequences if tuple(history[place : place + len(s)]) == s]
        if ends:  # the last place where a breaker begins
            behind = len(history) - max(ends)
    assert breakers.length_since(np.array(history)) == behind
    found = draw.repeat_lengths(np.array(history), breakers, allowed_length=allowed_length, longest=1000)
    expected = repeats(history, allowed_length, behind) if behind >= allowed_length else {}
    assert found == {token: length for token, length in expected.items() if (token,) not in sequences}


def test_dry_grows_with_the_length_looks_back_a_window_and_can_be_off():
    history = np.array([1, 2, 3, 4, 5, 9, 1, 2, 3, 4])
    logits = torch.zeros(10)

    def penalty(**changes):
        sampling = replace(PLAIN, **{"dry_multiplier": 0.5, "dry_base": 2.0, **changes})
        return -draw.without_repeats(logits, history, NO_BREAKERS, sampling)

    assert penalty().nonzero().flatten().tolist() == [5]
    assert float(penalty()[5]) == 0.5 * 2.0 ** (4 - 2)
    assert float(penalty(dry_window_tokens=8)[5]) == 0.5 * 2.0 ** (2 - 2)
    assert not penalty(dry_window_tokens=7).any()
    assert not penalty(dry_allowed_length_tokens=5).any()
    assert not penalty(dry_window_tokens=0).any()
    assert not penalty(dry_multiplier=0.0).any()


def test_dry_stays_a_number_however_long_the_repetition_is():
    history = np.full(3000, 7)
    sampling = replace(PLAIN, dry_multiplier=1.0, dry_base=4.0, temperature=0.0)
    logits = draw.without_repeats(torch.zeros(10), history, NO_BREAKERS, sampling)
    assert not logits.isnan().any()
    assert float(logits[7]) < -1e37


def test_breakers_are_found_inside_tokens_and_across_two():
    vocabulary = ["a", "b:", "x\n", "\n", "ab", "END", "xEN", "D", " E", "ND"]
    ids = {text: token for token, text in enumerate(vocabulary)}
    found = find_breakers(["\n", ":", "END", ""], vocabulary, lambda text: [ids[text]])
    assert [found.is_breaker(token) for token in range(10)] == [
        text in ("b:", "x\n", "\n", "END") for text in vocabulary
    ]
    assert found.length_since(np.array([6, 7, 0, 4])) == 2  # xEN D
    assert found.length_since(np.array([8, 9, 0, 4])) == 2  # E ND
    assert found.length_since(np.array([8, 7, 0, 4])) == 4


# ------------------------------------------------------------------------------------------------------------ draws


def drawn(sampling, logits, *, count=8, prompt=(0, 1)):
    one = Draw(replace(sampling, max_new_tokens=count), prompt, breakers=NO_BREAKERS, device=CPU)
    return [one.next(logits) for _ in range(count)]


@given(vectors, st.integers(0, 2**32 - 1))
def test_one_token_left_is_greedy_whatever_the_seed(numbers, seed):
    best = numbers.index(max(numbers))
    for changes in ({"top_k": 1}, {"min_p": 1.0}, {"temperature": 0.0}):
        assert drawn(replace(PLAIN, seed=seed, **changes), tensor(numbers), prompt=()) == [best] * 8


def test_the_same_seed_draws_the_same_tokens_and_no_seed_different_ones():
    flat = torch.zeros(1000)
    assert drawn(PLAIN, flat) == drawn(PLAIN, flat) != drawn(replace(PLAIN, seed=2), flat)
    assert drawn(replace(PLAIN, seed=-1), flat) != drawn(replace(PLAIN, seed=-1), flat)
    assert drawn(replace(PLAIN, seed=2**70), flat) == drawn(replace(PLAIN, seed=2**70), flat)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_are_an_error_and_not_a_token(temperature):
    with pytest.raises(EngineError, match="not a number"):
        drawn(replace(PLAIN, temperature=temperature), tensor([1.0, math.nan, 2.0]))


def test_tokens_come_as_often_as_their_probabilities_say():
    logits = tensor([0.5, 0.3, 0.15, 0.05]).log()
    counts = np.bincount(drawn(PLAIN, logits, count=4000), minlength=4) / 4000
    assert counts.tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.03)


def test_xtc_acts_as_often_as_its_probability_says():
    logits = tensor([0.6, 0.4]).log()
    sampling = replace(PLAIN, xtc_probability=0.25, xtc_threshold=0.3, temperature=0.0)
    tokens = drawn(sampling, logits, count=2000)
    assert tokens.count(1) / 2000 == pytest.approx(0.25, abs=0.04)
    assert set(drawn(replace(sampling, xtc_probability=1.0), logits)) == {1}


def test_what_was_drawn_is_penalised_from_the_next_token_on():
    sampling = replace(PLAIN, temperature=0.0, presence_penalty=0.5)
    assert drawn(sampling, tensor([0.0, 0.0, 1.0, 0.9, 0.8]), count=3) == [2, 3, 4]
    assert drawn(replace(PLAIN, temperature=0.0, frequency_penalty=1.0), tensor([0.0, 0.0, 2.1]), count=5) == [
        2,
        2,
        2,
        2,
        0,
    ]


def test_dry_ends_a_loop_of_the_most_likely_tokens():
    nexts = {0: 1, 1: 2, 2: 0}
    sampling = replace(PLAIN, max_new_tokens=30, temperature=0.0)
    for multiplier, loops in ((0.0, True), (1.0, False)):
        one = Draw(replace(sampling, dry_multiplier=multiplier), [0], breakers=NO_BREAKERS, device=CPU)
        said = [0]
        for _ in range(30):
            logits = torch.zeros(6)
            logits[nexts.get(said[-1], 0)] = 3.0
            said.append(one.next(logits))
        assert (said == [place % 3 for place in range(31)]) == loops


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("tau", [2.0, 4.0, 6.0])
def test_mirostat_holds_the_surprise_where_it_should_be(version, tau):
    ranks = torch.arange(1, 20_001)
    logits = -1.05 * ranks.log()  # Zipf's law
    sampling = replace(PLAIN, mirostat=version, mirostat_tau=tau)
    tokens = drawn(sampling, logits, count=600)
    # The surprise among the tokens that were left, which is what the algorithm steers.
    one = Draw(replace(sampling, max_new_tokens=600), (0, 1), breakers=NO_BREAKERS, device=CPU)
    bits = []
    for token in tokens:
        bits.append(-math.log2(float(one.cut(logits).softmax(0)[token])))
        assert one.next(logits) == token  # the same seed
    assert sum(bits[100:]) / 500 == pytest.approx(tau, rel=0.15)


def test_mirostat_takes_the_place_of_the_cuts():
    logits = torch.arange(50.0) / 10
    cuts = replace(PLAIN, top_k=2, top_p=0.1, min_p=0.9, typical_p=0.2, xtc_probability=1.0, xtc_threshold=0.0)
    for version in (1, 2):
        assert drawn(replace(cuts, mirostat=version), logits) == drawn(replace(PLAIN, mirostat=version), logits)
