"""Conversations token by token: what is trained, what is context, what is cut, and the page of it."""

import json
import shutil
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.characters import Character
from duologue.config import make_config
from duologue.data import Choice, RenderSettings, look_at_files, look_page, show_files, shown_page, visible, write_page
from duologue.data.render import render
from duologue.data.token_text import TokenTexts
from duologue.errors import DataError
from duologue.messages import Conversation, Message
from tests.data.chat_models import MODELS, chat_model

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHARACTER = Character("Ada")
FIRST = Choice()
# Phi-3's vocabulary swallows the line breaks behind its control tokens; they are in no token, so in no text either.
EXACT = [name for name in MODELS if name != "phi-3"]


def row(*contents):
    roles = ("user", "assistant") * len(contents)
    return {"messages": [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]}


def long_row(num_turns=8, words=12):
    return row(*(f"Message {n} of many, " + "tea " * words + "." for n in range(2 * num_turns)))


@pytest.fixture
def show(tmp_path):
    def run(*rows, model="smollm2", choice=FIRST, **data):
        path = tmp_path / "chat.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
        tree = {"model": {"base": "made"}, "data": {"train": ["*"], "validation_fraction": 0.0, **data}}
        config = make_config(tree, where="test")
        return show_files(
            [path], config, tmp_path, character=CHARACTER, open_tokenizer=lambda: chat_model(model), choice=choice
        )

    return run


def trained_text(messages):
    return ["".join(t.text for t in m.tokens if t.state == "trained") for m in messages]


@pytest.mark.parametrize("name", EXACT)
def test_the_texts_of_all_tokens_joined_are_the_rendered_text(name):
    tokenizer = chat_model(name)
    messages = [
        Message("user", "Hé, where is 日本語 the 🚂🌙 train?\nNow!"),
        Message("assistant", " leading.  Well, 12 34 émojis 🌙"),
        Message("user", "user"),
        Message("assistant", "  two\n\nlines\ttab assistant"),
    ]
    ids = tokenizer.render(messages, add_generation_prompt=False)
    groups = TokenTexts(tokenizer).read(ids)
    assert [token for group in groups for token in group.ids] == list(ids)
    assert "".join(group.text for group in groups) == tokenizer.render_text(messages, add_generation_prompt=False)
    assert not any("\ufffd" in group.text for group in groups)


@given(text=st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40).map(lambda s: s.strip() or "a"))
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_from_its_tokens(text):
    tokenizer = chat_model("smollm2")
    [ids] = tokenizer.encode_batch([text])
    assert "".join(group.text for group in TokenTexts(tokenizer).read(ids)) == tokenizer.decode(ids)


def test_the_trained_run_is_exactly_the_reply_and_its_end_token(show):
    [found] = show(row("Is the train late?", "Four minutes early, passenger. 🚂")).conversations
    [example] = found.examples
    system, question, reply = example.messages
    assert (system.role, system.place) == ("system", None) and (question.place, reply.place) == (0, 1)
    assert trained_text(example.messages) == ["", "", "Four minutes early, passenger. 🚂<|im_end|>"]
    assert reply.tokens[0].text == "<|im_start|>" and reply.tokens[0].is_control
    last_trained = [token for token in reply.tokens if token.state == "trained"][-1]
    assert last_trained.is_control and last_trained.text == "<|im_end|>"
    assert question.text == "<|im_start|>user\nIs the train late?<|im_end|>\n"
    assert found.cut == () and found.num_cut_tokens == 0


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("mode", ["windows", "truncate"])
def test_the_examples_are_those_of_training_and_every_message_is_found_in_them(show, name, mode):
    one = long_row(num_turns=6)
    [found] = show(one, model=name, max_length_tokens=400, long_conversations=mode).conversations
    messages = tuple(Message(m["role"], m["content"]) for m in one["messages"])
    settings = RenderSettings("You", 400, mode)
    expected = render(Conversation(messages, "f:1"), chat_model(name), character=CHARACTER, settings=settings)
    shown = [[token for m in e.messages for t in m.tokens for token in t.ids] for e in found.examples]
    assert shown == [list(example.input_ids) for example in expected.examples] and len(shown) >= 1
    for example, truth in zip(found.examples, expected.examples, strict=True):
        states = [t.state == "trained" for m in example.messages for t in m.tokens for _ in t.ids]
        assert states == [label >= 0 for label in truth.labels]
        for message in example.messages:
            if message.place is not None:
                assert messages[message.place].content in message.text
            if message.num_trained_tokens:
                assert message.role == "assistant"


def test_windows_repeat_earlier_turns_as_context_and_train_every_reply_once(show):
    one = long_row()
    [found] = show(one, model="smollm2", max_length_tokens=400).conversations
    assert len(found.examples) > 1
    trained = [m.place for e in found.examples for m in e.messages if m.num_trained_tokens]
    assert trained == [1, 3, 5, 7, 9, 11, 13, 15]
    seen = set()
    for example in found.examples:
        assert all(message.is_repeated == (message.place in seen) for message in example.messages)
        assert not any(message.num_trained_tokens for message in example.messages if message.is_repeated)
        seen |= {message.place for message in example.messages}
    repeated = [m for e in found.examples[1:] for m in e.messages if m.is_repeated and m.place is not None]
    assert repeated and found.cut == ()


def test_windows_cut_the_turn_that_fits_no_example(show):
    huge = row("One.", "A short reply.", "Tell me all.", "word " * 900, "And?", "That is all.")
    [found] = show(huge, max_length_tokens=300).conversations
    assert [message.place for message in found.cut] == [2, 3]
    assert all(token.state == "cut" for message in found.cut for token in message.tokens)
    assert "word word" in found.cut[1].text and found.num_cut_tokens > 900
    assert any("turn 2 of 3" in fault.reason for fault in found.faults)


def test_truncate_cuts_what_follows_the_beginning(show):
    [found] = show(long_row(), max_length_tokens=400, long_conversations="truncate").conversations
    [example] = found.examples
    last = example.messages[-1].place
    assert [message.place for message in found.cut] == list(range(last + 1, 16))
    assert example.messages[-1].text.rstrip().endswith("<|im_end|>")


def test_drop_cuts_the_whole_conversation(show):
    [found] = show(long_row(), max_length_tokens=400, long_conversations="drop").conversations
    assert found.examples == () and [message.place for message in found.cut] == [None, *range(16)]
    whole = render(
        Conversation(tuple(Message(m["role"], m["content"]) for m in long_row()["messages"]), "f:1"),
        chat_model("smollm2"),
        character=CHARACTER,
        settings=RenderSettings("You", 10_000),
    )
    assert found.num_cut_tokens == whole.examples[0].num_tokens


def test_what_was_noticed_in_the_row_is_with_it(show):
    one = {
        "messages": [
            {"role": "user", "content": "One."},
            {"role": "user", "content": "Two <|im_end|> three."},
            {"role": "assistant", "content": "Yes."},
        ]
    }
    shown = show(row("Other?", "Other."), one)
    first, second = shown.conversations
    assert first.faults == ()
    reasons = " | ".join(fault.reason for fault in second.faults)
    assert "two user messages in a row" in reasons and "control tokens" in reasons


def test_a_row_is_chosen_by_its_number_and_a_dropped_one_is_explained(show):
    rows = [row("Q1", "A one."), {"nothing": 1}, row("Q3", "A three.")]
    [found] = show(*rows, choice=Choice(row=3)).conversations
    assert found.row == 3 and "A three." in found.examples[0].messages[-1].text
    with pytest.raises(DataError, match="row 2 is not used") as refused:
        show(*rows, choice=Choice(row=2))
    assert "unknown format" in refused.value.found
    with pytest.raises(DataError, match="no row 9"):
        show(*rows, choice=Choice(row=9))


def test_a_row_inside_a_log_gives_the_conversation_it_is_in(tmp_path):
    log = tmp_path / "WhatsApp Chat.txt"
    lines = [f"01.03.26, 20:0{n} - {'Ben' if n % 2 == 0 else 'Ada'}: Line {n} of the log." for n in range(6)]
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    tree = {
        "model": {"base": "made"},
        "data": {"train": ["*"], "character_names": ["Ada"], "validation_fraction": 0.0},
    }
    shown = show_files(
        [log],
        make_config(tree, where="test"),
        tmp_path,
        character=CHARACTER,
        open_tokenizer=lambda: chat_model("smollm2"),
        choice=Choice(row=4),
    )
    assert [conversation.row for conversation in shown.conversations] == [1]


def test_a_split_is_chosen_by_name(show):
    rows = [row(f"Question {n} about trains?", f"Answer number {n}, a different one.") for n in range(30)]
    both = show(*rows, choice=Choice(num=100), validation_fraction=0.3).conversations
    held_out = show(*rows, choice=Choice(num=100, split="validation"), validation_fraction=0.3).conversations
    assert {c.split for c in held_out} == {"validation"} and 0 < len(held_out) < 30
    assert [c.row for c in held_out] == [c.row for c in both if c.split == "validation"]


def test_nothing_in_a_text_moves_the_cursor_or_turns_the_writing():
    assert visible("a\x1b[2Jb\x07\u202ec\r") == "a␛[2Jb␇<U+202E>c␍"
    assert visible("tab\tline\nünï 🚂 日本語") == "tab\tline\nünï 🚂 日本語"


class Reader(HTMLParser):
    """Text and elements of a page; every element must be closed."""

    def __init__(self):
        super().__init__()
        self.open, self.text, self.scripts, self.marked = [], [], 0, []

    def handle_starttag(self, tag, attrs):
        self.scripts += tag in ("script", "link", "img", "iframe")
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "mark" and not attrs:
            self.marked.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if "mark" in self.open and self.marked:
            self.marked[-1] += data


HOSTILE = "<script>alert('x')</script> & \"quotes\" </p></section>"


def test_the_page_holds_every_message_as_text_and_loads_nothing(show):
    replies = [f"A <b>bold</b> reply & more.\n\nLine {n} 🚂" for n in range(3)]
    shown = show(row(HOSTILE, replies[0], "And?", replies[1]), row(f"Again {HOSTILE}", replies[2]))
    page = shown_page(shown)
    reader = Reader()
    reader.feed(page)
    text = "".join(reader.text)
    assert reader.open == [] and reader.scripts == 0
    assert text.count(HOSTILE) == 2 and all(reply in text for reply in replies)
    assert reader.marked == [f"{reply}<|im_end|>" for reply in replies]
    assert "http://" not in page and "https://" not in page and "default-src 'none'" in page
    assert "title='token " in page


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")
@pytest.mark.parametrize("kind", ["show", "stats"])
def test_a_page_fits_a_phone_in_light_and_dark(show, tmp_path, kind):
    from playwright.sync_api import sync_playwright

    path = tmp_path / "page.html"
    rows = (row(HOSTILE, "x" * 500), long_row())
    shown = show(*rows, max_length_tokens=400)
    if kind == "show":
        write_page(path, shown_page(shown))
    else:
        config = make_config({"model": {"base": "made"}, "data": {"train": ["*"]}}, where="test")
        files, tokenizer = [tmp_path / "chat.jsonl"], chat_model("smollm2")
        look = look_at_files(files, config, tmp_path, character=CHARACTER, open_tokenizer=lambda: tokenizer)
        write_page(path, look_page(look))
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    said, asked, widths, colours = [], [], [], set()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport={"width": 360, "height": 740}, color_scheme=scheme)
            page.on("dialog", lambda dialog: said.append(dialog.message))
            page.on("console", lambda message: said.append(message.text))
            page.on("request", lambda request: asked.append(request.url))
            page.goto(path.as_uri())
            widths.append(page.evaluate("document.documentElement.scrollWidth"))
            colours.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            if kind == "show":
                trained = page.locator(".tokens mark").first
                assert trained.evaluate("one => getComputedStyle(one).borderBottomStyle") == "solid"
        browser.close()
    assert max(widths) <= 360 and len(colours) == 2
    assert said == [] and asked == [path.as_uri()] * 2


def test_a_page_that_cannot_be_written_is_a_fault_with_its_place(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write_page(tmp_path / "no" / "page.html", "text")
