"""QR codes (ISO/IEC 18004) as SVG: bytes, at the lowest level of correction, which a screen does not need higher."""

from collections.abc import Callable, Iterator
from itertools import pairwise

# Of versions 1 to 40 at level L: codewords of correction in a block, and blocks.
_CORRECTION = (
    *(7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28),
    *(28, 28, 30, 30, 26, 28, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30),
)
_BLOCKS = (
    *(1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8),
    *(8, 9, 9, 10, 12, 12, 12, 13, 14, 15, 16, 17, 18, 19, 19, 20, 21, 22, 24, 25),
)
_LEVEL_L = 1  # as the format information writes it
_QUIET = 4  # empty modules around the code

_MASKS: tuple[Callable[[int, int], bool], ...] = (
    lambda x, y: (x + y) % 2 == 0,
    lambda _, y: y % 2 == 0,
    lambda x, _: x % 3 == 0,
    lambda x, y: (x + y) % 3 == 0,
    lambda x, y: (x // 3 + y // 2) % 2 == 0,
    lambda x, y: x * y % 2 + x * y % 3 == 0,
    lambda x, y: (x * y % 2 + x * y % 3) % 2 == 0,
    lambda x, y: ((x + y) % 2 + x * y % 3) % 2 == 0,
)


def qr_svg(text: str) -> str:
    """Return a text as the SVG of a QR code, black on white whatever the page's colours are."""
    rows = qr_modules(text.encode())
    size = len(rows) + 2 * _QUIET
    path = "".join(
        f"M{x + _QUIET},{y + _QUIET}h1v1h-1z" for y, row in enumerate(rows) for x, is_dark in enumerate(row) if is_dark
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" role="img" aria-label="QR"'
        f' shape-rendering="crispEdges"><path fill="#fff" d="M0,0h{size}v{size}h-{size}z"/>'
        f'<path fill="#000" d="{path}"/></svg>'
    )


def qr_modules(data: bytes, *, mask: int | None = None) -> list[list[bool]]:
    """Return the rows of a QR code, True for dark.

    Args:
        data: At most 2,953 bytes.
        mask: Which of the eight masks; by default the one with the least penalty.
    """
    version = next(number for number in range(1, 41) if _num_bits(number, len(data)) <= 8 * _num_data_codewords(number))
    code = _Code(version)
    code.place(_interleaved(version, _codewords(version, data)))
    masked = [code.masked(number) for number in (range(8) if mask is None else (mask,))]
    return min(masked, key=_penalty)


class _Code:
    """A square of modules, and which of them are fixed patterns."""

    def __init__(self, version: int) -> None:
        self._version = version
        self._size = 17 + 4 * version
        self._dark = [[False] * self._size for _ in range(self._size)]
        self._is_fixed = [[False] * self._size for _ in range(self._size)]
        for at in range(self._size):
            self._fix(6, at, is_dark=at % 2 == 0)
            self._fix(at, 6, is_dark=at % 2 == 0)
        for x, y in ((3, 3), (self._size - 4, 3), (3, self._size - 4)):
            self._square(x, y, radius=4, light=(2, 4))
        places = _alignment_places(version)
        corners = ((places[0], places[0]), (places[0], places[-1]), (places[-1], places[0])) if places else ()
        for x in places:
            for y in places:
                if (x, y) not in corners:
                    self._square(x, y, radius=2, light=(1,))
        self._write_format(0)
        if version >= 7:
            self._write_version()

    def place(self, codewords: bytes) -> None:
        """Write data upwards and downwards in columns of two, from the right."""
        bits = ((codewords[at >> 3] >> (7 - (at & 7))) & 1 for at in range(8 * len(codewords)))
        for x, y in self._free():
            self._dark[y][x] = bool(next(bits, 0))

    def masked(self, mask: int) -> list[list[bool]]:
        """Return the finished rows."""
        self._write_format(mask)
        turns = _MASKS[mask]
        return [
            [dark != (not self._is_fixed[y][x] and turns(x, y)) for x, dark in enumerate(row)]
            for y, row in enumerate(self._dark)
        ]

    def _free(self) -> Iterator[tuple[int, int]]:
        right, upwards = self._size - 1, True
        while right > 0:
            right -= right == 6  # the column of the timing pattern is left out
            for step in range(self._size):
                y = self._size - 1 - step if upwards else step
                yield from ((x, y) for x in (right, right - 1) if not self._is_fixed[y][x])
            right, upwards = right - 2, not upwards

    def _fix(self, x: int, y: int, *, is_dark: bool) -> None:
        self._dark[y][x], self._is_fixed[y][x] = is_dark, True

    def _square(self, x: int, y: int, *, radius: int, light: tuple[int, ...]) -> None:
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                if 0 <= x + dx < self._size and 0 <= y + dy < self._size:
                    self._fix(x + dx, y + dy, is_dark=max(abs(dx), abs(dy)) not in light)

    def _write_format(self, mask: int) -> None:
        value = _LEVEL_L << 3 | mask
        bits = (value << 10 | _remainder(value << 10, 0x537, 10)) ^ 0x5412
        last = self._size - 1
        around = [(8, y) for y in (0, 1, 2, 3, 4, 5, 7, 8)] + [(x, 8) for x in (7, 5, 4, 3, 2, 1, 0)]
        along = [(last - at, 8) for at in range(8)] + [(8, last - 6 + at) for at in range(7)]
        for at in range(15):
            for x, y in (around[at], along[at]):
                self._fix(x, y, is_dark=bool(bits >> at & 1))
        self._fix(8, self._size - 8, is_dark=True)

    def _write_version(self) -> None:
        bits = self._version << 12 | _remainder(self._version << 12, 0x1F25, 12)
        for at in range(18):
            far, near = self._size - 11 + at % 3, at // 3
            self._fix(far, near, is_dark=bool(bits >> at & 1))
            self._fix(near, far, is_dark=bool(bits >> at & 1))


def _alignment_places(version: int) -> list[int]:
    if version == 1:
        return []
    num_places = version // 7 + 2
    step = 26 if version == 32 else (version * 4 + num_places * 2 + 1) // (num_places * 2 - 2) * 2
    return [6, *sorted(version * 4 + 10 - step * at for at in range(num_places - 1))]


def _num_codewords(version: int) -> int:
    num_modules = (16 * version + 128) * version + 64
    if version >= 2:
        num_places = version // 7 + 2
        num_modules -= (25 * num_places - 10) * num_places - 55
    return (num_modules - 36 * (version >= 7)) // 8


def _num_data_codewords(version: int) -> int:
    return _num_codewords(version) - _CORRECTION[version - 1] * _BLOCKS[version - 1]


def _num_bits(version: int, num_bytes: int) -> int:
    return 4 + (8 if version < 10 else 16) + 8 * num_bytes


def _codewords(version: int, data: bytes) -> bytes:
    """Return the bytes with their mode and length before them, filled up to what the version holds."""
    length_bits = 8 if version < 10 else 16
    num_codewords = _num_data_codewords(version)
    bits = (0b0100 << length_bits | len(data)) << 8 * len(data) | int.from_bytes(data)
    num_bits = _num_bits(version, len(data))
    num_filled = min(num_bits + 4, 8 * num_codewords)
    num_filled += -num_filled % 8
    written = (bits << (num_filled - num_bits)).to_bytes(num_filled // 8)
    return written + bytes((0xEC, 0x11) * num_codewords)[: num_codewords - len(written)]


def _interleaved(version: int, data: bytes) -> bytes:
    """Return the data in blocks, each with its correction, taken in turn from all of them."""
    num_blocks, num_correction = _BLOCKS[version - 1], _CORRECTION[version - 1]
    short, num_long = divmod(len(data), num_blocks)
    divisor = _divisor(num_correction)
    blocks, start = [], 0
    for at in range(num_blocks):
        end = start + short + (at >= num_blocks - num_long)
        blocks.append(data[start:end])
        start = end
    corrections = [_correction(block, divisor) for block in blocks]
    mixed = [block[at] for at in range(short + 1) for block in blocks if at < len(block)]
    mixed += [part[at] for at in range(num_correction) for part in corrections]
    return bytes(mixed)


def _correction(data: bytes, divisor: list[int]) -> list[int]:
    """Return the remainder of the data as a Reed-Solomon polynomial."""
    rest = [0] * len(divisor)
    for byte in data:
        factor = byte ^ rest.pop(0)
        rest.append(0)
        rest = [have ^ _times(part, factor) for have, part in zip(rest, divisor, strict=True)]
    return rest


def _divisor(degree: int) -> list[int]:
    parts, root = [0] * (degree - 1) + [1], 1
    for _ in range(degree):
        parts = [_times(part, root) ^ (parts[at + 1] if at + 1 < degree else 0) for at, part in enumerate(parts)]
        root = _times(root, 2)
    return parts


def _times(a: int, b: int) -> int:
    """Return a product in the field of 256 elements."""
    product = 0
    for bit in range(7, -1, -1):
        product = product << 1 ^ (product >> 7) * 0x11D
        product ^= (b >> bit & 1) * a
    return product


def _remainder(value: int, divisor: int, degree: int) -> int:
    for bit in range(value.bit_length() - 1, degree - 1, -1):
        if value >> bit & 1:
            value ^= divisor << (bit - degree)
    return value


def _penalty(rows: list[list[bool]]) -> int:
    """Return how hard a code is to read: long runs, blocks, look-alikes of the corners, too much of one colour."""
    lines = ["".join("1" if dark else "0" for dark in row) for row in (*rows, *zip(*rows, strict=True))]
    points = 0
    for line in lines:
        runs = [len(run) for run in line.replace("01", "0 1").replace("10", "1 0").split()]
        points += sum(run - 2 for run in runs if run >= 5)
        for pattern in ("10111010000", "00001011101"):
            points += 40 * sum(line.startswith(pattern, at) for at in range(len(line) - 10))
    for above, below in pairwise(rows):
        points += 3 * sum(above[x] == above[x + 1] == below[x] == below[x + 1] for x in range(len(rows) - 1))
    share = sum(map(sum, rows)) / len(rows) ** 2
    return points + 10 * int(abs(share - 0.5) * 20)
