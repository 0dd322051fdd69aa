from duologue.engine.neutral import WORD_JOINER, neutralise

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
