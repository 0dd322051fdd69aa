"""The install script of the image in a bare Debian, and the program talking from there. Takes five minutes and 3 GB."""

import os
import subprocess
import sys

import pytest

from duologue.config import load_config
from duologue.export.docker import run_docker
from tests.deploy.served import make_character


@pytest.mark.load
@pytest.mark.timeout(1800)
def test_the_app_answers_from_a_clean_read_only_root_as_user_1000(tmp_path, repository):
    folder = make_character(tmp_path / "lila")
    config = load_config(folder / "duologue.toml")
    run_docker(folder, tmp_path / "docker", config=config, adapter=None, version="0")
    ended = subprocess.run(
        ["sh", repository / "scripts" / "check_image.sh", tmp_path / "docker"],
        env={**os.environ, "PYTHON": sys.executable},
        check=False,
        capture_output=True,
        text=True,
    )
    if ended.returncode == 77:
        pytest.skip(ended.stderr.strip())

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "check: passed" in ended.stdout
    assert "replied after" in ended.stdout
