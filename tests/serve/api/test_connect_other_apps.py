"""What `docs/how-to/connect-other-apps.md` says is run as it stands there, against a running server."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from duologue.serve.api.samplers import Samplers
from tests.serve.running import Running

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "connect-other-apps.md"
ADDRESS = "http://127.0.0.1:7860"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_curl_commands_answer(server: Running):
    commands = [block.replace(ADDRESS, server.url) for block in blocks("sh") if block.startswith("curl")]
    answers = [
        json.loads(subprocess.run(["sh", "-c", each], capture_output=True, timeout=30, check=True).stdout)
        for each in commands
    ]

    assert [answer["object"] for answer in answers] == ["list", "chat.completion"]
    assert "Who are you?" in answers[1]["choices"][0]["message"]["content"]


def test_the_python_example_runs(server: Running, capsys: pytest.CaptureFixture[str]):
    (example,) = blocks("python")
    names: dict[str, object] = {}
    exec(compile(example.replace(ADDRESS, server.url), str(PAGE), "exec"), names)
    names["client"].close()

    assert capsys.readouterr().out == "['lila-quill', 'fake']\nYou said: Who are you? Tell me more about that."


def test_it_names_every_route_and_no_other(server: Running):
    table = PAGE.read_text(encoding="utf-8").partition("## Every route")[2]
    told = set(re.findall(r"`(?:GET|POST) (/[^`]+)`", table))
    served = set(httpx.get(f"{server.url}/openapi.json", timeout=20).json()["paths"])

    assert told == {path.replace("{model_id}", "NAME") for path in served} | {"/openapi.json"}


def test_it_names_every_sampler(server: Running):
    (text,) = re.findall(r"\*\*Samplers\*\*: (.*?)\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)

    assert set(Samplers.model_fields) <= set(re.findall(r"`(\w+)`", text))
