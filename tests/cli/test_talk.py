"""What `duologue chat` takes from the command line and from the environment."""

import json
from pathlib import Path

import pytest

from duologue.cli import places, talk
from duologue.errors import ConfigError, DataError

TOML = '[model]\nbase = "bundled:smollm2-135m"\n[data]\ntrain = ["x.json"]\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (places.DATABASE_VARIABLE, places.SUPERMEMORY_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "duologue.toml").write_text(TOML)
    return tmp_path


def test_one_message_prints_one_json_document_with_the_context(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.chat(folder, engine="fake", message="Hello there.", is_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["reply"].startswith("You said: Hello there.")
    assert [block["kind"] for block in document["context"]["blocks"]] == ["system", "message"]
    assert (folder / "chats.sqlite").exists()


def test_the_database_of_the_environment_is_used_in_place_of_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(places.DATABASE_VARIABLE, "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(DataError, match=r"postgresql://nobody@127\.0\.0\.1:1/none"):
        talk.chat(folder, engine="fake", message="Hello there.")
    assert not (folder / "chats.sqlite").exists()


def test_the_key_of_the_second_memory_comes_from_the_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["memory.supermemory=true", 'memory.supermemory_url="http://127.0.0.1:1"']
    with pytest.raises(ConfigError, match="SUPERMEMORY_API_KEY"):
        talk.chat(folder, engine="fake", message="Hello.", overrides=overrides)
    monkeypatch.setenv(places.SUPERMEMORY_VARIABLE, "sm_test_key")
    talk.chat(folder, engine="fake", message="Hello.", overrides=overrides)
    assert "You said: Hello." in capsys.readouterr().out
