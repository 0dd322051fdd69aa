"""The server's renderer: what people write is shown as they mean it, and nothing else gets through."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.serve.markup import MAX_MARKDOWN_CHARS, safe_html

TAG = re.compile(r"</?([a-z0-9]+)((?:\s+[a-z]+=\"[^\"]*\")*)\s*>")
KNOWN = {"p", "br", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "h4", "hr", "a", "span"}
KNOWN |= {"table", "thead", "tbody", "tr", "th", "td"}
PIECES = [
    "<script>",
    "![a](http://e.test)",
    "[a](http://e.test)",
    "*",
    "**",
    "`",
    "```\n",
    "> ",
    "- ",
    "|",
    "\n",
    "\n\n",
]
PIECES += [
    "<b onclick=1>",
    "&lt;",
    "\\",
    "[",
    "](",
    ")",
    "\x1b[31m",
    "\u202e",
    "\ud800",
    "a",
    "  ",
    "\x00",
    "1. ",
    "#",
    "~~",
]
hostile = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=60).map("".join)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("*waves* Hello", "<p><em>waves</em> Hello</p>"),
        ("one\ntwo", "<p>one<br>\ntwo</p>"),
        ("one\r\ntwo", "<p>one<br>\ntwo</p>"),
        ("a **b** ~~c~~ `d`", "<p>a <strong>b</strong> <s>c</s> <code>d</code></p>"),
        ("# Title", "<h4>Title</h4>"),
        ("    not code", "<p>not code</p>"),
        ("text\n---", "<p>text</p>\n<hr>"),
        ("1 < 2 & 3", "<p>1 &lt; 2 &amp; 3</p>"),
        ("&lt;b&gt;", "<p>&amp;lt;b&amp;gt;</p>"),
        ("> quoted", "<blockquote>\n<p>quoted</p>\n</blockquote>"),
    ],
)
def test_markdown_is_shown_as_people_mean_it(text, shown):
    assert safe_html(text).strip() == shown


def test_a_table_stays_a_table():
    assert "<td>Ashby Hollow</td>" in safe_html("|stop|at|\n|-|-|\n|Ashby Hollow|12:06|")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[the timetable](https://rail.test/now)", "rail.test"),
        ("[https://rail.test](https://other.test/x)", "other.test"),
        ("[sign in](https://rail.test@other.test/)", "other.test"),
    ],
)
def test_a_link_says_where_it_leads(text, place):
    shown = safe_html(text)

    assert f'<span class="address"> ({place})</span>' in shown
    assert 'rel="noopener noreferrer nofollow"' in shown
    assert 'target="_blank"' in shown


def test_a_helpline_can_be_called():
    assert '<a href="tel:988" title="tel:988"' in safe_html("Call [988](tel:988) at any hour.")


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:x",
        "data:text/html,x",
        "vbscript:x",
        "file:///etc/hosts",
        "/page/state",
        "//e.test",
        "#x",
        "blob:x",
    ],
)
def test_other_addresses_are_no_links(address):
    assert "<a" not in safe_html(f"[x]({address})")


def test_lines_that_define_references_are_not_hidden():
    assert "https://e.test" in safe_html("[x][r]\n\n[r]: https://e.test")


def test_an_open_emphasis_is_shown_as_one_while_the_text_grows():
    assert safe_html("She nods. *raises the la", is_growing=True).strip() == "<p>She nods. <em>raises the la</em></p>"
    assert "*" not in safe_html("She nods. *", is_growing=True)


def test_marks_that_pile_up_are_cut_down_and_words_keep_theirs():
    assert safe_html("Z" + "\u0301" * 500).count("\u0301") == 4
    assert "Việt e\u0301" in safe_html("Việt e\u0301")


def test_control_characters_and_turned_directions_are_gone():
    assert safe_html("\x1b[31mred\x1b[0m \u202eturned\x07").strip() == "<p>red turned</p>"


def test_a_very_long_text_is_shown_as_it_was_written():
    text = "*a* <b>\n" * (MAX_MARKDOWN_CHARS // 8 + 1)

    assert safe_html(text).startswith("<p>*a* &lt;b&gt;<br>")


@settings(max_examples=300, deadline=None)
@given(hostile, st.booleans())
def test_whatever_the_text_only_the_known_tags_come_out(text, is_growing):
    shown = safe_html(text, is_growing=is_growing)
    shown.encode()
    rest = TAG.sub("", shown)

    assert "<" not in rest
    assert {name for name, _ in TAG.findall(shown)} <= KNOWN
    for name, attributes in TAG.findall(shown):
        names = set(re.findall(r"([a-z]+)=\"", re.sub(r'"[^"]*"', '"', attributes)))
        assert names <= {"a": {"href", "title", "target", "rel"}, "ol": {"start"}, "span": {"class"}}.get(name, set())
    assert not re.search(r'href="(?!https?:|mailto:|tel:)', shown)


@pytest.mark.parametrize("piece", ["*a **b ", "[", "[a](<b", "![[]()", "`" * 3, "> ", "- ", "~~a ", "<a ", "|a", "(["])
def test_work_grows_with_the_length_and_not_faster(piece, monkeypatch):
    from markdown_it.parser_inline import ParserInline

    steps = 0
    skip = ParserInline.skipToken

    def counted(self, state):
        nonlocal steps
        steps += 1
        skip(self, state)

    monkeypatch.setattr(ParserInline, "skipToken", counted)
    counts = []
    for length in (4000, 16000):
        steps = 0
        safe_html((piece * length)[:length])
        counts.append(steps)

    assert counts[1] <= 5 * counts[0] + 100
