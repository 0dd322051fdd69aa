"""Replies that a client has begun, and what it cannot bring along."""

import pytest

from tests.serve.api.serving import HELLO, post


def test_a_reply_at_the_end_is_gone_on_with(server):
    answer = post(server, messages=[*HELLO, {"role": "assistant", "content": "You said: Hello"}])

    assert answer.json()["choices"][0]["message"]["content"] == " there Tell me more about that."


def test_a_stream_goes_on_with_it_too(server):
    answer = post(server, messages=[*HELLO, {"role": "assistant", "content": "You said: Hello"}], stream=True)

    assert "You said" not in answer.text
    assert "there" in answer.text


@pytest.mark.parametrize("fields", [{"continue_final_message": False}, {"add_generation_prompt": True}])
def test_a_client_can_ask_for_another_reply_instead(server, fields):
    answer = post(server, messages=[*HELLO, {"role": "assistant", "content": "You said: Hello"}], **fields)

    assert answer.json()["choices"][0]["message"]["content"].startswith("You said: [")


def test_a_system_message_behind_a_reply_is_answered_but_for_a_client_that_wants_to_go_on(server, sent):
    begun = [*HELLO, {"role": "assistant", "content": "You said: Hello"}]
    asked = [*begun, {"role": "system", "content": "Sum it up."}, {"role": "system", "content": " "}]
    answered = post(server, messages=asked)
    gone_on = post(server, messages=asked, continue_final_message=True)

    assert answered.json()["choices"][0]["message"]["content"] == "You said: Sum it up. Tell me more about that."
    assert "Sum it up." not in sent.prompts[0].split("assistant\n")[0]
    assert gone_on.json()["choices"][0]["message"]["content"].startswith(" there")


def test_where_only_the_system_speaks_its_last_message_is_answered(server, sent):
    system = [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "Say good evening."}]
    answer = post(server, messages=system, model="fake")

    assert answer.status_code == 200
    assert sent.prompts == ["system\nBe brief.\nuser\nSay good evening.\nassistant\n"]


def test_what_a_client_has_begun_is_checked_as_well(server):
    answer = post(server, messages=[*HELLO, {"role": "assistant", "content": "zqflag"}])

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "content_policy_violation"


def test_both_ways_at_once_are_refused(server):
    assert post(server, continue_final_message=True, add_generation_prompt=True).status_code == 400


@pytest.mark.parametrize(
    "fields",
    [
        {"chat_template": "{{ 1 }}"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"extra_body": {"chat_template_kwargs": {"a": 1}}},
        {"options": [{"deep": {"chat_template": "{{ 1 }}"}}]},
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_chat_template_in_a_request_is_refused_wherever_it_is(server, path, fields):
    answer = post(server, path, prompt="x", **fields)

    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "chat_template_refused"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"grammar": "root ::= x"}, "grammar"),
    ],
)
def test_what_cannot_be_done_is_refused_and_named(server, fields, param):
    answer = post(server, **fields)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tools": [{"type": "function"}], "tool_choice": "none"},
        {"response_format": {"type": "text"}},
        {"chat_template": None, "chat_template_kwargs": {}},
        {"modalities": ["text"]},
        {"user": "somebody", "metadata": {"a": "b"}, "store": False},
    ],
)
def test_what_does_no_harm_is_accepted(server, fields):
    assert post(server, **fields).status_code == 200


def test_fields_that_did_nothing_are_said_in_a_header_and_in_the_body(server):
    whole = post(server, top_n_sigma=1.5, logprobs=True)
    stream = post(server, top_n_sigma=1.5, stream=True)

    assert whole.headers["x-duologue-ignored"] == "top_n_sigma, logprobs"
    assert whole.json()["duologue"] == {"ignored": ["top_n_sigma", "logprobs"]}
    assert stream.headers["x-duologue-ignored"] == "top_n_sigma"
    assert '"duologue":{"ignored":["top_n_sigma"]}' in stream.text
    assert "x-duologue-ignored" not in post(server, top_n_sigma=0).headers


def test_a_system_message_alone_is_nothing_to_go_on_with(server):
    answer = post(server, messages=[{"role": "system", "content": "Be brief."}], continue_final_message=True)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("body: a system message alone")
