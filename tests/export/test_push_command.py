import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.export.hub import TOKEN, LocalHub, running_hub
from tests.export.test_push import merged


@pytest.fixture
def hub():
    with running_hub() as hub:
        yield hub


def environment(hub: LocalHub, home: Path, **more: str) -> dict[str, str]:
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"}
    return {**own, "TERM": "dumb", "COLUMNS": "200", **more}


def run(hub: LocalHub, folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "duologue", "push", str(folder), "--what", "merged", *arguments]
    own = environment(hub, folder.parent, **more)
    return subprocess.run(
        command, check=False, env=own, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120
    )


def answered(hub: LocalHub, folder: Path, answer: str) -> tuple[int, str]:
    """Run the command on a terminal and answer its question."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "duologue", "push", str(folder), "--what", "merged", "--to", "ann/lila"]
    own = environment(hub, folder.parent, HF_TOKEN=TOKEN)
    process = subprocess.Popen(command, env=own, stdin=follower, stdout=follower, stderr=follower, close_fds=True)
    os.close(follower)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux tells that the other side has ended
        while part := os.read(leader, 4096):
            shown += part
            if b"Send this?" in shown and answer:
                os.write(leader, answer.encode() + b"\n")
                answer = ""
    os.close(leader)
    return process.wait(timeout=60), shown.decode()


def test_a_dry_run_lists_every_file_and_asks_nobody(hub, tmp_path) -> None:
    done = run(hub, merged(tmp_path / "merged"), "--to", "ann/lila", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["dry_run"] and not document["is_public"] and len(document["files"]) == 5
    assert document["num_bytes"] == sum(file["num_bytes"] for file in document["files"])
    assert "private" in done.stderr and hub.asked == []


def test_without_a_person_and_without_yes_nothing_is_sent(hub, tmp_path) -> None:
    done = run(hub, merged(tmp_path / "merged"), "--to", "ann/lila", HF_TOKEN=TOKEN)
    assert done.returncode == 2 and "add --yes" in done.stderr and hub.asked == []


def test_without_a_token_it_says_where_one_comes_from(hub, tmp_path) -> None:
    done = run(hub, merged(tmp_path / "merged"), "--to", "ann/lila", "--yes")
    assert done.returncode == 2 and "hf auth login" in done.stderr and hub.asked == []


def test_with_yes_the_export_of_a_characters_folder_is_sent(hub, tmp_path) -> None:
    (tmp_path / "lila" / "exports").mkdir(parents=True)
    (tmp_path / "lila" / "duologue.toml").write_text("")
    merged(tmp_path / "lila" / "exports" / "merged")
    done = run(hub, tmp_path / "lila", "--to", "ann/lila", "--yes", "--json", HF_TOKEN=TOKEN)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["account"], document["num_sent"]) == ("ann", 5)
    assert hub.repos["model", "ann/lila"].private and TOKEN not in done.stdout + done.stderr


def test_on_a_terminal_a_person_sees_what_goes_where_and_can_say_no(hub, tmp_path) -> None:
    folder = merged(tmp_path / "merged")
    code, shown = answered(hub, folder, "n")
    for words in ("account: ann", "ann/lila", "will be made", "private", "config.json", "nothing was sent"):
        assert words in shown, words
    assert code == 0 and hub.repos == {}
    code, shown = answered(hub, folder, "y")
    assert code == 0 and len(hub.repos["model", "ann/lila"].files) == 5, shown
