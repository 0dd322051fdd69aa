import asyncio
import json
import queue
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import xllamacpp

from duologue.engine import Adapter, BaseModel, Sampling, open_generator
from duologue.engine.bundled import bundled_file
from duologue.engine.remote import RemoteGenerator, RemoteTokenizer
from duologue.engine.remote.generator import DEFAULT_CONTEXT_TOKENS
from duologue.engine.remote.settings import sampler_fields, server_kind, unsupported
from duologue.engine.remote.sse import MAX_EVENT_BYTES, SseReader
from duologue.errors import ConfigError, DataError, EngineError
from duologue.messages import Message

QUESTION = (Message("system", "You are Lila."), Message("user", "How are you, ma chère? 你好 👩‍👩‍👧"))
MODELS = {"object": "list", "data": [{"id": "lila", "max_model_len": 2048}, {"id": "base"}]}
DONE = b"data: [DONE]\n\n"


class _Server(ThreadingHTTPServer):
    """A small OpenAI-like server; `answer(handler)` writes the reply, `requests` keeps what came in."""

    daemon_threads = False

    def __init__(self, answer, *, models=MODELS, port=0):
        super().__init__(("127.0.0.1", port), _Handler)
        self.answer, self.models, self.requests = answer, models, []

    @property
    def base(self):
        return BaseModel(f"http://127.0.0.1:{self.server_address[1]}/v1#lila")


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers), None))
        if self.server.models is None:
            self.send_error(404)
        elif isinstance(self.server.models, bytes):
            _send(self, 200, self.server.models)
        else:
            _send(self, 200, json.dumps(self.server.models).encode())

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, dict(self.headers), body))
        self.server.answer(self)

    def log_message(self, *_):
        pass


@contextmanager
def _serving(answer=lambda handler: None, **settings):
    server = _Server(answer, **settings)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _send(handler, status, body, **headers):
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _streaming(*parts):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(part)
            handler.wfile.flush()

    return answer


def _chunk(text="", reason=None, **more):
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}], **more}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


def _ask(server, sampling=Sampling(), *, cancel=None, **settings):  # noqa: B008  (it is frozen)
    generator = RemoteGenerator.open(server.base, **settings)
    prompt_ids = generator.tokenizer.render(QUESTION, add_generation_prompt=True)
    return list(generator.stream(prompt_ids, sampling, cancel=cancel or threading.Event()))


def _text(pieces):
    return "".join(piece.text for piece in pieces)


# ------------------------------------------------------------------------------------------------------------ tokenizer


@pytest.mark.parametrize(
    "text", ["", "a", "ab", "abc", "abcd", "\x00\x00", "你好", "👩‍👩‍👧 é\n\n  x", "\U0010ffff" * 5]
)
def test_messages_come_back_from_their_ids_without_loss(text):
    tokenizer = RemoteTokenizer()
    messages = (Message("system", text), Message("user", text + text), Message("assistant", ""))
    for add_generation_prompt in (True, False):
        ids = tokenizer.render(messages, add_generation_prompt=add_generation_prompt)
        assert tokenizer.unpack(ids) == messages
        assert tokenizer.decode(ids) == text * 3


def test_the_number_of_ids_is_a_cautious_estimate_of_tokens():
    english = "The lighthouse keeper's daughter walks down to the harbour every evening." * 10
    ids = RemoteTokenizer().render([Message("user", english)], add_generation_prompt=True)
    num_words = len(english.split())
    assert 1.5 * num_words < len(ids) < 3 * num_words


def test_control_tokens_in_a_message_reach_no_server():
    ids = RemoteTokenizer().render([Message("user", "x<|im_end|><|eot_id|>[/INST]y")], add_generation_prompt=True)
    (message,) = RemoteTokenizer().unpack(ids)
    assert not [token for token in RemoteTokenizer().special_tokens if token in message.content]
    assert message.content.replace("\u2060", "") == "x<|im_end|><|eot_id|>[/INST]y"


def test_half_a_surrogate_pair_is_a_data_error():
    with pytest.raises(DataError, match="surrogate"):
        RemoteTokenizer().render([Message("user", "ab\ud800")], add_generation_prompt=True)


# ------------------------------------------------------------------------------------------------------------------ sse


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_events_are_the_same_wherever_the_bytes_are_cut(end):
    lines = [
        b"\xef\xbb\xbf: ping",
        b'data: {"a": "\xc3\xa9\xe2\x9c\xa8"}',
        b"",
        b"event: x",
        b"data:two",
        b"data: lines",
        b"",
        b"",
    ]
    raw = end.join(lines)
    expected = ['{"a": "é✨"}', "two\nlines"]
    for cut in range(len(raw) + 1):
        reader = SseReader()
        assert [*reader.feed(raw[:cut]), *reader.feed(raw[cut:])] == expected
    reader = SseReader()
    assert [event for byte in raw for event in reader.feed(bytes([byte]))] == expected


def test_line_ends_may_be_mixed_within_one_stream():
    reader = SseReader()
    assert reader.feed(b"data: 1\r\n\r\ndata: 2\n\ndata: 3\r\rdata: 4\n\r\n") == ["1", "2", "3", "4"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\r", b"\r\n"])
def test_a_last_event_without_its_blank_line_is_not_lost(end):
    reader = SseReader()
    assert reader.feed(b"data: last" + end) == []
    assert reader.rest() == ["last"]


@pytest.mark.slow
@pytest.mark.parametrize("line", [b"x" * 1000, b"data: " + b"x" * 1000 + b"\n"], ids=["line", "lines"])
def test_an_event_that_never_ends_is_refused(line):
    reader = SseReader()
    reader.feed(line * (MAX_EVENT_BYTES // len(line) - 1))
    with pytest.raises(EngineError, match="more than 1048576 bytes"):
        reader.feed(line * MAX_EVENT_BYTES)


# --------------------------------------------------------------------------------------------------------------- stream


def test_a_reply_is_streamed_and_the_server_gets_the_messages_and_settings():
    answer = _streaming(_chunk("Hel"), b": ping\n\n", _chunk("lo é✨"), _chunk(reason="stop"), DONE)
    sampling = Sampling(max_new_tokens=9, temperature=0.5, top_k=3, stop=("\n\n", ""), seed=4)
    with _serving(answer) as server:
        pieces = _ask(server, sampling, api_key="sk-test")
    assert [(piece.text, piece.num_tokens, piece.finish_reason) for piece in pieces] == [
        ("Hel", 1, None),
        ("lo é✨", 2, None),
        ("", 2, "stop"),
    ]
    path, headers, body = server.requests[-1]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer sk-test"
    assert body == {
        "model": "lila",
        "messages": [{"role": message.role, "content": message.content} for message in QUESTION],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.95,
        "stop": ["\n\n"],
        "seed": 4,
        "top_k": 3,
        "min_p": 0.05,
        "repetition_penalty": 1.05,
        "repeat_penalty": 1.05,
    }


def test_settings_that_do_nothing_are_not_sent_to_strict_servers():
    neutral = Sampling(min_p=0.0, repetition_penalty=1.0)
    with _serving(_streaming(_chunk("x", "stop"), DONE)) as server:
        _ask(server, neutral)
    _, headers, body = server.requests[-1]
    assert not {"top_k", "min_p", "repetition_penalty", "repeat_penalty", "stop", "seed"} & set(body)
    assert "Authorization" not in headers


ALL = Sampling(
    top_k=5,
    min_p=0.1,
    typical_p=0.9,
    repetition_penalty=1.2,
    presence_penalty=0.3,
    frequency_penalty=0.4,
    dry_multiplier=0.8,
    dry_base=2.0,
    dry_allowed_length_tokens=3,
    dry_sequence_breakers=(),
    xtc_probability=0.5,
    xtc_threshold=0.2,
    logit_bias=((7, -100.0), (9, 2.5)),
    seed=3,
    stop=("a", "b", "c", "d", "e"),
)
PENALTIES = {"repetition_penalty": 1.2, "presence_penalty": 0.3, "frequency_penalty": 0.4}
EXTRAS = {
    "typical_p": 0.9,
    "xtc_probability": 0.5,
    "xtc_threshold": 0.2,
    "dry_multiplier": 0.8,
    "dry_base": 2.0,
    "dry_allowed_length": 3,
    "dry_penalty_last_n": 2048,
    "dry_sequence_breakers": [""],
}


@pytest.mark.parametrize(
    ("owner", "left_out"),
    [
        ("vllm", {"typical_p", "dry_multiplier", "xtc_probability"}),
        ("sglang", {"typical_p", "dry_multiplier", "xtc_probability"}),
        ("llamacpp", set()),
        ("tabbyAPI", {"dry_multiplier"}),
        (
            "library",
            {"typical_p", "dry_multiplier", "xtc_probability", "top_k", "min_p", "repetition_penalty", "logit_bias"},
        ),
        ("somebody", set()),
    ],
)
def test_each_kind_of_server_gets_what_it_knows_and_what_is_left_out_is_told(owner, left_out):
    models = {"data": [{"id": "lila", "max_model_len": 2048, "owned_by": owner}]}
    with _serving(_streaming(_chunk("x", "stop"), DONE), models=models) as server:
        _ask(server, ALL)
        told = set(RemoteGenerator.open(server.base).unsupported(ALL))
        assert told - {"continues"} == left_out
        assert ("continues" in told) == (owner in ("library", "somebody"))
    body = server.requests[1][2]
    known = {"top_k": 5, "min_p": 0.1, "logit_bias": {"7": -100.0, "9": 2.5}, "seed": 3, **PENALTIES, **EXTRAS}
    expected = {name: value for name, value in known.items() if not any(name[:4] == gone[:4] for gone in left_out)}
    assert {name: body.get(name) for name in known} == {**dict.fromkeys(known), **expected}
    assert body["stop"] == ["a", "b", "c", "d", "e"]


def test_openais_own_server_gets_only_what_its_api_has():
    fields = sampler_fields(server_kind("https://api.openai.com/v1", {}), ALL, context_tokens=100)
    assert set(fields) == {
        "temperature",
        "top_p",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "seed",
    }
    assert fields["stop"] == ["a", "b", "c", "d"]


def test_mirostat_is_sent_in_place_of_the_cuts():
    sampling = replace(ALL, mirostat=2, mirostat_tau=4.0)
    fields = sampler_fields("llamacpp", sampling, context_tokens=100)
    assert (fields["mirostat"], fields["mirostat_mode"], fields["mirostat_tau"]) == (2, 2, 4.0)
    assert not {"top_k", "min_p", "typical_p", "xtc_probability"} & set(fields)
    assert unsupported("vllm", sampling) == ("dry_multiplier", "mirostat")


def test_a_form_of_the_reply_is_sent_as_each_server_takes_it_and_a_grammar_only_to_llama_cpp():
    schema = Sampling(json_schema='{"type": "object"}')
    for kind in ("vllm", "sglang", "llamacpp", "ollama", "openai"):
        fields = sampler_fields(kind, schema, context_tokens=100)
        assert fields["response_format"]["json_schema"]["schema"] == {"type": "object"}
        assert "json_schema" not in fields and unsupported(kind, Sampling(json_schema="{}", min_p=0.0)) in (
            (),
            ("repetition_penalty",),
        )
    assert sampler_fields("tabbyapi", schema, context_tokens=100)["json_schema"] == {"type": "object"}
    grammar = Sampling(grammar='root ::= "yes"')
    assert sampler_fields("llamacpp", grammar, context_tokens=100)["grammar"] == 'root ::= "yes"'
    for kind in ("vllm", "sglang", "tabbyapi", "ollama", "openai"):
        assert "grammar" in unsupported(kind, grammar)
        assert "grammar" not in sampler_fields(kind, grammar, context_tokens=100)


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_a_stop_text_that_the_server_does_not_know_is_never_shown(cut):
    said = "one two END three"
    parts = [_chunk(said[at : at + cut]) for at in range(0, len(said), cut)]
    with _serving(_streaming(*parts, _chunk(reason="stop"), DONE)) as server:
        pieces = _ask(server, Sampling(stop=("END",)))
    assert (_text(pieces), pieces[-1].finish_reason) == ("one two ", "stop")


def test_what_was_held_back_for_a_stop_text_comes_with_the_last_piece():
    with _serving(_streaming(_chunk("one EN"), _chunk(reason="length"), DONE)) as server:
        pieces = _ask(server, Sampling(stop=("END",)))
    assert [(piece.text, piece.finish_reason) for piece in pieces] == [("one ", None), ("EN", "length")]


@pytest.mark.parametrize(
    ("usage", "num_cached"),
    [
        ({"completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 12}}, 12),
        ({"completion_tokens": 1, "prompt_tokens_details": None}, -1),
        ({"prompt_tokens_details": {"cached_tokens": "many"}}, -1),
        (None, -1),
    ],
)
def test_the_servers_count_of_cached_tokens_is_passed_on(usage, num_cached):
    with _serving(_streaming(_chunk("x", "stop"), _chunk(usage=usage, choices=[]), DONE)) as server:
        assert _ask(server)[-1].num_cached_tokens == num_cached


@pytest.mark.parametrize(
    ("owner", "fields", "num_messages"),
    [
        ("vllm", {"continue_final_message": True, "add_generation_prompt": False}, 3),
        ("llamacpp", {"continue_final_message": True, "add_generation_prompt": False}, 3),
        ("tabbyAPI", {"response_prefix": "I am "}, 2),
    ],
)
def test_an_open_reply_is_sent_the_way_the_server_goes_on_with_one(owner, fields, num_messages):
    models = {"data": [{"id": "lila", "owned_by": owner}]}
    with _serving(_streaming(_chunk("well", "stop"), DONE), models=models) as server:
        generator = RemoteGenerator.open(server.base)
        messages = (*QUESTION, Message("assistant", "I am "))
        ids = list(generator.tokenizer.render(messages, add_generation_prompt=False, continues=True))
        assert _text(generator.stream(ids, Sampling(), cancel=threading.Event())) == "well"
    body = server.requests[-1][2]
    assert {name: body.get(name) for name in fields} == fields
    assert body["messages"] == [{"role": m.role, "content": m.content} for m in messages][:num_messages]


def test_a_server_that_may_not_go_on_with_a_reply_is_not_asked_to():
    with _serving() as server:
        generator = RemoteGenerator.open(server.base)
        ids = generator.tokenizer.render((Message("assistant", "I am "),), add_generation_prompt=True, continues=True)
        with pytest.raises(EngineError, match="not known to go on with a reply"):
            generator.stream(ids, Sampling(), cancel=threading.Event())
    assert [path for path, *_ in server.requests] == ["/v1/models"]


def test_the_tokens_of_a_text_are_the_servers_secret():
    with pytest.raises(DataError, match="the vocabulary is on the server"):
        RemoteTokenizer().encode("lamp")


def test_a_stream_that_comes_byte_by_byte_gives_the_same_reply():
    raw = (_chunk("héllo ") + _chunk("✨ 你好")).replace(b"\n", b"\r\n") + _chunk(reason="length") + DONE
    with _serving(_streaming(*(bytes([byte]) for byte in raw))) as server:
        pieces = _ask(server)
    assert _text(pieces) == "héllo ✨ 你好"
    assert pieces[-1].finish_reason == "length"


def test_the_servers_own_token_count_is_used_when_it_sends_one():
    usage = b'data: {"choices": [], "usage": {"completion_tokens": 41, "prompt_tokens": 7}}\n\n'
    with _serving(_streaming(_chunk("a b c"), _chunk(reason="stop"), usage, DONE)) as server:
        assert _ask(server)[-1].num_tokens == 41


def test_the_reply_ends_at_done_even_when_the_connection_stays_open():
    held = threading.Event()

    def answer(handler):
        _streaming(_chunk("x", "stop"), DONE)(handler)
        held.wait(30)

    with _serving(answer) as server:
        assert _text(_ask(server)) == "x"
        held.set()


def test_cancelling_closes_the_connection_while_the_server_is_silent():
    came = queue.SimpleQueue()

    def answer(handler):
        _streaming(_chunk("one"))(handler)
        handler.connection.settimeout(30)
        came.put(handler.connection.recv(1))  # ends only when the other side closes

    cancel = threading.Event()
    with _serving(answer) as server:
        generator = RemoteGenerator.open(server.base)
        stream = generator.stream(
            generator.tokenizer.render(QUESTION, add_generation_prompt=True), Sampling(), cancel=cancel
        )
        assert next(stream).text == "one"
        cancel.set()
        (last,) = stream
        assert came.get(timeout=30) == b""
    assert (last.text, last.num_tokens, last.finish_reason) == ("", 1, "cancelled")


def test_a_reply_nobody_reads_to_its_end_closes_the_connection():
    came = queue.SimpleQueue()

    def answer(handler):
        _streaming(_chunk("one"))(handler)
        handler.connection.settimeout(30)
        came.put(handler.connection.recv(1))

    with _serving(answer) as server:
        generator = RemoteGenerator.open(server.base)
        stream = generator.stream(
            generator.tokenizer.render(QUESTION, add_generation_prompt=True), Sampling(), cancel=threading.Event()
        )
        next(stream)
        stream.close()
        assert came.get(timeout=30) == b""


def test_cancelling_works_before_the_server_says_anything():
    cancel = threading.Event()

    def answer(handler):
        cancel.set()
        handler.connection.settimeout(30)
        handler.connection.recv(1)

    with _serving(answer) as server:
        (piece,) = _ask(server, cancel=cancel)
    assert (piece.text, piece.finish_reason) == ("", "cancelled")


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("status", "headers", "told"),
    [
        (429, {"Retry_After": "7"}, "Try again in 7 seconds."),
        (503, {"Retry_After": "Fri, 31 Dec 2027 23:59:59 GMT"}, "Try again after Fri, 31 Dec 2027 23:59:59 GMT."),
        (503, {}, "still loads its model"),
        (401, {}, "Check the API key."),
        (400, {}, "repetition_penalty = 1"),
    ],
)
def test_a_refusal_tells_its_status_its_reason_and_what_to_do(status, headers, told):
    body = json.dumps({"error": {"message": "no\x1b[31m way", "type": "x", "code": None}}).encode()
    with (
        _serving(lambda handler: _send(handler, status, body, **headers)) as server,
        pytest.raises(EngineError) as refused,
    ):
        _ask(server, api_key="sk-secret")
    assert f"answered {status}: no [31m way" in str(refused.value)
    assert told in refused.value.action
    assert "sk-secret" not in str(refused.value)


def test_a_long_error_page_is_shortened():
    with (
        _serving(lambda handler: _send(handler, 500, b"<html>" + b"x" * 10**6)) as server,
        pytest.raises(EngineError, match=r"answered 500: <html>x+\.\.\.") as refused,
    ):
        _ask(server)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ([_chunk("x"), b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'], "broke off.*out of memory"),
        ([_chunk("x"), b'data: {"error": "out of memory"}\n\n'], "broke off.*out of memory"),
        ([_chunk("x")], "without a finish reason"),
        ([_chunk("x"), DONE], "without a finish reason"),
        ([], "without a finish reason"),
        ([b"data: {not json\n\n"], "not a JSON object: {not json"),
        ([b"data: [1]\n\n"], "not a JSON object"),
        ([b'data: {"choices": 3}\n\n'], "not a chat completion"),
        ([b'data: {"object": "x"}\n\n'], "not a chat completion"),
        ([b'data: {"choices": [{"delta": {"content": 3}}]}\n\n'], "content is not text"),
    ],
)
def test_a_broken_stream_is_an_engine_error(parts, found):
    with _serving(_streaming(*parts)) as server, pytest.raises(EngineError, match=found):
        _ask(server)


def test_an_answer_that_is_no_stream_is_an_engine_error():
    with (
        _serving(lambda handler: _send(handler, 200, b'{"message": "streaming is off"}')) as server,
        pytest.raises(EngineError, match="application/json instead of a stream: streaming is off"),
    ):
        _ask(server)


def test_a_connection_cut_in_the_middle_is_an_engine_error():
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(_chunk("x"))

    with _serving(answer) as server, pytest.raises(EngineError, match="connection to the server failed"):
        _ask(server)


def test_a_silent_server_is_given_up_after_the_timeout():
    done = threading.Event()

    def answer(handler):
        done.wait(30)

    with _serving(answer) as server:
        with pytest.raises(EngineError, match=r"silent for 0\.2 seconds"):
            _ask(server, timeout_seconds=0.2)
        done.set()


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_sent():
    with (
        _serving() as server,
        pytest.raises(EngineError, match="at most 2048"),
    ):
        _ask(server, Sampling(max_new_tokens=2040))
    assert [path for path, _, _ in server.requests] == ["/v1/models"]


# ----------------------------------------------------------------------------------------------------------------- open


@pytest.mark.parametrize(
    ("entry", "context_tokens"),
    [
        ({"max_model_len": 2048}, 2048),
        ({"meta": {"n_ctx": 512, "n_ctx_train": 8192}}, 512),
        ({"context_length": 131072}, 131072),
        ({"max_model_len": None, "meta": None}, DEFAULT_CONTEXT_TOKENS),
        ({}, DEFAULT_CONTEXT_TOKENS),
    ],
)
def test_the_context_comes_from_the_server_or_is_the_documented_default(entry, context_tokens):
    with _serving(models={"data": [{"id": "lila", **entry}]}) as server:
        assert RemoteGenerator.open(server.base).context_tokens == context_tokens


def test_a_server_without_a_list_of_models_is_used_all_the_same():
    with _serving(_streaming(_chunk("x", "stop"), DONE), models=None) as server:
        assert _text(_ask(server)) == "x"
        assert RemoteGenerator.open(server.base).context_tokens == DEFAULT_CONTEXT_TOKENS


def test_a_model_the_server_does_not_have_is_refused_with_those_it_has():
    with (
        _serving(models={"data": [{"id": "other"}, {"id": "base"}]}) as server,
        pytest.raises(EngineError, match="no model 'lila'; expected 'other' or 'base'"),
    ):
        RemoteGenerator.open(server.base)


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"data": 3}', b'{"data": [{"name": "x"}]}', b"{}"])
def test_a_list_of_models_in_another_shape_is_an_engine_error(answer):
    with _serving(models=answer) as server, pytest.raises(EngineError, match="not a list of models"):
        RemoteGenerator.open(server.base)


def test_a_server_that_is_not_there_is_an_engine_error():
    with _serving() as server:
        gone = server.base
    with pytest.raises(EngineError, match="cannot be reached"):
        RemoteGenerator.open(gone)


@pytest.mark.parametrize("name", ["http://h/v1", "http://h/v1#", "ftp://h#m", "lila", "#lila"])
def test_a_name_in_another_form_is_refused(name):
    with pytest.raises(ConfigError, match="http://127"):
        open_generator("remote", BaseModel(name))


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="password") as refused:
        RemoteGenerator.open(BaseModel("https://user:hunter2@example.org/v1#m"))
    assert "hunter2" not in str(refused.value)


def test_a_key_that_no_header_can_carry_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="API key") as refused:
        RemoteGenerator.open(BaseModel("http://127.0.0.1:9/v1#m"), api_key="sk-secret\r\nX: y")
    assert "sk-secret" not in str(refused.value)


def test_an_adapter_folder_is_refused():
    adapter = Adapter(Path("adapter"), BaseModel("x"))
    with pytest.raises(ConfigError, match="after the #"):
        open_generator("remote", BaseModel("http://127.0.0.1:9/v1#m"), adapter=adapter)


def test_it_opens_inside_a_running_event_loop():
    async def opened(base):
        return RemoteGenerator.open(base).context_tokens

    with _serving() as server:
        assert asyncio.run(opened(server.base)) == 2048


def test_a_remote_server_cannot_score():
    with _serving() as server:
        generator = RemoteGenerator.open(server.base)
    with pytest.raises(EngineError, match="cannot score"):
        generator.score(())
    generator.close()


# ----------------------------------------------------------------------------------------------------- a real server


@pytest.fixture(scope="module")
def llama_server():
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(bundled_file("bundled:smollm2-135m"))
    parameters.model_alias = {"smollm2"}
    parameters.n_ctx = 512
    parameters.n_parallel = 1
    parameters.verbosity = -1
    parameters.cpuparams.n_threads = 1
    parameters.api_keys = ["sk-llama"]
    server = xllamacpp.Server(parameters)
    yield BaseModel(f"{server.listening_address}/v1#smollm2")
    del server


def test_llama_cpps_own_server_answers_in_a_stream(llama_server):
    generator = RemoteGenerator.open(llama_server, api_key="sk-llama")
    question = (
        Message("system", "You are a helpful AI assistant."),
        Message("user", "What is the capital of France?"),
    )
    prompt_ids = generator.tokenizer.render(question, add_generation_prompt=True)
    sampling = Sampling(max_new_tokens=12, temperature=0.0, repetition_penalty=1.0)
    pieces = list(generator.stream(prompt_ids, sampling, cancel=threading.Event()))
    assert generator.context_tokens == 512
    assert "Paris" in _text(pieces)
    assert len(pieces) > 3
    assert pieces[-1].finish_reason in {"stop", "length"}
    assert len(pieces) - 1 <= pieces[-1].num_tokens <= 12


def test_llama_cpps_own_server_stops_when_the_reply_is_cancelled(llama_server):
    generator = RemoteGenerator.open(llama_server, api_key="sk-llama")
    cancel = threading.Event()
    prompt_ids = generator.tokenizer.render(QUESTION, add_generation_prompt=True)
    stream = generator.stream(prompt_ids, Sampling(max_new_tokens=300), cancel=cancel)
    next(stream)
    cancel.set()
    assert list(stream)[-1].finish_reason == "cancelled"


def test_llama_cpps_own_server_refuses_a_wrong_key_and_the_error_says_so(llama_server):
    with pytest.raises(EngineError, match=r"answered 401.*Check the API key"):
        RemoteGenerator.open(llama_server, api_key="wrong")
