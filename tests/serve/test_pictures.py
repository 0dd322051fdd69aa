"""Pictures for the page, made from the card."""

import io
import struct
import zlib

import pytest
from PIL import Image

from duologue.characters import LILA_FOLDER, Card, Character, load_card, save_card
from duologue.errors import ConfigError
from duologue.serve.pictures import AVATAR_PIXELS, PORTRAIT_WIDTH_PIXELS, make_pictures


def size_of(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as opened:
        return opened.size


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def test_the_pictures_come_from_the_card_without_its_text():
    pictures = make_pictures(LILA_FOLDER / "character.png")

    assert size_of(pictures.avatar) == (AVATAR_PIXELS, AVATAR_PIXELS)
    assert max(size_of(pictures.portrait)) <= 2 * PORTRAIT_WIDTH_PIXELS
    assert b"chara" not in pictures.avatar + pictures.portrait
    assert len(pictures.portrait) < 300_000


@pytest.mark.parametrize("size", [(600, 200), (300, 300), (1, 1), (2, 900)])
def test_a_picture_of_any_shape_will_do(tmp_path, size):
    path = tmp_path / "card.png"
    Image.new("RGBA", size, "navy").save(path)

    assert size_of(make_pictures(path).avatar) == (AVATAR_PIXELS, AVATAR_PIXELS)


def test_the_icon_of_a_charx_is_its_picture(tmp_path):
    save_card(load_card(LILA_FOLDER / "character.png"), tmp_path / "lila.charx")
    save_card(Card(Character("Ada")), tmp_path / "ada.charx")

    assert make_pictures(tmp_path / "lila.charx") == make_pictures(LILA_FOLDER / "character.png")
    assert make_pictures(tmp_path / "ada.charx") is None


def test_a_card_without_a_picture_has_none(tmp_path):
    assert make_pictures(tmp_path / "card.json") is None


def test_a_picture_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "card.png"
    header = struct.pack(">II", 9000, 9000) + b"\x08\x06\0\0\0"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))

    with pytest.raises(ConfigError, match="9000 x 9000"):
        make_pictures(path)


@pytest.mark.parametrize("content", [b"", b"no picture", (b"\x89PNG\r\n\x1a\n" + b"\0" * 40)])
def test_a_broken_picture_is_told(tmp_path, content):
    path = tmp_path / "card.png"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match="cannot be read"):
        make_pictures(path)


def test_a_missing_card_is_told(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        make_pictures(tmp_path / "card.png")
