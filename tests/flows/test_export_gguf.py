"""GGUF exports through the command line: made, found by chat, and opened by a server that is not ours."""

import json
import shutil
import signal
import subprocess
import sys
import time

import openai
import pytest

from tests.flows.command_line import start

# llama.cpp's own HTTP server, in a process of its own; it ends when its input does.
SERVER = """
import sys, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.n_parallel, parameters.verbosity = sys.argv[1], 1024, 1, -1
parameters.hostnames, parameters.port, parameters.ui, parameters.endpoint_metrics = ["127.0.0.1"], 0, False, True
server = xllamacpp.Server(parameters)
server.handle_metrics()
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_chat_opens_the_exported_file_of_the_newest_run_and_says_when_it_is_an_older_one(duologue, folder):
    duologue("train", folder, "--no-eval")
    ended = duologue("export", "gguf", folder, "--form", "f16", "--json")
    assert ended.exit_code == 0, ended.err
    assert ended.json["parity"]["ids_equal"] and ended.json["parity"]["stops"]
    [row] = ended.json["files"]
    first = duologue("chat", folder, "--message", "Hello.")
    assert first.exit_code == 0, first.err
    assert f"{row['file']} (gguf), exported from run {ended.json['run']}" in first.out.replace("\n", " ")
    assert "hf" in duologue("chat", folder, "--engine", "hf", "--message", "Hello.").out
    duologue("train", folder, "--no-eval", "--set", "training.max_steps=2")
    stale = duologue("chat", folder, "--message", "Hello.")
    assert stale.exit_code == 0, stale.err
    said = " ".join(stale.out.split())
    assert f"is not used: it is of run {ended.json['run']}" in said
    assert "(hf)" in said
    refused = duologue("chat", folder, "--engine", "gguf", "--message", "Hello.")
    assert refused.exit_code == 2
    assert "duologue export gguf" in refused.err


def test_unknown_forms_and_untrained_folders_are_refused(duologue, folder):
    unknown = duologue("export", "gguf", folder, "--form", "q1_x")
    assert unknown.exit_code == 2
    assert "q8_0" in unknown.err and "q1_x" in unknown.err
    untrained = duologue("export", "gguf", folder)
    assert untrained.exit_code == 2
    assert "nothing is trained yet" in untrained.err
    assert not (folder / "exports").exists()


def interrupted_export(folder):
    """Begin an export, send it Ctrl-C once its staging folder is there, and return how it ended."""
    process = start("export", "gguf", folder, "--form", "f32", "--form", "f16", cwd=folder)
    deadline = time.monotonic() + 120
    while not list((folder / "exports").glob(".gguf.*.export")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c_ends_with_7_and_the_same_command_goes_on(duologue, folder):
    duologue("train", folder, "--no-eval")
    for _ in range(5):  # the export of a tiny model may be over before the signal comes; a deaf one is so every time
        code, err = interrupted_export(folder)
        if code:
            break
        shutil.rmtree(folder / "exports")
    assert code == 7, err
    assert "goes on from there" in err
    assert not (folder / "exports" / "gguf").exists()
    again = duologue("export", "gguf", folder, "--form", "f32", "--form", "f16", "--json")
    assert again.exit_code == 0, again.err
    assert [path.name for path in (folder / "exports").iterdir()] == ["gguf"]


@pytest.mark.slow
def test_llama_cpps_own_server_talks_with_the_exported_file(duologue, folder):
    toml = folder / "duologue.toml"
    lines = [line for line in toml.read_text().splitlines() if not line.startswith("base = ")]
    text = "\n".join(lines).replace("[model]", '[model]\nbase = "bundled:smollm2-135m"')
    toml.write_text(text.replace("max_steps = 6", "max_steps = 16\nlearning_rate = 2e-3"))
    duologue("train", folder, "--no-eval")
    ended = duologue("export", "gguf", folder, "--form", "q8_0", "--json")
    assert ended.exit_code == 0, ended.err
    [row] = ended.json["files"]
    system = json.loads((folder / "exports" / "gguf" / "ada-bell.preset.json").read_text())["operation"]["fields"][0]
    file = folder / "exports" / "gguf" / row["file"]
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            address = server.stdout.readline().strip()
            client = openai.OpenAI(base_url=f"{address}/v1", api_key="none")
            answer = client.chat.completions.create(
                model="ada",
                messages=[
                    {"role": "system", "content": system["value"]},
                    {"role": "user", "content": "Question 3?"},
                ],
                temperature=0.0,
                max_tokens=64,
            )
        finally:
            server.stdin.close()
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert "Answer number" in choice.message.content
    assert "<|im_end|>" not in choice.message.content
