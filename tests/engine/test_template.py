"""Chat templates are filled as transformers fills them, reach nothing, and stop when they ask for too much.

Every hostile template here would take seconds to ages and gigabytes in a plain sandbox; what is checked is which
budget stopped it, which is the same on every machine.
"""

import pickle
import random
import threading
import tracemalloc
from pathlib import Path

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from duologue.engine.template import MAX_TEMPLATE_CHARS, ChatTemplate
from duologue.engine.template.budget import Budget
from duologue.errors import DataError, EngineError
from duologue.messages import Message

TALK = (Message("system", "You are Lila."), Message("user", "hi"), Message("assistant", "Hello, traveller."))
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
REAL = sorted((Path(__file__).parents[1] / "data" / "templates").glob("*.jinja"))
STEPS, BYTES = "budget of steps", "budget of bytes"


def filled(source: str, messages=TALK) -> str:
    return ChatTemplate(source, tokens=TOKENS, where="model.gguf").render(messages, add_generation_prompt=True)


def as_transformers(source: str, messages=TALK) -> str:
    rows = [{"role": message.role, "content": message.content} for message in messages]
    texts, _ = render_jinja_template(
        [rows], chat_template=source, add_generation_prompt=True, enable_thinking=False, **TOKENS
    )
    return texts[0]


# ------------------------------------------------------------------------------------------------- what templates do


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.stem)
@pytest.mark.parametrize("num_turns", [1, 2, 40])
def test_real_templates_are_filled_as_transformers_fills_them(file, num_turns):
    source = file.read_text(encoding="utf-8")
    draw = random.Random(num_turns)
    words = ["*waves*", "Ünïcödé", "日本語", "</think>", "a < b & c", "  ", "\n\n", "🚂", "{{ x }}", "\\n"]
    said = [" ".join(draw.choices(words, k=9)) for _ in range(2 * num_turns)]
    talk = [Message("assistant" if place % 2 else "user", text) for place, text in enumerate(said)]
    assert filled(source, talk) == as_transformers(source, talk)


# Each line uses what some published template uses.
ORDINARY = [
    "{{ bos_token }}{% for m in messages %}{{ loop.index0 }}{{ m.role|upper }}{{ m['content']|trim }}{% endfor %}",
    "{% for m in messages %}\n  {% if not loop.last %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}",
    "{% macro say(m, mark='|') %}{{ mark }}{{ m.content }}{% endmacro %}{{ say(messages[1]) }}"
    "{{ say(messages[2], '#') }}",
    "{% macro deep(x) %}{% if x is mapping %}{% for k, v in x|dictsort %}{{ k }}={{ deep(v) }}{% endfor %}"
    "{% elif x is string or x is number %}{{ x|tojson }}{% else %}{% for y in x %}{{ deep(y) }},{% endfor %}"
    "{% endif %}"
    "{% endmacro %}{{ deep({'b': [1, 'ä\"'], 'a': {'c': 2.5}}) }}",
    "{% set ns = namespace(found=false, text='') %}{% for m in messages %}"
    "{% set ns.text = ns.text + m.role ~ loop.index %}"
    "{% if m.role == 'user' and not ns.found %}{% set ns.found = true %}{% endif %}{% endfor %}{{ ns.text }}"
    "{{ ns.found }}",
    "{{ messages[1:]|selectattr('role', 'equalto', 'user')|map(attribute='content')|join(', ') }}",
    "{{ messages|rejectattr('role', 'in', ['system', 'tool'])|list|length }}",
    "{{ messages|map(attribute='role')|list }}{{ ['b', 'a', 'b']|unique|join }}",
    "{% for m in messages if m.role != 'system' %}{{ m.content.split('l')[-1].lstrip('\\n') }}{% else %}none"
    "{% endfor %}",
    "{{ messages[-1].content.replace('ll', 'LL') }}{{ 'a-b'|replace('-', '+') }}"
    "{{ messages[0].get('name', 'nobody') }}",
    "{{ tools is none }}{{ 'role' in messages[0] }}{{ 'x' not in messages[0].content }}{{ ('a', 'b')[1] }}",
    "{% for k, v in {'a': 1, 'b': [2, none]}.items() %}{{ k ~ v }}{% endfor %}{{ {'a': [1, 'x']} }}",
    "{{ [{'a': 1, 'b': 'ü<'}]|tojson(indent=4) }}{{ {'b': 1, 'a': 2}|tojson(sort_keys=true, separators=(',', ':')) }}",
    "{{ 'a\nb'|indent(2) }}{{ '%s-%05.2f' % ('x', 1.5) }}{{ '{}/{:>4}'.format('a', 'b') }}{{ '%d'|format(3) }}",
    "{% generation %}{{ messages[2].content }}{% endgeneration %}",
    "{% for m in messages %}{% if m.role == 'user' %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
    "{% set text %}<{{ messages[0].role }}>{% endset %}{{ text }}{{ text|length }}{% filter upper %}abc{% endfilter %}",
    "{{ 7 // 2 }}{{ 7 % 4 }}{{ 2 ** 5 }}{{ -3 + 5 * 2 }}{{ 1 / 4 }}",
    "{% macro wrap() %}({{ caller() }}){% endmacro %}{% call wrap() %}{{ messages[1].content }}{% endcall %}",
    "{{ messages[0].missing is defined }}{{ messages[0].missing }}{{ (messages[0].missing or 'x')|default('y') }}",
    "{{ 1 < 2 < 3 }}{{ 3 > 2 == 2 }}{{ [1, 2] == [1, 2] }}{{ 'b' >= 'a' }}{{ 2 in [1, 2] }}"
    "{{ 'l' in 'Lila' != false }}",
    "{{ messages[::-1][0].role }}{{ 'Lila'[1:3] }}{{ [1, 2, 3][:-1] }}{{ range(3)|list }}{{ range(2, 8, 3)|sum }}",
    "{{ [3, 1, 2]|sort }}{{ ['b', 'A']|sort|first }}{{ [1, 5]|max }}{{ 'abc'|reverse }}"
    "{{ [1, 2]|reverse|list }}{{ 'x'|list }}",
    "{{ '12'|int + 1 }}{{ '1.5'|float }}{{ 2.567|round(1) }}{{ '<b>'|e }}{{ 'hello world'|title }}{{ -3|abs }}"
    "{{ 'Ab'.lower() }}",
    "{{ messages[0].content.startswith('You') }}{{ 'a,b'.partition(',') }}{{ 'aXb'.find('X') }}"
    "{{ ', '.join(['a', 'b']) }}",
    "{{ dict(a=1, b=2) }}{{ dict([('k', 'v')]).k }}{{ {messages[0].role: 1} }}{{ loop is defined }}{{ 'ÄÖ'|lower }}",
    "{% for row in [[1, [2]], [3]] recursive %}{{ loop(row) if row is iterable else row }}{% endfor %}",
    "{% for m in messages %}{{ loop.previtem is defined and loop.previtem.role }}{{ loop.cycle('a', 'b') }}"
    "{{ loop.length - loop.revindex }}{% endfor %}",
    "{{ 'abc'|select('in', 'ab')|list }}{{ [0, 1]|reject|list }}{{ ['a']|map('upper')|first }}"
    "{{ 'a b'.title() }}{{ 1.0 }}",
]


@pytest.mark.parametrize("source", ORDINARY)
def test_what_templates_use_does_what_it_does_in_transformers(source):
    assert filled(source) == as_transformers(source)


def test_the_first_line_of_whoever_speaks_next_depends_on_nobody_elses_filling():
    template = ChatTemplate(REAL[0].read_text(encoding="utf-8"), tokens=TOKENS, where="x")
    talks = [(Message("user", f"I am {number}."),) for number in range(8)]
    found: dict[int, set[str]] = {number: set() for number in range(8)}

    def fill(number: int) -> None:
        for _ in range(30):
            found[number].add(template.render(talks[number], add_generation_prompt=True))

    threads = [threading.Thread(target=fill, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(texts) == 1 and f"I am {number}." in texts.copy().pop() for number, texts in found.items())


def test_a_long_conversation_has_the_budget_that_it_needs():
    talk = [Message("assistant" if place % 2 else "user", "All aboard! " * 40) for place in range(2_000)]
    looks_back = (
        "{% set ns = namespace(text='') %}{% for m in messages %}"
        "{% set before = messages[:loop.index0]|selectattr('role', 'equalto', 'user')|list %}"
        "{% set ns.text = ns.text + m.role + m.content %}{% endfor %}{{ ns.text }}"
    )
    qwen = next(file for file in REAL if file.stem == "qwen3").read_text(encoding="utf-8")
    assert filled(qwen, talk) == as_transformers(qwen, talk)
    assert len(filled(looks_back, talk[:400])) == sum(len(m.role + m.content) for m in talk[:400])


# ----------------------------------------------------------------------------------------------- what they may not do

_TWICE = "{{% set ns = namespace(x={start}, y={start}) %}}{{% for a in range(45) %}}{{% set ns.x = {twice} %}}"
_TWICE += "{{% set ns.y = {other} %}}{{% endfor %}}"
_NESTED = _TWICE.format(start="[1]", twice="[ns.x, ns.x]", other="[ns.y, ns.y]")
_TUPLES = _TWICE.format(start="(1,)", twice="(ns.x, ns.x)", other="(ns.y, ns.y)")


def often(body: str, text: str = "'a'*100000") -> str:
    """A body that runs 100,000 times, with a long text."""
    return f"{{% set s = {text} %}}{{% for i in range(99999) %}}{body}{{% endfor %}}"


def twice(start: str, step: str) -> str:
    """A value that doubles forty times."""
    return f"{{% set n = namespace(x={start}) %}}{{% for a in range(40) %}}{{% set n.x = {step} %}}{{% endfor %}}"


_AGAIN = "{% set ns = namespace(x=[]) %}{% for i in range(100000) %}{% set ns.x = "

TOO_MUCH = {
    "a long text": ("{{ 'A'*10**9 }}", STEPS),
    "a long list": ("{{ ([0]*10**9)|length }}", STEPS),
    "a wide percent": ("{{ '%1000000000d' % 1 }}", "the width"),
    "a given width": ("{{ '%*d' % (1000000000, 1) }}", "the width"),
    "a fine percent": ("{{ '%.1000000000f'|format(1.5) }}", "the width"),
    "a wide field": ("{{ '{:1000000000d}'.format(1) }}", "the width"),
    "a field of fields": ("{{ '{:{w}}'.format(1, w=1000000000) }}", "the width"),
    "loops in loops": ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", STEPS),
    "conditions": (
        "{% for a in range(99999) if a %}{% for b in range(99999) if b in [1] %}{% endfor %}{% endfor %}",
        STEPS,
    ),
    "printed text": ("{% for a in range(100000) %}" + "A" * 5000 + "{% endfor %}", BYTES),
    "a long range": ("{{ range(10**9)|length }}", "a range of"),
    "joined twice": (twice("'A'", "n.x ~ n.x"), "budget"),
    "added twice": (twice("'A'", "n.x + n.x"), "budget"),
    "set twice": (
        "{% set n = namespace(x='A') %}{% for a in range(40) %}{% set x %}{{ n.x }}{{ n.x }}{% endset %}"
        "{% set n.x = x %}{% endfor %}",
        "budget",
    ),
    "lists added twice": (twice("[1]", "n.x + n.x"), "budget"),
    "nested lists printed": (_NESTED + "{{ ns.x }}", STEPS),
    "nested lists as JSON": (_NESTED + "{{ ns.x|tojson }}", STEPS),
    "nested lists compared": (_NESTED + "{{ ns.x == ns.y }}", STEPS),
    "nested lists tested": (_NESTED + "{{ ns.x is eq(ns.y) }}", STEPS),
    "nested lists selected": (_NESTED + "{{ [ns.x]|select('ne', ns.y)|list|length }}", STEPS),
    "nested lists sorted": (_NESTED + "{{ [ns.x, ns.y]|sort|length }}", STEPS),
    "nested lists looked for": (_NESTED + "{{ [ns.x].index(ns.y) }}", STEPS),
    "nested lists found": (_NESTED + "{{ ns.y in [ns.x] }}", STEPS),
    "nested lists joined": (_NESTED + "{{ ns.x|join }}", STEPS),
    "nested lists filled in": (_NESTED + "{{ '%s' % [ns.x] }}", STEPS),
    "nested lists as fields": (_NESTED + "{{ '{!r}'.format(ns.x) }}", STEPS),
    "lists without end": (_AGAIN + "[ns.x] %}{% endfor %}{{ ns.x == [1] }}", STEPS),
    "kept lists": (_AGAIN + "[ns.x, a] %}{% endfor %}", STEPS),
    "kept mappings": (_AGAIN + "{'a': ns.x} %}{% endfor %}", STEPS),
    "kept loops": (_AGAIN + "[ns.x, loop] %}{% endfor %}", STEPS),
    "kept texts": (_AGAIN + "ns.x + ['a'*100000 ~ i] %}{% endfor %}", "budget"),
    "kept filters": (_AGAIN + "ns.x|map('upper') %}{% endfor %}{{ ns.x|list }}", STEPS),
    "macros": ("{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}", STEPS),
    "a macro without end": ("{% macro f(n) %}{{ f(n+1) }}{% endmacro %}{{ f(0) }}", "calls itself too often"),
    "a loop without end": ("{% for a in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}", "calls itself too often"),
    "blocks": (
        "{% macro f() %}{{ caller() }}{{ caller() }}{% endmacro %}"
        + "{% call f() %}" * 30
        + "x"
        + "{% endcall %}" * 30,
        STEPS,
    ),
    "a power": ("{{ 10**100000000 }}", "bits"),
    "squares": ("{% set n = namespace(x=3) %}{% for a in range(99) %}{% set n.x = n.x*n.x %}{% endfor %}", "bits"),
    "a long number": ("{{ 0x" + "f" * 2000 + " }}", "bits"),
    "a fine number": ("{{ 1.5|round(1000000000, 'ceil') }}", "rounded to"),
    "digits": ("{{ ('1'*5000)|int }}", "characters"),
    "replaced nothing": ("{{ ('a'*100000).replace('', 'b'*100000)|length }}", "budget"),
    "replaced": ("{{ ('a'*100000)|replace('a', 'b'*100000)|length }}", "budget"),
    "joined": ("{{ ('b'*100000).join(('a'*100)|list)|length }}", "budget"),
    "joined by a filter": ("{{ range(1000)|join('b'*100000)|length }}", "budget"),
    "indented": ("{{ ('\n'*100000)|indent(100000)|length }}", "budget"),
    "indented JSON": ("{{ [1, [2]]|tojson(indent=1000000000) }}", "indented by"),
    "separated JSON": ("{{ [1, 2]|tojson(separators=('a'*1000, ':')) }}", "indented by"),
    "stripped": ("{{ ('a'*100000).strip('b'*100000 ~ 'a') }}", "budget|stripped"),
    "searched backwards": ("{{ ('a'*100000).rfind('b' ~ 'a'*50000) }}", STEPS),
    "split backwards": ("{{ ('a'*100000).rsplit('b' ~ 'a'*50000) }}", STEPS),
    "searched often": (often("{% if 'b' in s %}x{% endif %}"), STEPS),
    "sliced often": (often("{% set x = s[::-1] %}"), "budget"),
    "split often": (often("{% set x = s.split() %}", "'a '*100000"), "budget"),
    "in title case": (often("{% set x = s|title %}", "'a '*100000"), "budget"),
    "escaped": (twice("'&'*999", "n.x|forceescape"), "budget"),
    "listed often": ("{% for i in range(99999) %}{{ range(99999)|list|length }}{% endfor %}", "budget"),
    "sums of lists": ("{{ [[1], [2]]|sum(start=[]) }}", "only numbers"),
    "a date": ("{{ strftime_now('%1000000000Y') }}", "date format"),
    "a nested source": ("{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}", "calls itself too often"),
    "a long source": ("{{ 1" + "~1" * 12_000 + " }}", "words and signs"),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_template_that_asks_for_too_much_is_stopped_by_a_budget(name):
    source, budget = TOO_MUCH[name]
    with pytest.raises(EngineError, match=budget) as refused:
        filled(source)
    assert refused.value.where == "model.gguf"


@pytest.mark.parametrize("name", ["printed text", "joined twice", "kept lists", "kept mappings", "in title case"])
def test_a_stopped_template_has_not_taken_more_than_fifty_megabytes(name):
    tracemalloc.start()
    with pytest.raises(EngineError):
        filled(TOO_MUCH[name][0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50 * 2**20


def test_a_stopped_template_is_stopped_again_and_an_ordinary_filling_still_works():
    loops = "{% for a in range(99999) %}{% for b in range(9) %}{% endfor %}{% endfor %}"
    source = "{% if messages|length > 1 %}" + loops + "{% endif %}ok"
    template = ChatTemplate(source, tokens={}, where="x")
    for _ in range(2):
        with pytest.raises(EngineError, match=STEPS):
            template.render(TALK, add_generation_prompt=True)
        assert template.render(TALK[1:2], add_generation_prompt=True) == "ok"


REFUSED = {
    "{% include '/etc/passwd' %}": "uses 'include'",
    "{% import 'x' as y %}": "uses 'import'",
    "{% from 'x' import y %}": "uses 'from",
    "{% extends 'x' %}": "uses 'extends'",
    "{% block x %}{% endblock %}": "uses 'block'",
    "{% autoescape true %}{% endautoescape %}": "uses 'autoescape'",
    "{{ ''|attr('__class__') }}": "the filter 'attr'",
    "{{ 'a'|center(1000000000) }}": "the filter 'center'",
    "{{ 'a'|_spend(-1000000000) }}": "the filter '_spend'",
    "{{ [1]|batch(1000000000, 'x') }}": "the filter 'batch'",
    "{{ 'a b'|wordwrap(1) }}": "the filter 'wordwrap'",
    "{{ 'x' is filter }}": "the test 'filter'",
    "{{ namespace(*range(100000)) }}": "spreads a list",
    "{{ dict(**messages[0]) }}": "spreads a list",
}


@pytest.mark.parametrize("source", REFUSED)
def test_a_template_that_uses_what_none_needs_is_refused_before_it_runs(source):
    with pytest.raises(EngineError, match=REFUSED[source]):
        ChatTemplate(source, tokens={}, where="x")


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception('no system role') }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.__class__.__base__ }}",
        "{{ messages[9].content.x }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ self.__dict__.x }}",
        "{{ '{0.__class__.__mro__}'.format(messages) }}",
        "{{ '{a}'.format_map({'a': 1}) }}",
        "{{ (1).to_bytes(1000000000, 'big') }}",
        "{{ 'a'.encode() }}{{ 'a'.zfill(1000000000) }}",
        "{{ 'a'.center(1000000000) }}",
        "{{ messages.append(messages) }}",
        "{{ messages[0].update({'role': 'x'}) }}",
        "{{ messages[0].pop('role') }}",
        "{{ lipsum(n=100000) }}",
        "{{ (messages|map(attribute='__class__')|list)[0].x }}",
        "{% set ns = namespace(__init__=1) %}",
        "{{ namespace() }}",
        "{{ range }}",
        _TUPLES + "{{ {ns.x: 1} }}",
        _TUPLES + "{{ [ns.x]|unique|list }}",
        _TUPLES + "{{ ns.x in messages[0] }}",
        _TUPLES + "{{ messages[0].get(ns.x) }}",
    ],
)
def test_a_template_that_refuses_or_breaks_out_is_a_data_error(source):
    with pytest.raises(DataError, match=r"roles are system, user, assistant"):
        filled(source)


@pytest.mark.parametrize("source", ["{{ ''.__class__ }}", "{{ range.__globals__ }}", "{{ messages[0].__class__ }}"])
def test_what_python_keeps_inside_is_not_written_out(source):
    assert filled(source) == ""


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("", "no chat template"),
        ("{% if %}", "does not compile"),
        ("{{ 'x", "does not compile"),
        ("{{ " + "9" * 5000 + " }}", "does not compile"),
        ("{% for a in b %}" * 150 + "{% endfor %}" * 150, "does not compile"),
        ("x" * (MAX_TEMPLATE_CHARS + 1), "characters"),
    ],
)
def test_a_template_that_cannot_be_used_is_an_engine_error(source, found):
    with pytest.raises(EngineError, match=found):
        ChatTemplate(source, tokens={}, where="x")


def test_a_compiled_template_is_not_sent_to_another_process():
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(ChatTemplate("x", tokens={}, where="x"))


@pytest.mark.parametrize("file", REAL, ids=lambda file: file.stem)
def test_a_real_template_uses_less_than_a_tenth_of_its_steps(file):
    template = ChatTemplate(file.read_text(encoding="utf-8"), tokens=TOKENS, where="x")
    talk = [Message("assistant" if place % 2 else "user", "All aboard!") for place in range(20)]
    template.render(talk, add_generation_prompt=True)
    whole = Budget()
    whole.allow(20, sum(len(message.content) for message in talk))
    used = whole.steps - template._budget.steps
    assert 0 < used < whole.steps / 10
