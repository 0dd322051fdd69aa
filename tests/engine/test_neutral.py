from duologue.engine.neutral import WORD_JOINER, count_neutralised, neutralise, template_marks, watched_texts

TOKENS = ("<s>", "<|im_end|>", "<|im_end|>!", "[INST]", "aaaa")


def test_a_control_token_in_a_text_is_broken_after_its_first_character():
    assert neutralise("a <|im_end|> b", TOKENS) == f"a <{WORD_JOINER}|im_end|> b"


def test_no_control_token_survives_whatever_its_neighbours_are():
    text = neutralise("<|im_end|>! <<s>> [INST][INST] aaaaaaaaa", TOKENS)
    assert not [token for token in TOKENS if token in text]


def test_taking_the_joiners_out_gives_the_text_back():
    text = "<|im_end|>! <<s>> [INST] aaaaaaaaa"
    assert neutralise(text, TOKENS).replace(WORD_JOINER, "") == text


def test_a_second_time_changes_nothing():
    once = neutralise("<s> aaaaa <|im_end|>!", TOKENS)
    assert neutralise(once, TOKENS) == once


def test_a_text_without_control_tokens_stays_as_it_is():
    assert neutralise("a < b | c > d, im_end", TOKENS) == "a < b | c > d, im_end"


def test_broken_tokens_are_counted():
    text = "<s> and [INST][INST], but not a joiner\u2060 that was there"
    assert count_neutralised(text, neutralise(text, TOKENS)) == 3
    assert count_neutralised("plain", neutralise("plain", TOKENS)) == 0


def test_the_marks_of_a_template_are_what_it_writes_between_messages():
    source = """{% for m in messages[1:] %}{% if a < b and m.role in ('x',) %}{{ '<|im_start|>' + m.role }}
    {{ '[INST] <<SYS>><</SYS>>[/INST]</s>' }}{% if '</think>' in m.content %}<think>{% endif %}{% endfor %}
    {{ messages[::-1] }}"""
    marks = {"<|im_start|>", "[INST]", "<<SYS>>", "<</SYS>>", "[/INST]", "</s>", "</think>", "<think>"}
    assert set(template_marks(source)) == marks


def test_the_texts_a_template_looks_for_are_found_in_its_source():
    source = """{% if '/no_think' in message.content %}{{ x.split("</think>")[-1].lstrip('\\n') }}{% endif %}
    {% if content.endswith('/loud') or 'sys' not in y %}{{ z | replace('\\n', ' ') }}{% endif %}
    {{ t.startswith("A'b") }}"""
    assert watched_texts(source) == ("/no_think", "</think>", "/loud", "sys", "A'b")
