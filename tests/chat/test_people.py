"""What users set for themselves: kept per user, told to nobody else, and read again."""

import stat

import pytest

from duologue.chat import People, Person, Wish, drawn_config
from duologue.config import make_config
from duologue.errors import ConfigError, DataError

CONFIG = make_config({"model": {"base": "fake"}, "data": {"train": ["x.json"]}}, where="test")
TOM = Person("Tom", "A pilot.", {"lila": Wish("precise", {"top_k": 40})})


def test_what_a_user_set_is_read_again_and_nobody_elses(tmp_path):
    People(tmp_path / "people.json").put("tom@home", TOM)

    people = People(tmp_path / "people.json")

    assert people.get("tom@home") == TOM
    assert people.get("ana") == Person()
    assert "tom@home" not in (tmp_path / "people.json").read_text()
    assert stat.S_IMODE((tmp_path / "people.json").stat().st_mode) == 0o600


def test_who_has_set_nothing_has_the_very_same_configuration():
    assert Person().config(CONFIG, character="lila") is CONFIG
    assert Person(wishes={"other": Wish("precise")}).config(CONFIG, character="lila") is CONFIG


def test_a_persons_configuration_has_name_persona_and_samplers():
    own = TOM.config(CONFIG, character="lila")

    assert (own.character.user_name, own.character.persona) == ("Tom", "A pilot.")
    assert (own.generation.temperature, own.generation.top_k) == (0.3, 40)
    assert CONFIG.generation.temperature == 0.8


@pytest.mark.parametrize(
    "wish", [Wish("nothing"), Wish("/etc/passwd"), Wish(values={"temperature": 99}), Wish(values={"stop": 1})]
)
def test_what_is_not_a_users_to_choose_is_refused(wish):
    with pytest.raises(ConfigError):
        drawn_config(CONFIG, wish)


def test_a_file_that_is_something_else_is_named_and_not_written_over(tmp_path):
    (tmp_path / "people.json").write_text("[1]")

    with pytest.raises(DataError, match=r"people\.json"):
        People(tmp_path / "people.json")
    assert (tmp_path / "people.json").read_text() == "[1]"


def test_a_file_that_cannot_be_written_changes_nothing(tmp_path):
    people = People(tmp_path / "no such folder" / "people.json")

    with pytest.raises(DataError, match="cannot be written"):
        people.put("tom", TOM)
    assert people.get("tom") == Person()
