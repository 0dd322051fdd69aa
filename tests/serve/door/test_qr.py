"""QR codes: read back by a reader of our own, which knows the standard only from its tables."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duologue.serve.door import qr
from duologue.serve.door.qr import qr_modules, qr_svg


def read(rows: list[list[bool]]) -> bytes:
    """Return what a code says: find its mask, undo it, gather the bits, and take the blocks apart."""
    size = len(rows)
    version = (size - 17) // 4
    bits = [rows[y][8] for y in (0, 1, 2, 3, 4, 5, 7, 8)] + [rows[8][x] for x in (7, 5, 4, 3, 2, 1, 0)]
    value = sum(bit << at for at, bit in enumerate(bits)) ^ 0x5412
    assert value >> 13 == 1  # level L
    mask = qr._MASKS[value >> 10 & 7]
    code = qr._Code(version)
    stream = [rows[y][x] != mask(x, y) for x, y in code._free()]
    codewords = (
        [sum(bit << 7 - at for at, bit in enumerate(part)) for part in itertools.batched(stream, 8)]
        if hasattr(itertools, "batched")
        else [sum(bit << 7 - at for at, bit in enumerate(stream[i : i + 8])) for i in range(0, len(stream) - 7, 8)]
    )
    num_data, num_blocks = qr._num_data_codewords(version), qr._BLOCKS[version - 1]
    short, num_long = divmod(num_data, num_blocks)
    blocks: list[list[int]] = [[] for _ in range(num_blocks)]
    at = 0
    for column in range(short + 1):
        for number, block in enumerate(blocks):
            if column < short or number >= num_blocks - num_long:
                block.append(codewords[at])
                at += 1
    whole = int.from_bytes(bytes(byte for block in blocks for byte in block))
    num_bits, length_bits = 8 * num_data, 8 if version < 10 else 16
    assert whole >> (num_bits - 4) == 0b0100
    length = whole >> (num_bits - 4 - length_bits) & (1 << length_bits) - 1
    return (whole >> (num_bits - 4 - length_bits - 8 * length) & (1 << 8 * length) - 1).to_bytes(length)


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=1, max_size=1000))
def test_what_is_written_can_be_read(data):
    assert read(qr_modules(data)) == data


@pytest.mark.parametrize("length", [17, 18, 230, 231, 858, 2953])
def test_every_size_that_fits_is_read_back(length):
    data = bytes(at % 251 for at in range(length))

    assert read(qr_modules(data, mask=length % 8)) == data


def test_each_block_of_correction_is_a_codeword():
    """The standard's own example (ISO/IEC 18004, annex I): version 1 at level M, whose ten codewords it gives."""
    data = bytes.fromhex("10 20 0C 56 61 80 EC 11 EC 11 EC 11 EC 11 EC 11")

    assert bytes(qr._correction(data, qr._divisor(10))).hex(" ").upper() == "A5 24 D4 C1 ED 36 C7 87 2C 55"


def test_the_three_corners_and_the_quiet_zone_are_there():
    rows = qr_modules(b"https://lila.example")
    finder = ["1111111", "1000001", "1011101", "1011101", "1011101", "1000001", "1111111"]
    for top, left in ((0, 0), (0, len(rows) - 7), (len(rows) - 7, 0)):
        seen = ["".join(str(int(rows[top + y][left + x])) for x in range(7)) for y in range(7)]
        assert seen == finder
    svg = qr_svg("https://lila.example")

    assert f'viewBox="0 0 {len(rows) + 8} {len(rows) + 8}"' in svg
    assert "<script" not in svg


def test_what_is_too_long_for_any_code_is_refused():
    with pytest.raises(StopIteration):
        qr_modules(b"x" * 2954)
