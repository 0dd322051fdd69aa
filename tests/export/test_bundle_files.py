"""What a bundle may hold: what cannot run when it is opened, beside the card and inside a companion's CharX."""

import io
import zipfile
from pathlib import Path

import pytest

from duologue.characters import Card, Character, save_card
from duologue.errors import ConfigError
from duologue.export.unbundle import unpack_bundle
from tests.export.bundles import bundle_of, rewritten, trained_folder

REFUSED = {
    **{f"x.{ending}": f"'.{ending}'" for ending in ("py", "pkl", "exe", "html", "svg", "php", "docm", "PY", "Svg")},
    "x": "no ending",
    ".png": "'.png'",
    "x.png.py": "'.py'",
    "x.": "'.'",
    "x.png.": "'.'",
}
ALLOWED = ("x.png", "x.JPG", "x.webp", "x.gif", "x.avif", "x.mp3", "x.ogg", "x.wav", "x.flac", "x.m4a", "x.mp4")


def charx_with(tmp_path: Path, name: str) -> bytes:
    """The CharX of a companion with one more file."""
    path = tmp_path / "bo.charx"
    save_card(Card(Character(name="Bo", description="The other conductor.")), path)
    packed = io.BytesIO(path.read_bytes())
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr(name, b"something")
    return packed.getvalue()


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_picture_sound_or_text_is_refused_with_its_name(tmp_path: Path, name: str) -> None:
    bundle_of(trained_folder(tmp_path / "lila"), tmp_path / "lila.charx")
    member = f"assets/other/image/{name}"
    rewritten(tmp_path / "lila.charx", tmp_path / "bad.charx", {member: b"something"})
    with pytest.raises(ConfigError) as caught:
        unpack_bundle(tmp_path / "bad.charx", tmp_path / "back")
    assert f"'{member}'" in str(caught.value)
    assert REFUSED[name] in str(caught.value)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("name", ALLOWED)
def test_media_of_a_card_come_along(tmp_path: Path, name: str) -> None:
    bundle_of(trained_folder(tmp_path / "lila"), tmp_path / "lila.charx")
    member = f"assets/other/image/{name}"
    rewritten(tmp_path / "lila.charx", tmp_path / "more.charx", {member: b"something"})
    unpack_bundle(tmp_path / "more.charx", tmp_path / "back")
    with zipfile.ZipFile(tmp_path / "back" / "character.charx") as archive:
        assert archive.read(member) == b"something"


@pytest.mark.parametrize("name", REFUSED)
def test_so_it_is_inside_a_companion_of_a_bundle(tmp_path: Path, name: str) -> None:
    bundle_of(trained_folder(tmp_path / "lila"), tmp_path / "lila.charx")
    companion = charx_with(tmp_path, name)
    rewritten(tmp_path / "lila.charx", tmp_path / "bad.charx", {"assets/x_companion/other/0.charx": companion})
    with pytest.raises(ConfigError, match=r"companion's CharX was refused") as caught:
        unpack_bundle(tmp_path / "bad.charx", tmp_path / "back")
    assert f"'{name}'" in str(caught.value)
    assert not (tmp_path / "back").exists()


def test_a_companion_that_holds_code_goes_into_no_bundle(tmp_path: Path) -> None:
    folder = trained_folder(tmp_path / "lila")
    (folder / "bo.charx").write_bytes(charx_with(tmp_path, "run.py"))
    with pytest.raises(ConfigError, match=r"'run\.py' ends in '\.py'"):
        bundle_of(folder, tmp_path / "lila.charx", overrides=['character.companions=["bo.charx"]'])
    assert not (tmp_path / "lila.charx").exists()
