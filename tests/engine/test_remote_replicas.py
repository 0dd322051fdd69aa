"""Several servers behind one model: who is asked, who is left alone, what is asked again and what never is."""

import io
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager

import pytest

from duologue.engine import BaseModel, Sampling
from duologue.engine.bundled import bundled_file
from duologue.engine.remote import RemoteGenerator, faults, replicas
from duologue.engine.remote.faults import ServerFault, refused
from duologue.engine.remote.replicas import Replicas
from duologue.errors import ConfigError, EngineError
from duologue.messages import Message
from tests.engine.test_remote import DONE, QUESTION, _chunk, _send, _serving, _streaming, _text

ONE = _streaming(_chunk("one"), _chunk(reason="stop"), DONE)
TWO = _streaming(_chunk("two"), _chunk(reason="stop"), DONE)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Waiting is drawn at random between zero and these."""
    monkeypatch.setattr(replicas, "_FIRST_WAIT_SECONDS", 0.01)


def both(*servers):
    addresses = ",".join(server.base.name.partition("#")[0] for server in servers)
    return BaseModel(f"{addresses}#lila")


def stream(generator, messages=QUESTION, *, cancel=None):
    ids = generator.tokenizer.render(messages, add_generation_prompt=True)
    return generator.stream(ids, Sampling(max_new_tokens=9), cancel=cancel or threading.Event())


def say(generator, messages=QUESTION):
    return _text(stream(generator, messages))


def num_asked(server):
    return sum(path.endswith("/chat/completions") for path, *_ in server.requests)


def reset(handler):
    """End the connection before anything is said."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    handler.connection.close()
    handler.wfile, handler.rfile = io.BytesIO(), io.BytesIO()  # the handler flushes and closes them


def cut(*parts):
    def answer(handler):
        handler.send_response(200)
        for name, value in (("Content-Type", "text/event-stream"), ("Content-Length", "100000")):
            handler.send_header(name, value)
        handler.end_headers()
        for part in parts:
            handler.wfile.write(part)

    return answer


def then(*answers):
    """Answer differently each time; the last answer stays."""
    left = list(answers)

    def answer(handler):
        now = left.pop(0) if len(left) > 1 else left[0]
        now(handler)

    return answer


def broken(pieces):
    """Return what was shown of a reply that breaks off, and its error."""
    shown = ""
    try:
        for piece in pieces:
            shown += piece.text
    except EngineError as error:
        return shown, str(error)
    raise AssertionError("the reply was whole")


def status(number, **headers):
    return lambda handler: _send(handler, number, b'{"error": {"message": "not now"}}', **headers)


FAULTS = {
    "reset": reset,
    "429": status(429),
    "503": status(503),
    "503 for a second": status(503, Retry_After="0"),
    "502": status(502),
    "500": status(500),
    "cut before a word": cut(_chunk("")),
    "ended before a word": _streaming(DONE),
    "garbage": _streaming(b"data: {no\n\n"),
    "a page": lambda handler: _send(handler, 200, b"<html>", Content_Type="text/html"),
    "an error event": _streaming(b'data: {"error": {"message": "out of memory"}}\n\n'),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_one_server_does_not_give_the_other_gives(fault):
    with _serving(fault) as bad, _serving(TWO) as fine:
        generator = RemoteGenerator.open(both(bad, fine))
        assert [say(generator, (Message("user", str(number)),)) for number in range(6)] == ["two"] * 6
        assert num_asked(fine) == 6


@pytest.mark.parametrize("name", ["reset", "429", "503", "503 for a second", "502", "cut before a word"])
def test_a_single_server_is_asked_again_and_the_reply_comes(name):
    with _serving(then(FAULTS[name], FAULTS[name], ONE)) as server:
        assert say(RemoteGenerator.open(server.base)) == "one"
        assert num_asked(server) == 3


def test_it_is_not_asked_for_ever():
    with _serving(status(503)) as server, pytest.raises(EngineError, match="answered 503: not now"):
        say(RemoteGenerator.open(server.base))
    assert num_asked(server) == 1 + replicas.NUM_RETRIES


@pytest.mark.parametrize("answer", [status(400), status(401), status(404), status(500), _streaming(b"data: x\n\n")])
def test_what_would_fail_again_is_not_asked_again(answer):
    with _serving(answer) as server, pytest.raises(EngineError):
        say(RemoteGenerator.open(server.base))
    assert num_asked(server) == 1


def test_a_request_that_is_wrong_is_not_shown_to_every_server():
    with _serving(status(400)) as one, _serving(status(400)) as two:
        with pytest.raises(EngineError, match="answered 400"):
            say(RemoteGenerator.open(both(one, two)))
        assert num_asked(one) + num_asked(two) == 1


def test_after_a_word_was_shown_nothing_is_asked_again_and_the_words_are_kept():
    answer = cut(_chunk("one "), _chunk("word EN"))
    with _serving(answer) as one, _serving(answer) as two:
        generator = RemoteGenerator.open(both(one, two))
        ids = generator.tokenizer.render(QUESTION, add_generation_prompt=True)
        shown, error = broken(
            generator.stream(ids, Sampling(max_new_tokens=9, stop=("END",)), cancel=threading.Event())
        )
        assert shown == "one word EN", "also what might have become a stop text"
        assert "connection to the server failed" in error
        assert num_asked(one) + num_asked(two) == 1


def test_a_reply_that_was_whole_is_not_lost_to_a_connection_that_breaks_behind_it():
    with _serving(cut(_chunk("one"), _chunk(reason="stop"))) as server:
        pieces = list(stream(RemoteGenerator.open(server.base)))
    assert (_text(pieces), pieces[-1].finish_reason) == ("one", "stop")


def test_all_servers_down_is_one_error_with_each_address_and_what_it_said():
    with _serving(status(503)) as one, _serving(reset) as two:
        generator = RemoteGenerator.open(both(one, two))
        with pytest.raises(EngineError, match="none of the 2 servers gave a reply") as caught:
            say(generator)
        for server, said in ((one, "answered 503: not now"), (two, "connection to the server failed")):
            address = server.base.name.partition("#")[0]
            assert f"{address}: the " in str(caught.value) and said in str(caught.value)


def test_retry_after_is_waited_for_only_as_long_as_a_person_waits():
    started = time.monotonic()
    with _serving(then(status(503, Retry_After="1"), ONE)) as server:
        assert say(RemoteGenerator.open(server.base)) == "one"
    assert time.monotonic() - started >= 1
    with _serving(then(status(503, Retry_After="7"), ONE)) as server, pytest.raises(EngineError, match="in 7 seconds"):
        say(RemoteGenerator.open(server.base))


def test_a_retry_after_may_be_a_number_a_date_or_nonsense():
    assert refused(503, "", "u", retry_after=" 12 ").retry_after_seconds == 12
    assert refused(503, "", "u", retry_after="Fri, 31 Dec 1999 23:59:59 GMT").retry_after_seconds == 0
    assert refused(503, "", "u", retry_after="Fri, 31 Dec 2100 23:59:59 GMT").retry_after_seconds > 10**9
    for nonsense in ("", "soon", "-3", "1e9", "\u0661", "Fri, 99 Dec 2100 99:99:99 GMT"):
        assert refused(503, "", "u", retry_after=nonsense).retry_after_seconds == -1
    assert faults.told_in(b"[" * 100_000)[-3:] == "..."


def test_waiting_for_a_server_ends_when_the_reply_is_cancelled(monkeypatch):
    monkeypatch.setattr(replicas, "_FIRST_WAIT_SECONDS", 1e6)
    cancel = threading.Event()

    def busy(handler):
        status(503)(handler)
        threading.Timer(0.2, cancel.set).start()

    with _serving(busy) as server:
        (piece,) = stream(RemoteGenerator.open(server.base), cancel=cancel)
    assert (piece.text, piece.finish_reason) == ("", "cancelled")


def test_a_reply_that_never_ends_is_broken_off_and_kept():
    gone = threading.Event()

    def drip(handler):
        _streaming()(handler)
        while not gone.wait(0.02):
            try:
                handler.wfile.write(_chunk("x"))
                handler.wfile.flush()
            except OSError:
                return

    with _serving(drip) as server:
        shown, error = broken(stream(RemoteGenerator.open(server.base, max_seconds=0.5)))
        gone.set()
        assert "took more than 0.5 seconds" in error and set(shown) == {"x"} and num_asked(server) == 1


def test_no_thread_and_no_connection_is_left_behind():
    before = threading.active_count()
    with _serving(then(reset, ONE)) as server:
        generator = RemoteGenerator.open(server.base)
        for _ in range(3):
            say(generator)
        open_stream = stream(generator)
        next(open_stream)
        open_stream.close()
        generator.close()
        assert not [thread for thread in threading.enumerate() if thread.name == "duologue-remote"]
    assert threading.active_count() <= before


# --------------------------------------------------------------------------------------------------------- the choice


class Clock:
    """A time that the test moves."""

    now = 1000.0

    def __call__(self):
        return self.now


class Client:
    """A server without a network: replies, or fails as it is told."""

    def __init__(self, name):
        self.url, self.fault, self.asked = name, None, []

    def stream(self, body, *, cancel, looks_for, max_seconds):
        self.asked.append((body["messages"][0]["content"], looks_for))
        if self.fault is not None:
            raise self.fault
        yield {"choices": [{"delta": {"content": "w"}}]}
        yield {"choices": [{"delta": {}, "finish_reason": "stop"}]}


def made(count):
    clients, clock = [Client(f"http://{number}") for number in range(count)], Clock()
    return clients, Replicas(clients, model="m", clock=clock), clock


def ask(pool, *contents):
    body = {"messages": [{"role": "user", "content": content} for content in contents]}
    return pool.stream(body, cancel=threading.Event())


def down(client, **more):
    return ServerFault("it is away", client.url, again="anywhere", is_down=True, **more)


def test_requests_go_to_the_server_with_the_fewest_of_ours():
    clients, pool, _ = made(3)
    held = []
    for number in range(9):
        held.append(ask(pool, f"chat {number}"))
        next(held[-1])
        most, *_, least = sorted((len(client.asked) for client in clients), reverse=True)
        assert most - least <= 1
    for each in held:
        list(each)
    assert [replica.num_running for replica in pool._replicas] == [0, 0, 0]


def test_of_equally_busy_servers_one_is_drawn():
    clients, pool, _ = made(3)
    for number in range(90):
        list(ask(pool, f"chat {number}"))
    assert min(len(client.asked) for client in clients) > 10


def test_a_chat_stays_with_the_server_that_has_read_it_unless_that_is_much_busier():
    clients, pool, _ = made(3)
    turns = ["You are Lila. " * 20]
    list(ask(pool, *turns))
    (home,) = [client for client in clients if client.asked]
    for number in range(20):
        turns += [f"turn {number}"]
        list(ask(pool, *turns))
    assert len(home.asked) == 21
    held = [ask(pool, "another " * 9 + str(number)) for number in range(9)]
    for each in held:
        next(each)
    mine = next(replica for replica in pool._replicas if replica.client is home)
    mine.num_running += replicas._STICKY_BOUND
    list(ask(pool, *turns, "more"))
    assert len(home.asked) == 21 + 3 + 1, "it may be busier by as much"
    mine.num_running += 1
    list(ask(pool, *turns, "still more"))
    assert len(home.asked) == 21 + 3 + 1


def test_what_is_remembered_of_chats_is_bounded_and_says_nothing(monkeypatch):
    monkeypatch.setattr(replicas, "_MAX_KNOWN", 50)
    _, pool, _ = made(2)
    for number in range(200):
        list(ask(pool, f"chat {number}", "secret"))
    for replica in pool._replicas:
        assert len(replica.known) == 50
        assert b"secret" not in b"".join(replica.known)


def test_a_server_that_failed_is_left_alone_for_a_growing_time_and_must_show_its_models_first():
    clients, pool, clock = made(2)
    bad, good = clients
    bad.fault, rests = down(bad), []
    for _ in range(8):
        before = len(bad.asked)
        while len(bad.asked) == before:
            list(ask(pool, f"chat {clock.now} {len(good.asked)}"))
            clock.now += 0.05
        rests.append(pool._replicas[0].rests_until - pool._replicas[0].failed_at)
    assert bad.asked[0][1] == "" and {looked for _, looked in bad.asked[1:]} == {"m"}
    for number, rest in enumerate(rests):
        longest = min(60, 2**number)
        assert longest / 2 <= rest <= longest
    assert len(set(rests)) == 8
    clock.now += 60
    bad.fault = None
    while pool._replicas[0].num_failures:
        list(ask(pool, f"chat {len(good.asked)}"))
    list(ask(pool, "x" * 99))
    assert all(each.num_trials == 0 and each.num_running == 0 for each in pool._replicas)


def test_only_one_request_finds_out_whether_a_server_is_back():
    clients, pool, clock = made(2)
    bad, good = clients
    pool.note_failure(bad, down(bad))
    clock.now += 60
    held = [ask(pool, f"chat {number}") for number in range(6)]
    # The trial is held before its first word: whoever comes in the meantime goes to the other.
    replica = pool._replicas[0]
    replica.num_trials += 1
    for each in held:
        next(each)
    assert (len(bad.asked), len(good.asked)) == (0, 6)


def test_a_failure_that_ends_many_replies_counts_once():
    clients, pool, clock = made(1)
    replica = pool._replicas[0]
    for _ in range(5):
        pool._failed(replica, down(clients[0]), began_at=clock.now - 1)
    assert replica.num_failures == 1


def test_a_servers_own_wish_to_be_left_alone_is_followed_up_to_a_minute():
    clients, pool, clock = made(2)
    pool.note_failure(clients[0], down(clients[0], retry_after_seconds=30.0))
    pool.note_failure(clients[1], down(clients[1], retry_after_seconds=1e9))
    assert [replica.rests_until - clock.now for replica in pool._replicas] == [30, 60]


def test_many_threads_at_once_leave_the_counts_right():
    clients, pool, _ = made(4)
    clients[0].fault = down(clients[0])

    def talk(number):
        for turn in range(30):
            assert len(list(ask(pool, f"chat {number}", f"turn {turn}"))) == 2

    threads = [threading.Thread(target=talk, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(len(client.asked) for client in clients[1:]) == 240
    assert [(replica.num_running, replica.num_trials) for replica in pool._replicas] == [(0, 0)] * 4


# --------------------------------------------------------------------------------------------------------------- open


def test_it_opens_while_one_server_is_away_and_uses_it_when_it_is_back():
    with _serving(ONE) as one:
        with _serving(TWO) as two:
            base = both(one, two)
            port = two.server_address[1]
        generator = RemoteGenerator.open(base)
        assert generator.context_tokens == 2048
        assert say(generator) == "one"
        with ExitStack() as stack:
            back = stack.enter_context(_serving(TWO, port=port))
            deadline = time.monotonic() + 20
            while not num_asked(back):
                say(generator, (Message("user", str(time.monotonic())),))
                assert time.monotonic() < deadline
            assert [path for path, *_ in back.requests][:2] == ["/v1/models", "/v1/chat/completions"]


def test_the_smallest_context_of_the_servers_holds():
    small = {"data": [{"id": "lila", "max_model_len": 512}]}
    with _serving() as one, _serving(models=small) as two:
        assert RemoteGenerator.open(both(one, two)).context_tokens == 512


@pytest.mark.parametrize(
    ("models", "found"),
    [({"data": [{"id": "other"}]}, "no model 'lila'"), ({"data": [{"id": "lila", "owned_by": "vllm"}]}, "kinds")],
)
def test_a_server_that_does_not_fit_the_others_is_refused(models, found):
    with _serving() as one, _serving(models=models) as two, pytest.raises(EngineError, match=found):
        RemoteGenerator.open(both(one, two))


def test_no_server_at_all_is_one_error_with_each_address():
    with _serving() as one, _serving() as two:
        base = both(one, two)
    with pytest.raises(EngineError, match="none of the 2 servers") as caught:
        RemoteGenerator.open(base)
    assert str(caught.value).count("cannot be reached") == 2


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("http://a/v1,http://a/v1/#m", "http://a/v1 is there twice"),
        (",".join(f"http://h{number}/v1" for number in range(65)) + "#m", "65 addresses"),
        ("http://a/v1,http://u:p@b/v1#m", "password"),
        ("a,http://b#m", "cannot open"),
    ],
)
def test_addresses_that_cannot_be_meant_are_refused(name, found):
    with pytest.raises(ConfigError, match=found):
        RemoteGenerator.open(BaseModel(name))


# ---------------------------------------------------------------------------------------------------- real processes

SERVER = """
import sys, time, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port = sys.argv[1], int(sys.argv[2])
parameters.model_alias = {"smollm2"}
parameters.n_ctx, parameters.n_parallel, parameters.verbosity, parameters.cpuparams.n_threads = 2048, 2, -1, 1
server = xllamacpp.Server(parameters)
print("ready", server.listening_address, flush=True)
time.sleep(600)
"""


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextmanager
def llama(port):
    model = str(bundled_file("bundled:smollm2-135m"))
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, model, str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout.readline().startswith("ready")
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_two_llama_cpp_servers_one_killed_in_the_middle_of_a_reply_and_started_anew():
    ports = [free_port(), free_port()]
    base = BaseModel(",".join(f"http://127.0.0.1:{port}/v1" for port in ports) + "#smollm2")
    with ExitStack() as stack:
        processes = {port: stack.enter_context(llama(port)) for port in ports}
        generator = RemoteGenerator.open(base)
        question = (Message("user", "Tell me a long story about a lighthouse."),)
        ids = generator.tokenizer.render(question, add_generation_prompt=True)
        reply = generator.stream(ids, Sampling(max_new_tokens=600), cancel=threading.Event())
        shown = "".join(next(reply).text for _ in range(5))
        (killed,) = [
            int(each.client.url.rsplit(":", 1)[1][:-3]) for each in generator._replicas._replicas if each.num_running
        ]
        processes[killed].kill()
        more, error = broken(reply)
        assert (shown + more).strip() and "connection to the server failed" in error
        for number in range(4):  # everybody else is answered by the other
            ids = generator.tokenizer.render((Message("user", f"Name {number}?"),), add_generation_prompt=True)
            last = list(generator.stream(ids, Sampling(max_new_tokens=3), cancel=threading.Event()))[-1]
            assert last.finish_reason in ("stop", "length")
        processes[killed].wait()
        stack.enter_context(llama(killed))
        answered = Counter()
        deadline = time.monotonic() + 60
        while not answered[killed]:
            ids = generator.tokenizer.render((Message("user", str(time.time())),), add_generation_prompt=True)
            pieces = generator.stream(ids, Sampling(max_new_tokens=3), cancel=threading.Event())
            next(pieces)
            for each in generator._replicas._replicas:
                answered[int(each.client.url.rsplit(":", 1)[1][:-3])] += each.num_running
            list(pieces)
            assert time.monotonic() < deadline, "the restarted server is never asked"
