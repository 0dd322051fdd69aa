"""Card files: read with limits, written whole, the picture untouched."""

import base64
import json
import struct
import zlib

import pytest
from PIL import Image

from duologue.characters import Character, load_character, parse_card, write_card
from duologue.characters.files import MAX_CARD_BYTES, MAX_TEXT_CHUNK_BYTES, PNG_SIGNATURE
from duologue.errors import ConfigError

ADA = parse_card(
    {
        "spec": "chara_card_v3",
        "spec_version": "3.0",
        "data": {"name": "Ada Ångström", "nickname": "Ada", "first_mes": "Grüße 🕰", "extensions": {"a/b": [1]}},
    },
    where="test",
)


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.linear_gradient("L").resize((20, 30)).save(path)
    return path


def chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def with_chunks(picture: bytes, *chunks: bytes) -> bytes:
    end = picture.index(b"IEND") - 4
    return picture[:end] + b"".join(chunks) + picture[end:]


def card_chunk(keyword: str, document: object) -> bytes:
    return chunk(b"tEXt", keyword.encode() + b"\0" + base64.b64encode(json.dumps(document).encode()))


def refusal(path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_character(path)
    assert caught.value.where == str(path)
    return caught.value.sentence()


def test_a_card_written_as_json_reads_back_with_unknown_fields(tmp_path):
    path = tmp_path / "ada.json"

    write_card(ADA, path)

    loaded = load_character(path)
    assert loaded.name == "Ada Ångström"
    assert loaded.greeting == "Grüße 🕰"
    assert loaded.as_v2()["data"]["extensions"] == {"a/b": [1]}


def test_a_card_written_into_a_png_reads_back_and_the_picture_is_the_same(tmp_path, picture):
    path = tmp_path / "ada.png"

    write_card(ADA, path, image=picture)

    assert load_character(path).as_v3() == ADA.as_v3()
    with Image.open(path) as written, Image.open(picture) as original:
        assert written.tobytes() == original.tobytes()


def test_a_png_carries_v2_for_old_readers_and_v3_for_new_ones(tmp_path, picture):
    path = tmp_path / "ada.png"
    write_card(ADA, path, image=picture)

    with Image.open(path) as image:
        image.load()
        v2 = json.loads(base64.b64decode(image.text["chara"]))
        v3 = json.loads(base64.b64decode(image.text["ccv3"]))

    assert (v2["spec"], v3["spec"]) == ("chara_card_v2", "chara_card_v3")
    assert "nickname" not in v2["data"]
    assert v3["data"]["nickname"] == "Ada"


def test_writing_again_replaces_the_card_and_keeps_the_picture_and_foreign_chunks(tmp_path, picture):
    path = tmp_path / "ada.png"
    path.write_bytes(with_chunks(picture.read_bytes(), chunk(b"tEXt", b"Author\0someone")))
    write_card(ADA, path)
    once = path.read_bytes()

    write_card(Character(name="Bea"), path)
    write_card(ADA, path)

    assert path.read_bytes() == once
    assert once.count(b"chara\0") == 1
    assert b"Author\0someone" in once


def test_v3_wins_when_both_chunks_are_there(tmp_path, picture):
    path = tmp_path / "both.png"
    both = [card_chunk("ccv3", {"data": {"name": "New"}}), card_chunk("chara", {"data": {"name": "Old"}})]
    path.write_bytes(with_chunks(picture.read_bytes(), *both))

    assert load_character(path).name == "New"


def test_a_keyword_in_capitals_is_found(tmp_path, picture):
    path = tmp_path / "capitals.png"
    path.write_bytes(with_chunks(picture.read_bytes(), card_chunk("Chara", {"name": "Ada"})))

    assert load_character(path).name == "Ada"


def test_the_ending_of_the_name_does_not_matter_the_content_does(tmp_path, picture):
    path = tmp_path / "really_a_png.json"
    path.write_bytes(with_chunks(picture.read_bytes(), card_chunk("chara", {"name": "Ada"})))

    assert load_character(path).name == "Ada"


def test_a_json_card_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "bom.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"name": "Ada"}).encode())

    assert load_character(path).name == "Ada"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"\xff\xfe{}", "not UTF-8 (byte 0)"),
        (b'"just a text"', "the card is a JSON text"),
    ],
    ids=["empty", "open", "deep", "utf16", "text"],
)
def test_a_json_file_that_is_no_card_is_refused(tmp_path, content, said):
    path = tmp_path / "card.json"
    path.write_bytes(content)

    assert said in refusal(path)


def test_a_missing_card_and_a_folder_are_refused(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.png")
    assert "Is a directory" in refusal(tmp_path)


def test_a_png_without_a_card_says_what_was_expected(picture):
    assert "holds no character card; expected a tEXt chunk named 'chara' or 'ccv3'" in refusal(picture)


@pytest.mark.parametrize("keep", [8, 20, 41, -1, -12])
def test_a_png_cut_anywhere_is_refused(tmp_path, picture, keep):
    path = tmp_path / "cut.png"
    path.write_bytes(picture.read_bytes()[:keep])

    assert "PNG" in refusal(path)


def test_a_chunk_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    path = tmp_path / "claims.png"
    path.write_bytes(PNG_SIGNATURE + struct.pack(">I", 2**31 - 1) + b"tEXt" + b"chara\0AAAA")

    assert "ends in the middle of a chunk" in refusal(path)


def test_a_chunk_that_is_not_base64_or_not_utf8_is_refused(tmp_path, picture):
    for payload in (b"chara\0" + base64.b64encode(b"\xff\xfe\xfd"), b"chara\0abc"):
        path = tmp_path / "broken.png"
        path.write_bytes(with_chunks(picture.read_bytes(), chunk(b"tEXt", payload)))

        assert "not base64 of UTF-8 text" in refusal(path)


def test_an_oversized_text_chunk_is_refused(tmp_path, picture):
    path = tmp_path / "fat.png"
    path.write_bytes(with_chunks(picture.read_bytes(), chunk(b"tEXt", b"chara\0" + b"A" * (MAX_TEXT_CHUNK_BYTES + 1))))

    assert "expected at most 8 MiB" in refusal(path)


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(MAX_CARD_BYTES + 1)  # a sparse file: the size is there, the bytes are not

    assert "expected at most 32 MiB" in refusal(path)


def test_a_picture_that_claims_to_be_enormous_costs_nothing(tmp_path):
    path = tmp_path / "bomb.png"
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0))
    path.write_bytes(PNG_SIGNATURE + header + card_chunk("chara", {"name": "Ada"}) + chunk(b"IEND", b""))

    assert load_character(path).name == "Ada"


def test_what_follows_the_end_of_the_picture_is_ignored(tmp_path, picture):
    path = tmp_path / "trailing.png"
    path.write_bytes(picture.read_bytes() + card_chunk("chara", {"name": "Ada"}))

    assert "holds no character card" in refusal(path)


def test_a_card_cannot_be_written_as_anything_else(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot write a card as '\.webp'"):
        write_card(ADA, tmp_path / "ada.webp")


def test_a_png_needs_a_picture_and_a_failed_write_leaves_nothing_behind(tmp_path):
    not_a_png = tmp_path / "note.txt"
    not_a_png.write_text("hello")

    with pytest.raises(ConfigError, match="cannot be read"):
        write_card(ADA, tmp_path / "new.png")
    with pytest.raises(ConfigError, match="the picture is not a PNG"):
        write_card(ADA, tmp_path / "new.png", image=not_a_png)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_failed_write_keeps_the_old_card(tmp_path, picture):
    path = tmp_path / "ada.png"
    write_card(ADA, path, image=picture)
    before = path.read_bytes()

    with pytest.raises(ConfigError):
        write_card(Character(name="Bea"), path, image=tmp_path / "none.png")

    assert path.read_bytes() == before
