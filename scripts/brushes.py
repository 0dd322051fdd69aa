"""Brushes for draw_lila.py: smooth shapes, strokes, lights and gradients on a canvas drawn larger than it is kept."""

import math
from collections.abc import Sequence
from itertools import pairwise

from PIL import Image, ImageChops, ImageDraw, ImageFilter

SCALE = 3  # the canvas is this many times larger than the finished picture; coordinates are those of the picture
Point = tuple[float, float]
Shape = str | Sequence[Point]  # a text lists points as in SVG: "10,20 30,40"
Color = tuple[int, int, int]


def points_of(shape: Shape, *, origin: Point = (0, 0)) -> list[Point]:
    """Return the points of a shape, moved by `origin`."""
    pairs = [pair.split(",") for pair in shape.split()] if isinstance(shape, str) else shape
    return [(origin[0] + float(x), origin[1] + float(y)) for x, y in pairs]


def curve(shape: Shape, *, closed: bool = True, steps: int = 14) -> list[Point]:
    """Return a smooth line through the points (Catmull-Rom); a point given twice is a corner."""
    points = points_of(shape)
    n = len(points)
    out: list[Point] = []
    for i in range(n if closed else n - 1):
        p = [points[(i + k) % n] if closed else points[min(max(i + k, 0), n - 1)] for k in (-1, 0, 1, 2)]
        if p[1] == p[2]:
            continue
        for step in range(steps):
            t = step / steps
            weights = (-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, -(t**2) + t**3)
            x, y = (sum(w * q[axis] for w, q in zip(weights, p, strict=True)) / 2 for axis in (0, 1))
            out.append((x, y))
    return out if closed else [*out, points[-1]]


def scaled(shape: Shape) -> list[Point]:
    """Return the points in pixels of the large canvas."""
    return [(x * SCALE, y * SCALE) for x, y in points_of(shape)]


def box(centre: Point, rx: float, ry: float) -> tuple[float, float, float, float]:
    """Return the bounding box of an ellipse in pixels of the large canvas."""
    x, y = centre
    return ((x - rx) * SCALE, (y - ry) * SCALE, (x + rx) * SCALE, (y + ry) * SCALE)


def fill(scene: Image.Image, shape: Shape, color: Color, *, alpha: float = 1.0, blur: float = 0.0) -> None:
    """Fill a smooth closed shape."""
    paint(scene, shape_mask(scene, shape, blur=blur), color, alpha)


def shape_mask(scene: Image.Image, shape: Shape, *, blur: float = 0.0) -> Image.Image:
    """Return the mask of a smooth closed shape."""
    mask = Image.new("L", scene.size, 0)
    ImageDraw.Draw(mask).polygon(scaled(curve(shape)), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(blur * SCALE)) if blur else mask


def paint(scene: Image.Image, mask: Image.Image, color: Color, alpha: float = 1.0) -> None:
    """Lay a colour through a mask."""
    scene.paste(color, (0, 0), mask if alpha == 1 else mask.point(lambda v: round(v * alpha)))


def stroke(scene: Image.Image, shape: Shape, color: Color, width: float, *, alpha: float = 1.0) -> None:
    """Draw a smooth open line with round ends."""
    mask = Image.new("L", scene.size, 0)
    pen = ImageDraw.Draw(mask)
    line = scaled(curve(shape, closed=False))
    pen.line(line, fill=255, width=max(1, round(width * SCALE)), joint="curve")
    for x, y in (line[0], line[-1]):
        pen.ellipse(box((x / SCALE, y / SCALE), width / 2, width / 2), fill=255)
    paint(scene, mask, color, alpha)


def disc(scene: Image.Image, centre: Point, radii: tuple[float, float], color: Color, *, alpha: float = 1.0) -> None:
    """Fill an ellipse."""
    mask = Image.new("L", scene.size, 0)
    ImageDraw.Draw(mask).ellipse(box(centre, *radii), fill=255)
    paint(scene, mask, color, alpha)


def crescent(scene: Image.Image, centre: Point, radius: float, color: Color, *, bite: Point) -> None:
    """Fill a crescent moon: a disc less a smaller one that lies `bite` beside it."""
    mask = Image.new("L", scene.size, 0)
    pen = ImageDraw.Draw(mask)
    pen.ellipse(box(centre, radius, radius), fill=255)
    pen.ellipse(box((centre[0] + bite[0], centre[1] + bite[1]), radius * 0.85, radius * 0.85), fill=0)
    paint(scene, mask, color)


def light(scene: Image.Image, centre: Point, radius: float, color: Color, strength: float) -> None:
    """Add a soft round light."""
    side = round(radius * 2 * SCALE)
    edge = 255 / math.sqrt(2)  # Pillow's gradient is at 255 in the corners of its square; light ends at the sides
    glow = Image.radial_gradient("L").point(lambda v: round(max(0.0, 1 - v / edge) ** 1.5 * 255 * strength))
    layer = Image.new("L", scene.size, 0)
    corner = (round((centre[0] - radius) * SCALE), round((centre[1] - radius) * SCALE))
    layer.paste(glow.resize((side, side), Image.Resampling.BICUBIC), corner)
    tinted = Image.merge("RGB", [layer.point(lambda v, c=c: v * c // 255) for c in color])
    scene.paste(ImageChops.screen(scene, tinted))


def gradient(size: tuple[int, int], stops: Sequence[tuple[float, Color]]) -> Image.Image:
    """Return a vertical gradient through the stops (position from 0 to 1, colour)."""
    column = Image.new("RGB", (1, size[1]))
    for y in range(size[1]):
        t = y / (size[1] - 1)
        (a, low), (b, high) = next(s for s in pairwise(stops) if s[0][0] <= t <= s[1][0])
        k = (t - a) / (b - a)
        column.putpixel((0, y), tuple(round(c + (d - c) * k) for c, d in zip(low, high, strict=True)))
    return column.resize(size)


def vignette(picture: Image.Image) -> Image.Image:
    """Return the picture with darker corners."""
    mask = Image.radial_gradient("L").resize(picture.size, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", picture.size, (6, 6, 20)), picture, mask.point(lambda v: max(0, v - 120)))
