"""Which lore fires: SillyTavern's rules one by one, and the trace that says why."""

import json
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.characters import ChatLine, LoreScene, LoreSettings, LoreState, activate, parse_lorebook
from duologue.errors import DataError


def lore(*entries, **book):
    """A World Info book; every entry needs a key or `constant`."""
    written = {
        str(number): {"uid": number, "content": f"text {number}", "comment": f"entry {number}", **entry}
        for number, entry in enumerate(entries)
    }
    return parse_lorebook({"entries": written, **book}, where="test", origin=book.pop("origin", "character"))


def chat(*texts):
    """A chat of alternating speakers that begins with the character."""
    speakers = (("assistant", "Ada"), ("user", "Sam"))
    return [ChatLine(*speakers[number % 2], text) for number, text in enumerate(texts)]


def fire(books, messages, *, state=None, roll=None, context=10_000, count=None, scene=None, expand=str, **settings):
    books = books if isinstance(books, list) else [books]
    messages = chat(*messages) if isinstance(messages, list) else chat(messages)
    return activate(
        books,
        messages,
        settings=LoreSettings(**settings),
        state=state or LoreState(),
        count_tokens=count or (lambda text: len(text.split())),
        roll=roll or (lambda: 0.5),
        context_tokens=context,
        scene=scene,
        expand=expand,
    )


def names(activation):
    return [fired.entry.name for fired in activation.fired]


def why_not(activation, name):
    return next(trace.why for trace in activation.trace if trace.name == name and not trace.is_fired)


# ---------------------------------------------------------------------------------------------------------------- keys


def test_an_entry_fires_for_its_key_and_the_trace_names_key_and_message():
    activation = fire(lore({"key": ["mill"]}, {"key": ["quay"]}), ["Hello.", "To the mill!", "Why?"])

    assert names(activation) == ["entry 0"]
    (trace,) = activation.trace
    assert (trace.is_fired, trace.key, trace.message) == (True, "mill", 1)
    assert trace.why == "'mill' in message 2"


def test_only_the_newest_messages_are_searched_unless_entry_book_or_settings_say_otherwise():
    talk = ["the mill", "a", "b"]

    assert names(fire(lore({"key": ["mill"]}), talk)) == []
    assert names(fire(lore({"key": ["mill"]}), talk, scan_messages=3)) == ["entry 0"]
    assert names(fire(lore({"key": ["mill"]}, scan_depth=3), talk)) == ["entry 0"]
    assert names(fire(lore({"key": ["mill"], "scanDepth": 3}, scan_depth=1), talk)) == ["entry 0"]
    assert names(fire(lore({"key": ["mill"], "scanDepth": 0}), "mill")) == []


def test_the_speakers_names_are_searched_too():
    assert names(fire(lore({"key": ["Ada"]}), "Good evening.")) == ["entry 0"]


def test_a_constant_entry_needs_no_key_and_a_disabled_one_never_fires():
    activation = fire(lore({"constant": True}, {"key": ["mill"], "disable": True}), "the mill")

    assert names(activation) == ["entry 0"]
    assert activation.trace[0].why == "constant"
    assert why_not(activation, "entry 1") == "'mill' in message 1, but it is turned off"


@pytest.mark.parametrize(
    ("logic", "text", "fires"),
    [
        (0, "mill wheel", True),
        (0, "mill", False),
        (1, "mill wheel", True),
        (1, "mill wheel water", False),
        (2, "mill", True),
        (2, "mill water", False),
        (3, "mill wheel water", True),
        (3, "mill wheel", False),
    ],
)
def test_secondary_keys_by_their_logic(logic, text, fires):
    book = lore({"key": ["mill"], "keysecondary": ["wheel", "water"], "selectiveLogic": logic})
    activation = fire(book, text)

    assert bool(activation.fired) is fires
    assert ("of 'wheel', 'water'" in activation.trace[0].why) is True


def test_secondary_keys_do_not_count_in_an_entry_that_is_not_selective():
    assert names(fire(lore({"key": ["mill"], "keysecondary": ["x"], "selective": False}), "mill")) == ["entry 0"]


def test_capitals_whole_words_and_patterns_are_settings_of_the_entry():
    book = lore(
        {"key": ["Mill"], "caseSensitive": True},
        {"key": ["mil"], "matchWholeWords": False},
        {"key": ["/mi.l/"]},
        {"key": ["mil"]},
    )

    assert sorted(names(fire(book, "the mill"))) == ["entry 1", "entry 2"]


def test_card_fields_and_notes_are_searched_where_they_are_asked_for():
    scene = LoreScene(fields={"persona": "a miller"}, injected=("it rains",))
    book = lore({"key": ["miller"], "matchPersonaDescription": True}, {"key": ["miller"]}, {"key": ["rains"]})
    activation = fire(book, "hello", scene=scene)

    assert sorted(names(activation)) == ["entry 0", "entry 2"]
    assert {trace.why for trace in activation.trace} == {"'miller' in the persona", "'rains' in a note in the prompt"}


def test_macros_in_keys_are_replaced():
    book = lore({"key": ["{{user}}"]})

    assert names(fire(book, ["hello", "hi"], expand=lambda text: text.replace("{{user}}", "Sam"))) == ["entry 0"]
    assert names(fire(book, ["hello", "hi"])) == []


def test_a_slow_pattern_does_not_match_and_is_named():
    activation = fire(lore({"key": ["/(a+)+b/"]}, {"key": ["aaa"], "matchWholeWords": False}), "a" * 3000)

    assert names(activation) == ["entry 1"]
    assert activation.slow_patterns == ("(a+)+b",)


# ----------------------------------------------------------------------------------------------------------- recursion


def test_lore_fires_other_lore_and_says_so():
    book = lore({"key": ["mill"], "content": "by the river"}, {"key": ["river"], "content": "x"})
    activation = fire(book, "mill")

    assert sorted(names(activation)) == ["entry 0", "entry 1"]
    assert "'river' in other lore" in {trace.why for trace in activation.trace}
    assert names(fire(book, "mill", is_recursive=False)) == ["entry 0"]
    assert names(
        fire(lore({"key": ["mill"], "content": "river"}, {"key": ["river"]}, recursive_scanning=False), "mill")
    )


@pytest.mark.parametrize(("flag", "number"), [("preventRecursion", 0), ("excludeRecursion", 1)])
def test_entries_can_stay_out_of_recursion(flag, number):
    entries = [{"key": ["mill"], "content": "river"}, {"key": ["river"], "content": "x"}]
    entries[number][flag] = True

    activation = fire(lore(*entries), "mill")

    assert names(activation) == ["entry 0"]
    if flag == "excludeRecursion":
        assert why_not(activation, "entry 1") == "'river' in other lore, but it does not fire for other lore"


def test_delayed_entries_wait_for_recursion_level_by_level():
    book = lore(
        {"key": ["mill"], "content": "river"},
        {"key": ["mill"], "content": "one", "delayUntilRecursion": True},
        {"key": ["mill"], "content": "two", "delayUntilRecursion": 2},
        {"key": ["two"], "content": "x", "delayUntilRecursion": 3},
    )

    assert sorted(names(fire(book, "mill"))) == ["entry 0", "entry 1", "entry 2", "entry 3"]
    alone = fire(lore({"key": ["mill"], "delayUntilRecursion": 1}), "mill")
    assert names(alone) == []
    assert why_not(alone, "entry 0") == "'mill' in message 1, but it waits for other lore"


def test_recursion_ends_at_its_limit_and_when_entries_name_each_other():
    chain = [{"key": [f"k{n}"], "content": f"k{n + 1}"} for n in range(6)]

    assert len(fire(lore(*chain), "k0").fired) == 6
    assert len(fire(lore(*chain), "k0", max_recursion_steps=2).fired) == 2
    assert len(fire(lore({"key": ["a"], "content": "b"}, {"key": ["b"], "content": "a"}), "a").fired) == 2


def test_comments_do_not_fire_other_lore_but_hidden_keys_do():
    book = lore({"key": ["mill"], "content": "{{// fog}}{{hidden_key:river}}"}, {"key": ["fog"]}, {"key": ["river"]})

    assert sorted(names(fire(book, "mill"))) == ["entry 0", "entry 2"]


def test_a_search_goes_further_back_until_enough_fired():
    book = lore({"key": ["mill"]}, {"key": ["quay"]})
    talk = ["the quay", "the mill", "a", "b"]

    assert names(fire(book, talk)) == []
    assert names(fire(book, talk, min_activations=1)) == ["entry 0"]
    assert len(fire(book, talk, min_activations=2).fired) == 2
    assert names(fire(book, talk, min_activations=2, max_scan_messages=3)) == ["entry 0"]


# ---------------------------------------------------------------------------------------------- chance, groups, budget


def test_probability_is_rolled_and_told():
    book = lore({"key": ["mill"], "probability": 40})

    assert fire(book, "mill", roll=lambda: 0.4).trace[0].why == "'mill' in message 1, rolled 40 of 40%"
    lost = fire(book, "mill", roll=lambda: 0.41)
    assert why_not(lost, "entry 0") == "'mill' in message 1, but rolled 41 with a chance of 40%"
    always = lore({"key": ["mill"], "probability": 0, "useProbability": False})
    assert names(fire(always, "mill", roll=lambda: 0.99)) == ["entry 0"]


def test_a_failed_roll_is_not_repeated_in_recursion():
    rolls = []
    book = lore({"key": ["mill"], "content": "mill again"}, {"key": ["mill"], "probability": 10})
    fire(book, "mill", roll=lambda: rolls.append(1) or 0.9)

    assert len(rolls) == 1


def test_of_a_group_one_is_drawn_by_weight():
    book = lore({"key": ["a"], "group": "g", "order": 2}, {"key": ["a"], "group": "g", "groupWeight": 300, "order": 1})

    assert names(fire(book, "a", roll=lambda: 0.2)) == ["entry 0"]
    drawn = fire(book, "a", roll=lambda: 0.3)
    assert names(drawn) == ["entry 1"]
    assert why_not(drawn, "entry 0") == "'a' in message 1, but in the group 'g' 'entry 1' was drawn"


def test_in_a_group_an_override_wins_by_order():
    book = lore(
        {"key": ["a"], "group": "g", "order": 900},
        {"key": ["a"], "group": "g", "groupOverride": True, "order": 1},
        {"key": ["a"], "group": "g", "groupOverride": True, "order": 5},
    )

    assert names(fire(book, "a", roll=lambda: 0.0)) == ["entry 2"]


def test_in_a_scored_group_those_with_more_keys_win():
    book = lore({"key": ["a", "b"], "group": "g"}, {"key": ["a"], "group": "g"})
    scored = lore({"key": ["a", "b"], "group": "g"}, {"key": ["a"], "group": "g", "useGroupScoring": True})

    assert names(fire(book, "a b", roll=lambda: 0.9)) == ["entry 1"]
    assert names(fire(book, "a b", roll=lambda: 0.9, use_group_scoring=True)) == ["entry 0"]
    assert names(fire(scored, "a b", roll=lambda: 0.9)) == ["entry 0"]


def test_an_entry_in_two_groups_must_win_both():
    book = lore(
        {"key": ["a"], "group": "g, h"},
        {"key": ["a"], "group": "h", "groupOverride": True},
        {"key": ["a"], "group": "g"},
    )

    assert sorted(names(fire(book, "a", roll=lambda: 0.0))) == ["entry 1"]


def test_a_group_that_fired_before_takes_nothing_from_recursion():
    book = lore({"key": ["a"], "group": "g", "content": "b"}, {"key": ["b"], "group": "g"})

    activation = fire(book, "a")

    assert names(activation) == ["entry 0"]
    assert why_not(activation, "entry 1").endswith("in the group 'g' 'entry 0' fired already")


def test_the_budget_keeps_high_orders_and_then_takes_nothing_more():
    book = lore(
        {"key": ["a"], "content": "w " * 30, "order": 3},
        {"key": ["a"], "content": "w " * 60, "order": 2},
        {"key": ["a"], "content": "w", "order": 1},
        {"key": ["a"], "content": "w " * 500, "order": 0, "ignoreBudget": True},
    )
    activation = fire(book, "a", context=320)

    assert activation.budget_tokens == 80
    assert names(activation) == ["entry 3", "entry 0"]
    assert activation.num_tokens == 530
    assert why_not(activation, "entry 2") == "'a' in message 1, but lore had used up its 80 tokens"


def test_the_share_has_a_cap_and_rounds_as_sillytavern_does():
    assert fire(lore(), "a", context=4096).budget_tokens == 1024
    assert fire(lore(), "a", context=4096, budget_cap_tokens=100).budget_tokens == 100
    assert fire(lore(), "a", context=1, fraction=0.0).budget_tokens == 1


def test_a_book_with_its_own_budget_keeps_by_priority_and_leaves_the_others_alone():
    book = {
        "token_budget": 5,
        "entries": [
            {"keys": ["a"], "content": "one two three", "priority": 1, "insertion_order": 9, "name": "low"},
            {"keys": ["a"], "content": "one two three", "priority": 7, "insertion_order": 1, "name": "high"},
        ],
    }
    activation = fire([parse_lorebook(book, where="test"), lore({"key": ["a"]})], "a")

    assert sorted(names(activation)) == ["entry 0", "high"]
    assert why_not(activation, "low") == "'a' in message 1, but lore had used up its 5 tokens"


def test_lore_of_the_chat_comes_before_the_personas_the_characters_and_the_rest():
    books = [
        lore({"key": ["a"], "comment": origin}, origin=origin) for origin in ("global", "character", "chat", "persona")
    ]

    kept = []
    for limit in (12, 20, 28):
        kept.append(set(names(fire(books, "a", context=limit, count=lambda _: 2))))
    assert kept == [{"chat"}, {"chat", "persona"}, {"chat", "persona", "character"}]


def test_low_orders_stand_first_in_the_prompt():
    book = lore({"key": ["a"], "order": 300}, {"key": ["a"], "order": 10}, {"key": ["a"], "order": 50})

    assert names(fire(book, "a")) == ["entry 1", "entry 2", "entry 0"]


# --------------------------------------------------------------------------------------------------------------- time


def test_a_sticky_entry_stays_and_then_stays_away():
    book = lore({"key": ["mill"], "sticky": 2, "cooldown": 3})
    talk = ["hello", "the mill"]
    first = fire(book, talk)
    assert names(first) == ["entry 0"]

    second = fire(book, [*talk, "a"], state=first.state, scan_messages=1)
    assert second.trace[0].why == "it stays until the chat has 4 messages"

    third = fire(book, [*talk, "a", "mill"], state=second.state, scan_messages=1)
    assert names(third) == []
    assert why_not(third, "entry 0") == "'mill' in message 4, but it stays away until the chat has 7 messages"

    fourth = fire(book, [*talk, "a", "b", "c", "d", "mill"], state=third.state, scan_messages=1)
    assert names(fourth) == ["entry 0"]


def test_a_swipe_of_the_same_message_takes_the_effect_back_and_decides_anew():
    book = lore({"key": ["mill"], "cooldown": 5, "probability": 50})
    first = fire(book, ["hello", "mill"], roll=lambda: 0.1)

    again = fire(book, ["hello", "mill"], state=first.state, roll=lambda: 0.1)

    assert names(again) == ["entry 0"]
    assert again.state == first.state


def test_a_sticky_entry_is_not_rolled_again_and_leads_its_group():
    book = lore({"key": ["mill"], "sticky": 9, "probability": 50, "group": "g"}, {"key": ["rain"], "group": "g"})
    first = fire(book, "mill", roll=lambda: 0.1)

    assert names(fire(book, ["mill", "rain"], state=first.state, roll=lambda: 0.99, scan_messages=1)) == ["entry 0"]


def test_an_entry_with_a_delay_waits_for_the_chat_to_grow():
    book = lore({"key": ["mill"], "delay": 3})

    early = fire(book, ["mill", "mill"])
    assert names(early) == []
    assert why_not(early, "entry 0") == "'mill' in message 2, but it waits until the chat has 3 messages"
    assert names(fire(book, ["mill", "mill", "mill"])) == ["entry 0"]


def test_state_survives_json_and_damage_is_told():
    book = lore(
        {"key": ["mill"], "sticky": 4, "cooldown": 2}, {"key": ["mill"], "content": "@@keep_activate_after_match\nx"}
    )
    state = fire(book, "mill").state

    assert LoreState.from_json(json.loads(json.dumps(state.as_json()))) == state
    assert LoreState.from_json({}) == LoreState()
    for damaged in ({"sticky": 5}, {"sticky": {"a": [1]}}, {"fired": 4}, []):
        with pytest.raises(DataError, match="damaged"):
            LoreState.from_json(damaged)


# --------------------------------------------------------------------------------------------------- scene, decorators


def test_triggers_and_filters_choose_the_turns_and_the_characters():
    book = lore(
        {"key": ["a"], "triggers": ["swipe"]},
        {"key": ["a"], "characterFilter": {"names": ["Ada"], "tags": [], "isExclude": False}},
        {"key": ["a"], "characterFilter": {"names": ["Ada"], "tags": [], "isExclude": True}},
        {"key": ["a"], "characterFilter": {"names": [], "tags": ["clocks"], "isExclude": False}},
    )
    ada = fire(book, "a", scene=LoreScene(names=("Ada",), tags=("clocks",)))
    swipe = fire(book, "a", scene=LoreScene(names=("Bea",), trigger="swipe"))

    assert sorted(names(ada)) == ["entry 1", "entry 3"]
    assert sorted(names(swipe)) == ["entry 0", "entry 2"]
    assert why_not(ada, "entry 0") == "'a' in message 1, but it is for swipe, not for normal"


def decorated(*lines, key="a"):
    return lore({"key": [key], "content": "\n".join([*lines, "text"])})


def test_decorators_decide_when_an_entry_fires():
    assert fire(decorated("@@activate"), "nothing").trace[0].why == "@@activate"
    assert fire(decorated("@@dont_activate"), "a").fired == ()
    assert fire(decorated("@@activate", "@@dont_activate"), "x").fired
    assert fire(decorated("@@activate_only_after 2"), ["a", "a"]).fired == ()
    assert fire(decorated("@@activate_only_after 2"), ["a", "a", "a"]).fired
    assert fire(decorated("@@activate_only_every 2"), ["a", "a"]).fired == ()
    assert fire(decorated("@@activate_only_every 2"), ["a", "a", "a"]).fired
    assert fire(decorated("@@additional_keys b,c"), "a").fired == ()
    assert fire(decorated("@@additional_keys b,c"), "a c").fired
    assert fire(decorated("@@exclude_keys b"), "a b").fired == ()
    assert fire(decorated("@@scan_depth 3"), ["a", "x", "y"]).fired
    assert fire(decorated("@@is_greeting 1"), "a", scene=LoreScene(greeting=0)).fired == ()
    assert fire(decorated("@@is_greeting 1"), "a", scene=LoreScene(greeting=1)).fired
    assert fire(decorated("@@is_greeting 1"), "a").fired  # ignored where nobody knows the greeting


def test_decorators_that_remember_need_only_the_state():
    keep, once = decorated("@@keep_activate_after_match"), decorated("@@dont_activate_after_match")

    assert fire(keep, "x", state=fire(keep, "a").state).fired
    assert fire(once, ["a", "a"], state=fire(once, "a").state).fired == ()


def test_decorators_decide_where_an_entry_goes():
    def place(*lines):
        (fired,) = fire(decorated(*lines), ["a", "a", "a", "a", "a"]).fired
        return fired.position, fired.depth, fired.role

    assert place() == ("before_char", 4, "system")
    assert place("@@depth 2", "@@role user") == ("at_depth", 2, "user")
    assert place("@@reverse_depth 1") == ("at_depth", 4, "system")
    assert place("@@position after_desc", "@@depth 2")[0] == "after_char"


def test_an_entry_that_yields_leaves_first_when_lore_does_not_fit():
    book = lore(
        {"key": ["a"], "content": "@@ignore_on_max_context\nw w w", "order": 900}, {"key": ["a"], "content": "w w w"}
    )

    assert names(fire(book, "a", context=20)) == ["entry 1"]


def test_an_entry_without_content_puts_nothing_into_the_prompt():
    assert fire(lore({"key": ["a"], "content": ""}), "a").fired == ()


def test_v3_patterns_take_additional_keys_as_more_patterns():
    entry = {"keys": ["x+"], "content": "@@additional_keys y+\ntext", "use_regex": True, "enabled": True}

    assert fire(parse_lorebook({"entries": [entry]}, where="test"), "yyy").fired


# --------------------------------------------------------------------------------------------------------------- whole


entries = st.fixed_dictionaries(
    {
        "key": st.lists(st.sampled_from(["a", "b", "c", "/[ab]/"]), max_size=2),
        "content": st.sampled_from(["a", "b c", ""]),
    },
    optional={
        "constant": st.booleans(),
        "keysecondary": st.lists(st.sampled_from("abc"), max_size=2),
        "selectiveLogic": st.integers(0, 3),
        "probability": st.integers(0, 100),
        "group": st.sampled_from(["", "g", "g,h"]),
        "groupOverride": st.booleans(),
        "useGroupScoring": st.booleans(),
        "order": st.integers(0, 3),
        "sticky": st.integers(0, 3),
        "cooldown": st.integers(0, 3),
        "delay": st.integers(0, 3),
        "excludeRecursion": st.booleans(),
        "preventRecursion": st.booleans(),
        "delayUntilRecursion": st.integers(0, 3),
        "ignoreBudget": st.booleans(),
        "position": st.integers(0, 7),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(entries, max_size=8), st.lists(st.sampled_from(["a", "b", "c", "x"]), max_size=6), st.integers(0, 9))
def test_any_book_in_any_chat_keeps_the_rules(made, talk, seed):
    book = lore(*made)
    state = LoreState()
    for length in range(len(talk) + 1):
        draws = [random.Random(seed) for _ in range(2)]
        runs = [fire(book, talk[:length], state=state, roll=draw.random, context=40, count=len) for draw in draws]
        assert runs[0] == runs[1]  # nothing but the arguments decides
        activation = runs[0]
        orders = [fired.entry.order for fired in activation.fired]
        assert orders == sorted(orders)
        assert sum(f.num_tokens for f in activation.fired if not f.entry.ignores_budget) < 10
        assert len({id(f.entry) for f in activation.fired}) == len(activation.fired)
        fired_groups = [
            name for f in activation.fired for name in f.entry.groups if f.entry.state_key not in state.sticky
        ]
        assert len(fired_groups) == len(set(fired_groups))
        assert all(trace.why for trace in activation.trace)
        state = LoreState.from_json(activation.state.as_json())


def test_a_thousand_entries_are_quick():
    words = [f"{a}{b}{c}" for a in ("lan", "mir", "tor", "bel") for b in ("a", "o", "ium") for c in ("n", "rk", "ster")]
    book = lore(*({"key": [f"{words[n % 36]}{n}", f"{words[n % 35]} {n}"], "content": "a thing"} for n in range(1000)))
    text = " ".join(words[n % 36] for n in range(600))[:3990] + " tora 5"
    assert len(text) >= 3900

    seconds = []
    for _ in range(5):
        begun = time.process_time()
        fire(book, text)
        seconds.append(time.process_time() - begun)

    assert min(seconds) < 0.1  # about 0.01 on a quiet machine; this one may be busy


def test_a_book_made_to_hang_the_chat_is_cut_and_its_chain_ends(monkeypatch):
    monkeypatch.setattr("duologue.characters.lorebook.MAX_KEYS", 2000)
    monkeypatch.setattr("duologue.characters.activation.MAX_KEY_CHECKS", 20_000)
    chain = [{"keys": [f"k{n}", *(f"x{n}y{m}" for m in range(9))], "content": f"k{n + 1}"} for n in range(300)]
    book = parse_lorebook({"entries": chain}, where="test")

    assert len(book.entries) == 181
    assert book.warnings == ("entry 181 and those after it are not used: the book has over 2,000 keys",)
    activation = fire(book, "k0", context=10**9)
    assert len(activation.fired) == 10
    assert activation.notes == ("lore was searched 10 times for other lore and could have fired more",)
    assert fire(book, "k0", context=10**9, max_recursion_steps=3).notes == ()
