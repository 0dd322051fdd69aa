"""What holds for a server: from a character's duologue.toml, or from a home.toml beside several characters."""

import pytest

from duologue.config import Home, load_home
from duologue.errors import ConfigError


def test_a_folder_without_files_has_the_defaults(tmp_path):
    assert load_home(tmp_path) == Home()


def test_a_home_file_is_read_and_overridden(tmp_path):
    (tmp_path / "home.toml").write_text('[server]\nport = 8000\n[guard]\nrating = "mature"\n', encoding="utf-8")

    home = load_home(tmp_path, overrides=["server.port=9000"])

    assert (home.server.port, home.guard.rating) == (9000, "mature")


def test_a_characters_folder_says_it_itself(tmp_path):
    text = '[model]\nbase = "x"\n[data]\ntrain = ["y"]\n[age]\nvalid_days = 7\n'
    (tmp_path / "duologue.toml").write_text(text, encoding="utf-8")
    (tmp_path / "home.toml").write_text("[age]\nvalid_days = 9\n", encoding="utf-8")

    assert load_home(tmp_path).age.valid_days == 7


def test_all_faults_are_named_at_once_with_the_nearest_key(tmp_path):
    (tmp_path / "home.toml").write_text('[server]\nprot = 1\nport = "x"\n[model]\nbase = "x"\n', encoding="utf-8")

    with pytest.raises(ConfigError) as refused:
        load_home(tmp_path)

    for part in ("3 faults", "did you mean 'server.port'", "server.port: found", "model: unknown key"):
        assert part in str(refused.value)


def test_a_file_that_is_not_toml_is_said(tmp_path):
    (tmp_path / "home.toml").write_text("[server", encoding="utf-8")

    with pytest.raises(ConfigError, match="not TOML"):
        load_home(tmp_path)
