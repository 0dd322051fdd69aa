"""The quick look at a scene: it finds out that there is nothing to find, and never misses what the slow one finds."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from duologue.guard import is_surely_harmless
from duologue.guard.fold import quick_views, views
from duologue.guard.policy import MAX_SCENE_CHARS
from duologue.guard.signals import find_abuse, find_sexual, is_plainly_without_signals, is_without_signals
from duologue.guard.weapons import find_weapon

# Pieces that the rules join, split, fold or read as letters.
PIECES = ["zqflag", "ZQFLAG", "zqf1ag", "zqf!ag", "zqfl@g", "z q f l a g", "z.q.f.l.a.g", "z*q-f.l", "zq", "flag", "\n"]
PIECES += [
    " ",
    "  ",
    "\t",
    "_",
    ".",
    "!",
    "1",
    "|",
    "make",
    "love",
    "ma",
    "king",
    "lovely",
    "\u200b",
    "\u0435",
    "\u0301",
]
PIECES += ["色情", "色", "情", "é", "\u017f", "İ", "ﬀ", "\u2028", "x", "s", "$", "\x1c", "²"]
PIECES += [
    "rape",
    "r a p e",
    "zqweapon",
    "zqw3apon",
    "nerve",
    "gas",
    "pipe",
    "bomb",
    "b0mb",
    "vx",
    "sexually",
    "abused",
]


def found_slowly(texts):
    readings = "\n".join(views(text) for text in texts)
    return find_sexual(readings) or find_abuse(readings) or find_weapon(readings)


scenes = st.lists(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join), max_size=4)


@settings(max_examples=300)
@given(scenes)
@example(["make\u00a0love"])
@example(["make", "love"])
@example(["!z q f l a g!"])
@example(["zqflag²"])
def test_a_scene_that_passes_the_quick_look_holds_no_signal(texts):
    readings = quick_views(texts)
    if readings and is_without_signals(readings):
        assert found_slowly(texts) == ""


@settings(max_examples=300)
@given(scenes.map(lambda texts: [text.encode("ascii", "ignore").decode() for text in texts]))
@example(["make love"])
@example(["make", "love"])
@example(["!z q f l a g!"])
@example(["z-q-f-l-4-g"])
@example(["zqf1ag"])
@example(["zqf_lag zqf|ag"])
@example(["m4ke l0ve"])
def test_ascii_that_passes_at_first_sight_holds_no_signal(texts):
    if is_plainly_without_signals("\n".join(texts)):
        assert found_slowly(texts) == ""


def test_an_ordinary_scene_passes_at_first_sight():
    assert is_plainly_without_signals(
        "Is the 9:15 late? Four minutes early, and I like that!\nGood (for once). See you."
    )


def test_an_ordinary_scene_passes_the_quick_look():
    texts = ["Is the 9:15 late?", "Four minutes early, and I love that. It's a quiet night!", "Good. See you (soon)."]
    assert is_without_signals(quick_views(texts))


def test_what_the_first_sight_cannot_read_or_is_too_long_is_not_called_harmless():
    assert is_surely_harmless(["Is the 9:15 late?", "Four minutes early."])
    assert not is_surely_harmless(["Is it late?", "\u0437qflag"]), "other letters are left to the slow look"
    assert not is_surely_harmless(["caf\u00e9"])
    assert not is_surely_harmless(["a " * (MAX_SCENE_CHARS // 2), "b"]), "what is too long is left to the refusal"
