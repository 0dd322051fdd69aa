"""Wrong input through the command line: a clear sentence, the right exit code, nothing lost."""

import json
import os
import resource
import signal
import socket
import time

import pytest

from tests.flows.command_line import start


def test_a_missing_or_unreadable_data_file(duologue, folder, tmp_path):
    ended = duologue("data", "check", tmp_path / "nowhere.json")
    assert ended.exit_code == 3 and "no such file" in ended.out
    (folder / "data" / "a.json").unlink()
    ended = duologue("train", folder)
    assert ended.exit_code == 3 and "no file matches 'data/*.json'" in ended.err
    (folder / "data" / "a.json").mkdir()
    assert duologue("data", "check", folder / "data" / "a.json").exit_code == 3


def test_broken_toml(duologue, folder):
    (folder / "duologue.toml").write_text("[model\nbase=")
    ended = duologue("train", folder)
    assert ended.exit_code == 2
    assert "this is not TOML" in ended.err and "line 1" in ended.err


def test_unknown_keys_are_all_named_with_the_nearest_known_one(duologue, folder):
    ended = duologue("train", folder, "--set", "training.lerning_rate=1", "--set", "lora.rnk=2", "--json")
    assert ended.exit_code == 2
    message = ended.json["error"]["message"]
    assert "did you mean 'training.learning_rate'" in message and "did you mean 'lora.rank'" in message


def test_a_folder_that_is_not_there(duologue, tmp_path):
    for command in ("train", "chat", "serve", "eval"):
        ended = duologue(command, tmp_path / "nobody")
        assert ended.exit_code == 2 and "no such folder" in ended.err, command


def test_a_wrong_command_line_is_json_too(duologue):
    ended = duologue("train", "--no-such-option", "--json")
    assert ended.exit_code == 2
    assert ended.json["error"]["kind"] == "usage"


@pytest.mark.offline
def test_a_base_model_that_is_not_there_without_a_network(duologue, folder):
    ended = duologue("train", folder, "--set", 'model.base="nobody/nothing"', "--json")
    assert ended.exit_code == 5
    assert "cannot be loaded" in ended.json["error"]["message"]
    assert "bundled:smollm2-135m" in ended.json["error"]["action"]
    assert not (folder / "runs").exists(), "no run is begun"


def test_data_without_a_trained_token(duologue, folder):
    greeting = [{"messages": [{"role": "assistant", "content": "Good evening."}]} for _ in range(2)]
    (folder / "data" / "a.json").write_text(json.dumps(greeting))
    ended = duologue("train", folder)
    assert ended.exit_code == 3
    assert "no usable conversation" in ended.err and "only a greeting is left" in ended.err


def test_a_full_disk_during_a_checkpoint_keeps_the_run_resumable(duologue, folder):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The tiny model's optimizer state has some 40 kB; the ledger and the tokenizer's files are smaller.
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
    try:
        ended = duologue("train", folder, "--no-eval", "--json")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ended.exit_code == 5, ended.err
    assert "could not be written" in ended.json["error"]["message"]
    assert "--resume" in ended.json["error"]["action"]
    assert duologue("train", folder, "--resume", "--no-eval").exit_code == 0


def test_a_port_in_use(duologue, folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = duologue("serve", folder, "--engine", "fake", "--port", port)
    assert ended.exit_code == 2
    assert f"port {port} is in use" in ended.err and "server.port=0" in ended.err


def test_an_open_address_without_a_key_is_refused(duologue, folder, monkeypatch):
    monkeypatch.delenv("DUOLOGUE_API_KEY", raising=False)
    ended = duologue("serve", folder, "--engine", "fake", "--host", "0.0.0.0", "--port", 0)
    assert ended.exit_code == 2
    assert "DUOLOGUE_API_KEY" in ended.err


def test_an_empty_message_and_one_longer_than_the_context(duologue, folder):
    ended = duologue("chat", folder, "--engine", "fake", "--message", "  ", "--json")
    assert ended.exit_code == 6 and "empty" in ended.json["error"]["message"]
    long = "word " * 1500
    small = ["--set", "generation.context_tokens=64"]
    ended = duologue("chat", folder, "--engine", "fake", *small, "--message", long, "--json")
    assert ended.exit_code == 6
    assert "tokens" in ended.json["error"]["message"] and "Shorten the message" in ended.json["error"]["action"]


def test_a_second_train_on_the_same_character_is_refused(duologue, folder):
    process = start("train", folder, "--no-eval", "--set", "training.max_steps=100000", cwd=folder.parent)
    wait_for_a_checkpoint(folder, process)
    for arguments in (["--resume"], []):
        ended = duologue("train", folder, "--no-eval", "--set", "training.max_steps=100000", *arguments)
        assert ended.exit_code == 2
        assert f"process {process.pid} is training this character" in ended.err
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stopped_train_says_what_was_kept_and_exits_with_7(duologue, folder, number):
    steps = ["--set", "training.max_steps=3000"]
    process = start("train", folder, "--no-eval", *steps, cwd=folder.parent)
    wait_for_a_checkpoint(folder, process)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 7, err
    assert "everything up to it is saved" in err and "--resume" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_killed_train_resumes_and_finishes(duologue, folder):
    steps = ["--set", "training.max_steps=60"]
    process = start("train", folder, "--no-eval", *steps, cwd=folder.parent)
    wait_for_a_checkpoint(folder, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    ended = duologue("train", folder, "--no-eval", "--resume", *steps, "--json")
    assert ended.exit_code == 0, ended.err
    assert ended.json["training"]["num_steps"] == 60
    assert "going on after step" in ended.err


def wait_for_a_checkpoint(folder, process):
    """Wait until the child has written its first checkpoint."""
    deadline = time.monotonic() + 120
    while not list(folder.glob("runs/*/checkpoints/step-*")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.02)
