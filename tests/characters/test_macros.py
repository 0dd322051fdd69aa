"""Macros: what each stands for, and that a text is read once whatever it holds."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.characters import Character, ChatLine, DepthPrompt, MacroContext, expand, unknown_macros
from duologue.characters.macro_values import MAX_VARIABLE_CHARS, VALUES
from duologue.characters.macros import MAX_EXPANDED_CHARS, MAX_NESTING, scannable

NOW = datetime(2026, 11, 22, 15, 4, 5, tzinfo=timezone(timedelta(hours=1)))
ADA = Character(
    "Ada",
    description="{{char}} mends clocks. {{random::never}}",
    personality="patient",
    scenario="a shop",
    greeting="Put it down, {{user}}.",
    alternate_greetings=("Again?",),
    example_dialogue="<START>\n{{user}}: hi",
    system_prompt="Be brief.",
    post_history_instructions="Stay calm.",
    depth_prompt=DepthPrompt("It rains."),
    character_version="3",
)


def context(**changes):
    messages = (
        ChatLine("assistant", "Ada", "Hello."),
        ChatLine("user", "Sam", "My {{char}} watch.", NOW - timedelta(hours=3)),
        ChatLine("assistant", "Ada", "I see."),
        ChatLine("user", "Sam", "Well?", NOW),
    )
    return MacroContext(**{"char": "Ada", "user": "Sam", "character": ADA, "messages": messages, "now": NOW, **changes})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{char}} {{CHAR}} {{ char }} <BOT> <char>", "Ada Ada Ada Ada Ada"),
        ("{{user}} <USER>", "Sam Sam"),
        ("{{{char}}}", "{Ada}"),
        ("{{persona}}", "a sailor"),
        ("{{description}}", "Ada mends clocks. {{random::never}}"),
        ("{{charDescription}}|{{personality}}|{{scenario}}", "Ada mends clocks. {{random::never}}|patient|a shop"),
        ("{{mesExamples}}", "<START>\nSam: hi"),
        ("{{charPrompt}} {{charInstruction}} {{charDepthPrompt}}", "Be brief. Stay calm. It rains."),
        ("{{char_version}} {{charVersion}}", "3 3"),
        ("{{greeting}} {{greeting::1}} {{greeting::9}}", "Put it down, Sam. Again? "),
        ("{{original}}", "the default"),
        ("{{group}} / {{groupNotMuted}} / {{notChar}}", "Ada, Bea / Ada / Bea, Sam"),
        ("{{lastMessage}} {{lastUserMessage}} {{lastCharMessage}} {{lastMessageId}}", "Well? Well? I see. 3"),
        ("{{input}} {{model}}", "typing m"),
        ("{{maxPrompt}} {{maxContext}} {{maxResponseTokens}}", "900 1000 100"),
        ("{{outlet::places}}{{outlet::none}}", "the {{user}} quay"),
        ("{{time}} {{time::UTC-5}} {{time_UTC+2}}", "3:04 PM 9:04 AM 4:04 PM"),
        ("{{date}} {{weekday}} {{isodate}} {{isotime}}", "November 22, 2026 Sunday 2026-11-22 15:04"),
        ("{{datetimeformat::ddd D.M.YY [at] HH:mm:ss a}}", "Sun 22.11.26 at 15:04:05 pm"),
        ("{{idle_duration}} {{idleDuration}}", "3 hours 3 hours"),
        ("{{timeDiff::2023-01-01 12:00:00::2023-01-01 15:00:00}}", "3 hours ago"),
        ("{{timeDiff :: 2023-01-03 :: 2023-01-01}}", "in 2 days"),
        ("a{{newline}}b{{newline::2}}c{{space::3}}d", "a\nb\n\nc   d"),
        ("a\n\n{{trim}}\n\nb", "ab"),
        ("a\n{{noop}}{{trim}}{{noop}}\nb", "a\n\nb"),
        ("[{{trim}}\n x \n{{/trim}}]", "[x]"),
        ("{{// gone}}{{comment: gone}}{{hidden_key:gone}}{{//}}a {{char}}{{///}}", ""),
        ("{{reverse:abc}} {{reverse::{{user}}}}", "cba maS"),
        ("{{random::only}} {{random:only}} {{random}}", "only only "),
        (r"{{random:a\,b}}", "a,b"),
        ("{{setvar::x::4}}{{addvar::x::3}}{{getvar::x}} {{incvar::x}} {{decvar x}}", "7 8 7"),
        ("{{setvar::t::a::b}}{{addvar::t::!}}{{getvar::t}}", "a::b!"),
        ("{{hasvar::x}}{{setvar::x::1}}{{varexists::x}}{{deletevar::x}}{{hasvar::x}}", "falsetruefalse"),
        (
            "{{setglobalvar::g::1}}{{incglobalvar::g}}{{addglobalvar::g::0.5}} {{getglobalvar::g}} {{getvar::g}}",
            "2 2.5 ",
        ),
        ("{{if persona}}yes{{else}}no{{/if}}", "yes"),
        ("{{if !persona}}yes{{else}}no{{/if}}", "no"),
        ("{{if {{getvar::x}}}}yes{{/if}}-", "-"),
        ("{{setvar::x::1}}{{if .x}} {{char}} {{/if}}{{if $x}}no{{/if}}", "Ada"),
        ("{{if off}}a{{else}}{{if 1}}b{{else}}c{{/if}}{{/if}}", "b"),
        ("{{if::{{user}}::hi {{user}}}}", "hi Sam"),
        ("{{if 0}}{{setvar::x::1}}{{/if}}{{getvar::x}}.", "."),
    ],
)
def test_each_macro_stands_for_its_text(text, said):
    made = context(
        persona="a sailor",
        original="the default",
        group=("Ada", "Bea"),
        muted=("Bea",),
        typed="typing",
        model="m",
        context_tokens=1000,
        max_reply_tokens=100,
        outlets={"places": "the {{user}} quay"},
    )

    assert expand(text, made) == said


@pytest.mark.parametrize(
    "text",
    [
        "{{nonsense}}",
        "{{7*7}}",
        "{{ config.items() }}",
        "{% for x in y %}",
        "${7*7}",
        "{{",
        "}}",
        "{{char",
        "{{}}",
        "{{ }}",
        "{{roll::many}}",
        "{{roll::99999d6}}",
        "{{roll::0}}",
        "{{setvar::x}}",
        "{{/if}}",
        "{{else}}",
        "{{if x}}never closed",
        "{{timeDiff::soon::late}}",
        "{{space::-1}}",
    ],
)
def test_what_is_unknown_or_broken_stays_as_it_is_written(text):
    assert expand(text, context()) == text


def test_without_a_clock_or_an_original_those_macros_stay():
    text = "{{time}} {{date}} {{idle_duration}} {{original}}"

    assert expand(text, context(now=None)) == text


def test_known_macros_inside_unknown_ones_are_replaced():
    assert expand("{{theirs::{{user}}}}", context()) == "{{theirs::Sam}}"


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(VALUES)), st.text(max_size=20))
def test_no_result_is_ever_read_again(name, extra):
    hostile = "{{setvar::hacked::1}}{{char}}<USER>" + extra
    made = context(
        char=hostile,
        user=hostile,
        persona=hostile,
        typed=hostile,
        model=hostile,
        original=hostile,
        group=(hostile,),
        outlets={"x": hostile},
        messages=(ChatLine("user", "Sam", hostile),),
    )

    expand(f"{{{{{name}::x::y}}}} {{{{{name}}}}} <user> {{{{random::{{{{user}}}}}}}}", made)

    assert "hacked" not in made.variables
    assert expand("{{user}}", made) == hostile


def test_dice_stay_within_their_sides_and_repeat_with_the_seed():
    rolls = {int(expand("{{roll:d6}}", context(seed=seed))) for seed in range(200)}
    assert rolls == {1, 2, 3, 4, 5, 6}
    assert {int(expand("{{roll 3d4+10}}", context(seed=seed))) for seed in range(300)} == set(range(13, 23))
    assert expand("{{roll::1000000}}", context(seed=3)) == expand("{{roll::1000000}}", context(seed=3))


def test_random_changes_with_the_prompt_and_pick_with_the_chat_and_the_place():
    text = " ".join("{{pick::a::b::c::d}}" for _ in range(12))
    picks = expand(text, context(seed=1, pick_seed=5))

    assert expand(text, context(seed=2, pick_seed=5)) == picks
    assert expand(text, context(seed=1, pick_seed=6)) != picks
    assert len(set(picks.split())) > 1
    assert len({expand("{{random: a, b ,c}}", context(seed=seed)) for seed in range(50)}) == 3


def test_unknown_macros_are_listed_once_and_known_ones_never():
    text = "{{foo}} {{char}} {{foo}} {{bar::{{baz}}}} {{if x}}{{else}}{{/if}} {{time_UTC+1}} {{7}} {{//}}{{///}}"

    assert unknown_macros(text) == ("{{foo}}", "{{bar::{{baz}}}}", "{{baz}}", "{{7}}")
    assert unknown_macros("{{" + "x" * 500 + "}}")[0].endswith("...")
    assert unknown_macros(" ".join(f"{{{{{name}}}}}" for name in VALUES)) == ()


def test_scanned_lore_shows_hidden_keys_and_hides_comments():
    assert scannable("a {{hidden_key: quay }}{{// mill}}{{comment:x}} {{char}}") == "a quay {{char}}"


# -------------------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize(
    "text",
    [
        "{{" * 200_000,
        "}}" * 200_000,
        "{{a" * 100_000 + "}}" * 100_000,
        "{{if x}}" * 20_000,
        "{{if x}}" * 10_000 + "{{/if}}" * 10_000,
        "{{random::" * 30_000 + "x" + "}}" * 30_000,
        "{{pick::a::b}}" * 10_000,
        "{{trim}}\n" * 50_000,
        "\n" * 50_000 + "{{trim}}" * 1000,
        "::".join(["{{random", *("a" for _ in range(100_000))]) + "}}",
        "{" * 200_001,
        "{{// " + "{{char}}" * 50_000 + "}}",
    ],
    ids=["open", "close", "deep", "ifs", "scopes", "nested", "picks", "trims", "breaks", "args", "odd", "comment"],
)
def test_no_text_takes_more_than_moments(text):
    begun = time.process_time()

    result = expand(text, context())

    assert len(result) <= len(text) + MAX_EXPANDED_CHARS
    assert time.process_time() - begun < 5  # most take a tenth of a second


def test_nesting_ends_at_its_limit():
    def nested(levels):
        return "{{reverse::" * levels + "ab" + "}}" * levels

    assert expand(nested(MAX_NESTING), context()) in ("ab", "ba")
    assert "{{reverse" in expand(nested(MAX_NESTING + 4), context())


def test_doubling_a_variable_for_ever_ends_at_its_limit():
    made = context()

    expand("{{setvar::x::ab}}" + "{{addvar::x::{{getvar::x}}}}" * 200, made)

    assert 2 <= len(made.variables["x"]) <= MAX_VARIABLE_CHARS
    expand("".join(f"{{{{setvar::v{number}::1}}}}" for number in range(3000)), made)
    assert len(made.variables) == 1000


def test_a_context_without_effects_leaves_the_variables_alone():
    made = context(variables={"x": "1"})

    assert expand("{{incvar::x}}{{setglobalvar::g::1}}", made.without_effects()) == "2"
    assert (made.variables, made.global_variables) == ({"x": "1"}, {})


def test_results_together_end_at_their_limit_and_the_rest_stays_as_written():
    long = Character("Ada", description="d" * 100_000)

    result = expand("{{description}}" * 50, context(character=long))

    assert result.count("{{description}}") == 40
    assert len(result) <= MAX_EXPANDED_CHARS + 50 * 20


def test_a_time_without_a_zone_can_be_compared_with_one_that_has_it():
    lines = (ChatLine("user", "Sam", "a", datetime(2026, 11, 22, 12, 0)), ChatLine("user", "Sam", "b"))

    assert "hour" in expand("{{idle_duration}}", context(messages=lines, now=datetime(2026, 11, 22, 15, 0, tzinfo=UTC)))


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="{}:/,.$!<> charusepickif|\n\0", max_size=60))
def test_any_text_is_expanded_without_a_crash(text):
    expand(text, context())
    unknown_macros(text)
    scannable(text)
