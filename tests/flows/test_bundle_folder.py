"""Every command on the folder that comes out of a bundle: it works, or says plainly what is missing and what to do."""

import contextlib
import json
import shutil
import sys

import pytest

from duologue.characters import LILA_FOLDER
from duologue.cli import main
from tests.docs.test_commands import root
from tests.flows.command_line import start

SHORT = (
    *("--set", "training.max_steps=1", "--set", "training.num_sample_replies=0"),
    *("--set", "evaluation.max_new_tokens=2", "--set", "generation.max_new_tokens=2"),
)
# The command (F is the folder), how it ends, and what it says.
ROWS: dict[str, tuple[str, int, str]] = {
    "check": ("data check F/data/replies.json", 3, "there is no such file"),
    "stats": ("data stats F/data/replies.json", 3, "there is no such file"),
    "show": ("data show F/data/replies.json", 3, "there is no such file"),
    "card": ("card show F/character.charx", 0, "Lila Quill"),
    "card out": ("card convert F/character.charx F/out.png", 0, "out.png"),
    "plan": ("plan F", 3, "Put your conversations there"),
    "train": (f"train F --no-eval {' '.join(SHORT)}", 3, "conversation"),
    "train from feedback": ("train F --from-feedback --no-eval", 3, "Put your conversations there"),
    "resume": ("train F --resume", 3, "Put your conversations there"),
    "tune": ("tune F --budget 1m", 3, "conversation"),
    "eval": ("eval F --suite quick", 3, "conversation"),
    "chat": (f"chat F --message Hello? --json {' '.join(SHORT)}", 0, "text"),
    "chat without a model": ("chat F --engine fake --message Hello? --json", 0, "text"),
    "chats": ("chats list F", 0, ""),
    "no chat": ("chats show F 1", 3, "there is none yet"),
    "search": ("chats search F tram", 0, ""),
    "feedback": ("feedback list F", 0, ""),
    "feedback out": ("feedback export F F/out.jsonl", 0, "wrote 0 lines"),
    "memory": ("memory list F", 0, ""),
    "memory search": ("memory search F tea", 0, ""),
    "memory out": ("memory export F F/memories.jsonl", 0, ""),
    "forget": ("memory forget F 1", 0, "forgot 0 lines"),
    "bundle": ("export bundle F", 0, "friend.charx"),
    "merged": ("export merged F", 3, "conversation"),
    "gguf": ("export gguf F", 3, "conversation"),
    "space": ("export space F --to F/space", 2, "base"),
    "docker": ("export docker F --to F/docker", 2, "base"),
    "push": ("push F --what adapter --to ann/lila --dry-run", 2, "expected a base that others can load too"),
    "accounts": ("account list F", 0, ""),
    "standings": ("duel F --standings", 0, ""),
}
NOT_ON_A_FOLDER = {"demo", "new", "doctor", "memory eval"}
ELSEWHERE = {"serve"}  # below, as a process of its own


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory, tiny_model):
    """What `duologue new friend --bundle` makes of the bundle of a trained character."""
    place = tmp_path_factory.mktemp("bundle")
    folder = place / "lila"
    (folder / "data").mkdir(parents=True)
    rows = [{"instruction": f"Question {n}?", "output": f"Answer number {n}, passenger."} for n in range(12)]
    (folder / "data" / "a.json").write_text(json.dumps(rows))
    shutil.copy(LILA_FOLDER / "character.png", folder / "character.png")
    (folder / "duologue.toml").write_text(
        f'[model]\nbase = "{tiny_model}"\n[data]\ntrain = ["data/*.json"]\nvalidation_fraction = 0.2\n'
        "max_length_tokens = 512\n[lora]\nrank = 4\nalpha = 8\n[training]\nmax_steps = 1\nmicro_batch_size = 2\n"
        'gradient_accumulation_steps = 1\n[character]\ncard = "character.png"\n'
        '[evaluation]\nprompts = ["Hello."]\nmax_new_tokens = 2\n'
    )
    for words in (
        ["train", folder],
        ["export", "bundle", folder, "--to", place / "lila.charx"],
        ["new", place / "friend", "--bundle", place / "lila.charx", "--base", tiny_model],
    ):
        assert run(words) == 0
    return place / "friend"


def run(words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["duologue", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)


@pytest.fixture
def friend(unpacked, tmp_path):
    return shutil.copytree(unpacked, tmp_path / "friend")


@pytest.mark.parametrize("name", ROWS)
def test_a_command_works_there_or_says_what_is_missing(duologue, friend, name):
    line, exit_code, said = ROWS[name]
    words = [str(friend) + word[1:] if word == "F" or word.startswith("F/") else word for word in line.split()]
    ended = duologue(*words)
    whole = ended.out + ended.err
    assert ended.exit_code == exit_code, whole
    assert "Traceback" not in whole
    assert said.lower() in whole.lower()
    if exit_code:
        assert ended.err.count("\n") < 12, "a person reads it"


def test_the_server_answers_from_there(friend):
    process = start("serve", friend, "--engine", "fake", "--port", "0", cwd=friend.parent)
    try:
        line = next((each for each in process.stdout if "http://" in each), "")
        assert "http://127.0.0.1:" in line
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


def leaves(command, path=()):
    with contextlib.suppress(AttributeError):
        for name, child in command.commands.items():
            yield from leaves(child, (*path, name))
        return
    yield " ".join(path), command


def test_every_command_that_takes_a_folder_is_in_the_table():
    known = {line.split(" F")[0] for line, _, _ in ROWS.values()} | NOT_ON_A_FOLDER | ELSEWHERE
    groups = {name.split()[0] for name in known}
    missing = [name for name, _ in leaves(root()) if name not in known and name.split()[0] not in groups]
    assert missing == []
