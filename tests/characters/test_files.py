"""Card files: read with limits, written whole, the picture untouched."""

import base64
import contextlib
import json
import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from duologue.characters import Card, Character, load_character, parse_card, save_card, write_card
from duologue.characters.files import MAX_CARD_BYTES
from duologue.characters.png import MAX_TEXT_CHUNK_BYTES, PNG_SIGNATURE, chunks, read_png
from duologue.characters.save import V3_WARNING
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

    assert "expected at most 16 MiB" in refusal(path)


def test_an_oversized_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(MAX_CARD_BYTES + 1)  # a sparse file: the size is there, the bytes are not

    assert "expected at most 64 MiB" in refusal(path)


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


def test_a_png_made_without_a_picture_gets_a_plain_one(tmp_path):
    path = tmp_path / "new.png"

    write_card(ADA, path)

    assert load_character(path).as_v3() == ADA.as_v3()
    with Image.open(path) as image:
        assert image.size == (400, 600)


def test_a_picture_that_is_none_is_refused_and_leaves_nothing_behind(tmp_path):
    not_a_png = tmp_path / "note.txt"
    not_a_png.write_text("hello")

    with pytest.raises(ConfigError, match="expected PNG, JPEG or WebP"):
        write_card(ADA, tmp_path / "new.png", image=not_a_png)
    with pytest.raises(ConfigError, match="No such file"):
        write_card(ADA, tmp_path / "new.png", image=tmp_path / "none.png")
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_failed_write_keeps_the_old_card(tmp_path, picture):
    path = tmp_path / "ada.png"
    write_card(ADA, path, image=picture)
    before = path.read_bytes()

    with pytest.raises(ConfigError):
        write_card(Character(name="Bea"), path, image=tmp_path / "none.png")

    assert path.read_bytes() == before


# ---------------------------------------------------------------------------------------------------- chunks and limits


def packed(keyword: str, document: object) -> bytes:
    return keyword.encode() + b"\0\0" + zlib.compress(base64.b64encode(json.dumps(document).encode()))


def test_cards_in_packed_and_international_text_chunks_are_read(tmp_path, picture):
    text = base64.b64encode(json.dumps({"name": "Ada"}).encode())
    path = tmp_path / "card.png"
    for found in (
        chunk(b"zTXt", packed("chara", {"name": "Ada"})),
        chunk(b"iTXt", b"Chara\0\0\0en\0name\0" + text),
        chunk(b"iTXt", b"ccv3\0\1\0\0\0" + zlib.compress(text)),
        chunk(b"tEXt", b"chara\0" + json.dumps({"name": "Ada"}).encode()),
    ):
        path.write_bytes(with_chunks(picture.read_bytes(), found))
        assert load_character(path).name == "Ada"


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_a_text_that_unpacks_to_fifty_megabytes_is_refused_without_unpacking_it(tmp_path, picture, kind):
    head = b"chara\0\0" if kind == b"zTXt" else b"chara\0\1\0\0\0"
    path = tmp_path / "bomb.png"
    path.write_bytes(with_chunks(picture.read_bytes(), chunk(kind, head + zlib.compress(b"A" * 50 * 2**20))))
    assert path.stat().st_size < 2**17

    tracemalloc.start()
    assert "expected at most 16 MiB" in refusal(path)
    assert tracemalloc.get_traced_memory()[1] < 60 * 2**20
    tracemalloc.stop()


def test_a_packed_text_of_another_name_is_not_unpacked(tmp_path, picture):
    path = tmp_path / "card.png"
    bomb = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"A" * 50 * 2**20))
    path.write_bytes(with_chunks(picture.read_bytes(), bomb, card_chunk("chara", {"name": "Ada"})))

    assert load_character(path).name == "Ada"


def test_a_packed_text_that_is_damaged_is_refused(tmp_path, picture):
    path = tmp_path / "card.png"
    path.write_bytes(with_chunks(picture.read_bytes(), chunk(b"zTXt", b"chara\0\0not packed")))

    assert "cannot be unpacked" in refusal(path)


def test_when_the_v3_chunk_is_broken_the_v2_one_is_read_with_a_note(tmp_path, picture):
    path = tmp_path / "card.png"
    broken = chunk(b"tEXt", b"ccv3\0" + base64.b64encode(b'{"name": '))
    path.write_bytes(with_chunks(picture.read_bytes(), broken, card_chunk("chara", {"name": "Ada"})))

    character = load_character(path)

    assert character.name == "Ada"
    assert "chunk 'ccv3' cannot be read" in character.warnings[0]


def test_a_wrong_checksum_is_told_and_made_right_when_the_card_is_written(tmp_path, picture):
    path = tmp_path / "card.png"
    wrong = card_chunk("chara", {"name": "Ada"})[:-4] + b"\0\0\0\0"
    path.write_bytes(with_chunks(picture.read_bytes(), wrong))
    character = load_character(path)
    assert character.warnings == ("the checksum of chunk 'chara' is wrong",)

    write_card(character, path)

    assert load_character(path).warnings == ()


def test_old_card_chunks_of_every_kind_are_replaced_and_the_new_ones_stand_before_the_end(tmp_path, picture):
    path = tmp_path / "card.png"
    old = (
        chunk(b"zTXt", packed("Chara", {"name": "Old"})),
        chunk(b"iTXt", b"CCV3\0\0\0\0\0e30="),
        card_chunk("chara", {"name": "Older"}),
    )
    path.write_bytes(with_chunks(picture.read_bytes(), *old))

    write_card(ADA, path)

    found = [*chunks(path.read_bytes(), where="")]
    names = [payload.partition(b"\0")[0] for kind, payload, _ in found if kind.endswith(b"Xt")]
    assert names == [b"chara", b"ccv3"]
    assert [kind for kind, _, _ in found][-3:] == [b"tEXt", b"tEXt", b"IEND"]
    assert all(is_whole for _, _, is_whole in found)


def test_the_frames_of_an_animated_card_stay(tmp_path):
    path = tmp_path / "card.png"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    frames[0].save(path, save_all=True, append_images=frames[1:])

    write_card(ADA, path)

    assert load_character(path).name == "Ada Ångström"
    with Image.open(path) as image:
        assert image.n_frames == 3
        image.seek(1)
        assert image.convert("RGB").getpixel((0, 0)) == (0, 0, 255)


def test_readers_of_v2_are_warned_of_what_they_miss_and_readers_of_v3_are_not(tmp_path):
    path = tmp_path / "card.png"
    write_card(ADA, path)
    texts = dict(read_png(path.read_bytes(), where="", with_assets=False).texts)
    v2, v3 = (json.loads(base64.b64decode(texts[name])) for name in ("chara", "ccv3"))

    assert v2["data"]["creator_notes"] == V3_WARNING
    assert v3["data"]["creator_notes"] == ""

    write_card(parse_card({"name": "Bea", "creator_notes": "mine"}, where="test"), path)
    texts = dict(read_png(path.read_bytes(), where="", with_assets=False).texts)
    assert json.loads(base64.b64decode(texts["chara"]))["data"]["creator_notes"] == "mine"  # V2 misses nothing of it


def test_a_card_too_large_to_be_read_again_is_not_written(tmp_path):
    large = Character("Ada", description=random.Random(0).randbytes(7 * 2**20).hex())

    with pytest.raises(ConfigError, match="expected at most 16 MiB"):
        write_card(large, tmp_path / "card.png")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------------- pictures


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.jpg"
    Image.new("L", (16000, 3000)).save(path, quality=1)

    with pytest.raises(ConfigError, match="the picture has 16,000 x 3,000 pixels"):
        write_card(ADA, tmp_path / "card.png", image=path)


def test_other_pictures_become_png(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (20, 10), "red").save(path)

    write_card(ADA, tmp_path / "card.png", image=path)

    with Image.open(tmp_path / "card.png") as image:
        assert (image.format, image.size) == ("PNG", (20, 10))


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\xff\xd8\xff\xe0broken", b"RIFF0000WEBPVP8 "])
def test_a_damaged_picture_is_refused(tmp_path, content):
    path = tmp_path / "picture"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match="picture"):
        write_card(ADA, tmp_path / "card.png", image=path)


# ------------------------------------------------------------------------------------------------------------- versions


def test_a_json_card_keeps_its_version_unless_another_is_asked_for(tmp_path):
    v2 = parse_card({"name": "Bea"}, where="test")

    for character, version, spec in (
        (ADA, "", "chara_card_v3"),
        (ADA, "v2", "chara_card_v2"),
        (v2, "", "chara_card_v2"),
        (v2, "v3", "chara_card_v3"),
    ):
        left_out = save_card(Card(character), tmp_path / "card.json", version=version)
        assert json.loads((tmp_path / "card.json").read_bytes())["spec"] == spec
        assert left_out == (("nickname",) if (character, version) == (ADA, "v2") else ())


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_card_or_refused_in_house_style(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.bin"
    for head in (b"", PNG_SIGNATURE, b"PK\3\4", b"\xff\xd8\xff"):
        path.write_bytes(head + content)
        with contextlib.suppress(ConfigError):  # any other error fails the test
            assert load_character(path)
