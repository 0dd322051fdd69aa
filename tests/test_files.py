"""Files that are there whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from duologue.files import replacing, write_whole

needs_modes = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")


def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    write_whole(path, "old \u00fc")

    def fail_half_way() -> None:
        with replacing(path) as partial:
            partial.write_text("ne")
            raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        fail_half_way()
    assert path.read_text(encoding="utf-8") == "old \u00fc"
    assert [found.name for found in tmp_path.iterdir()] == ["notes.json"]


@needs_modes
def test_permissions_stay_those_of_the_file_unless_others_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "duologue.toml"
    path.write_text("old")
    path.chmod(0o640)
    write_whole(path, "new")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o640)
    write_whole(path, b"newer", mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"newer", 0o600)


def test_of_many_writers_at_once_one_holds_whole(tmp_path: Path) -> None:
    path = tmp_path / "counts.json"
    write = "import sys; from duologue.files import write_whole; from pathlib import Path\n"
    write += "for _ in range(40): write_whole(Path(sys.argv[1]), sys.argv[2] * 50_000)"
    writers = [subprocess.Popen([sys.executable, "-c", write, path, letter]) for letter in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert path.read_text() in {letter * 50_000 for letter in "abc"}
    assert [found.name for found in tmp_path.iterdir()] == ["counts.json"]


@needs_modes
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text("old")
    write = (  # the system limits the size of a file, as the end of a disk does
        "import resource, signal, sys; from duologue.files import write_whole; from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_whole(Path(sys.argv[1]), 'x' * 2000)\n"
        "except OSError as error: print(error.strerror)"
    )
    ended = subprocess.run([sys.executable, "-c", write, path], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "File too large"
    assert path.read_text() == "old"
    assert [found.name for found in tmp_path.iterdir()] == ["evaluation.json"]
