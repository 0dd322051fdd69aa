"""Draws the picture of the shipped character card and writes the card (lila.json, beside this file) into it.

Usage: python scripts/draw_lila.py [TARGET.png]
"""

import math
import random
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont

from brushes import (
    SCALE,
    Point,
    crescent,
    curve,
    disc,
    fill,
    gradient,
    light,
    paint,
    points_of,
    scaled,
    shape_mask,
    stroke,
    vignette,
)
from duologue.characters import LILA_FOLDER, load_character, write_card

WIDTH, HEIGHT = 512, 768
WINDOW = (44, 48, 468, 596)
LAMP = (146, 172)

NIGHT, DUSK, DAWN = (9, 15, 46), (33, 64, 124), (214, 150, 92)
WOOD, WOOD_LIGHT, BRASS, BRASS_LIGHT = (38, 22, 30), (78, 45, 42), (176, 124, 52), (246, 205, 120)
COAT, COAT_LIGHT, COAT_DARK = (24, 33, 74), (58, 72, 128), (13, 17, 44)
SKIN, SKIN_SHADE, SKIN_LIGHT = (208, 150, 116), (132, 82, 88), (248, 200, 150)
HAIR, HAIR_LIGHT = (62, 48, 62), (146, 128, 136)
CREAM, AMBER = (250, 238, 214), (255, 190, 96)


def main() -> None:
    """Draw the picture and write it, with the card, to the target."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else LILA_FOLDER / "character.png"
    card = load_character(Path(__file__).with_name("lila.json"))
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "picture.png"
        draw_picture().save(picture, optimize=True)
        write_card(card, target, image=picture)


def draw_picture() -> Image.Image:
    """Return the finished picture."""
    scene = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), WOOD)
    draw_wall(scene)
    draw_window(scene)
    draw_cat(scene)
    draw_lila(scene)
    draw_table(scene)
    draw_lamp(scene)
    light(scene, LAMP, 330, AMBER, 0.50)
    light(scene, LAMP, 120, (255, 226, 160), 0.55)
    draw_moths(scene)
    return vignette(scene.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS))


# ---------------------------------------------------------------------------------------------------------------- scene


def draw_wall(scene: Image.Image) -> None:
    """The panelled wall of the carriage."""
    scene.paste(gradient(scene.size, [(0, (58, 32, 36)), (0.6, WOOD), (1, (20, 12, 22))]))
    pen = ImageDraw.Draw(scene)
    for x in (18, 494):
        pen.line(scaled([(x, 0), (x, HEIGHT)]), fill=WOOD_LIGHT, width=2 * SCALE)
    for y in (24, 634, 644):
        pen.line(scaled([(0, y), (WIDTH, y)]), fill=WOOD_LIGHT, width=2 * SCALE)


def draw_window(scene: Image.Image) -> None:
    """The window in its brass frame, and the night outside."""
    left, top, right, bottom = (v * SCALE for v in WINDOW)
    view = gradient(
        (right - left, bottom - top),
        [(0, NIGHT), (0.36, (18, 34, 86)), (0.55, DUSK), (0.66, (98, 98, 142)), (0.74, DAWN), (1, DAWN)],
    )
    outside = scene.copy()
    outside.paste(view, (left, top))
    draw_sky(outside)
    draw_country(outside)
    pen = ImageDraw.Draw(scene)
    for grow, color in ((13, (92, 58, 36)), (11, BRASS), (6, BRASS_LIGHT), (4, (120, 80, 38)), (2, (40, 26, 26))):
        box = [v + grow * SCALE * sign for v, sign in zip((left, top, right, bottom), (-1, -1, 1, 1), strict=True)]
        pen.rounded_rectangle(box, (46 + grow) * SCALE, fill=color)
    mask = Image.new("L", scene.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle((left, top, right, bottom), 46 * SCALE, fill=255)
    scene.paste(outside, mask=mask)
    pen.rectangle([v * SCALE for v in (24, 598, 488, 618)], fill=(92, 54, 46))
    pen.rectangle([v * SCALE for v in (24, 598, 488, 601)], fill=(168, 108, 70))
    pen.rectangle([v * SCALE for v in (24, 615, 488, 622)], fill=(28, 16, 24))


def draw_sky(scene: Image.Image) -> None:
    """Stars and the crescent moon, which her punch cuts into every ticket."""
    rng = random.Random(507)  # Ashby Hollow 12:07, Quiet Halt 5:02
    for _ in range(90):
        x, y = rng.uniform(50, 462), 52 + 330 * rng.random() ** 1.5
        size = rng.choice((0.5, 0.6, 0.8, 1.2))
        disc(scene, (x, y), (size, size), (226, 232, 255), alpha=rng.uniform(0.35, 1))
    moon = (398, 124)
    light(scene, moon, 110, (150, 170, 230), 0.45)
    crescent(scene, moon, 30, (255, 240, 200), bite=(-13, -7))


def draw_country(scene: Image.Image) -> None:
    """Hills, the lamps of Lantern Hill, water and telegraph poles."""
    far = "30,470 80,452 130,436 178,404 214,392 252,410 310,446 380,458 430,440 490,452"
    near = "30,500 100,486 180,494 260,478 350,492 420,482 490,492"
    fill(scene, far + " 490,640 490,640 30,640 30,640", (40, 56, 104))
    light(scene, (214, 389), 16, AMBER, 0.9)
    for i in range(22):
        x, y = 214 + (3 + i * 0.6) * math.sin(i * 0.75), 394 + i * 4
        light(scene, (x, y), 6, AMBER, 0.55)
        disc(scene, (x, y), (0.8, 0.8), (255, 222, 150))
    fill(scene, near + " 490,640 490,640 30,640 30,640", (24, 36, 76))
    fill(scene, "30,532 30,532 490,528 490,528 490,640 30,640", (16, 24, 56))
    for i, y in enumerate((540, 547, 556, 567, 580)):
        stroke(scene, [(330 - i * 8, y), (398, y), (440 + i * 6, y)], (190, 190, 214), 0.9 + i * 0.3, alpha=0.5)
    for x, foot, tall in ((96, 560, 150), (196, 536, 92), (250, 526, 60)):
        stroke(scene, [(x, foot), (x, foot - tall)], (14, 18, 44), tall / 50)
        for bar in (0.06, 0.16):
            at = foot - tall * (1 - bar)
            stroke(scene, [(x - tall / 9, at), (x + tall / 9, at)], (14, 18, 44), tall / 60)
    for sag, y0, y1, y2 in ((12, 420, 450, 470), (10, 434, 458, 475)):
        for a, b, ya, yb in ((30, 96, y0 - 18, y0), (96, 196, y0, y1), (196, 250, y1, y2), (250, 300, y2, y2 + 6)):
            stroke(scene, [(a, ya), ((a + b) / 2, (ya + yb) / 2 + sag), (b, yb)], (14, 18, 44), 0.7)


def draw_lamp(scene: Image.Image) -> None:
    """The oil lamp on its bracket, lit."""
    x, y = LAMP

    def lamp(shape: str) -> list[Point]:
        return points_of(shape, origin=LAMP)

    stroke(scene, [(x, 0), (x, y - 74)], BRASS, 3)
    stroke(scene, lamp("-26,-38 -30,-66 0,-82 30,-66 26,-38"), BRASS, 2.4)
    fill(scene, lamp("-34,-34 -34,-34 -16,-52 16,-52 34,-34 34,-34"), BRASS)
    stroke(scene, lamp("-30,-36 -14,-49 8,-50"), BRASS_LIGHT, 1.6)
    fill(scene, lamp("-17,-33 -17,-33 17,-33 17,-33 27,4 16,38 16,38 -16,38 -16,38 -27,4"), (255, 214, 130), alpha=0.62)
    stroke(scene, lamp("-15,-30 -23,4 -14,34"), (255, 250, 230), 1.6, alpha=0.8)
    light(scene, (x, y + 6), 46, (255, 236, 180), 0.95)
    fill(scene, lamp("0,-20 0,-20 8,4 5,20 0,23 -5,20 -8,4"), (255, 246, 206))
    fill(scene, lamp("0,-2 0,-2 4,11 0,20 -4,11"), (255, 176, 72), alpha=0.8)
    fill(scene, lamp("-22,37 -22,37 22,37 22,37 14,56 0,62 -14,56"), BRASS)
    stroke(scene, lamp("-17,42 -10,53"), BRASS_LIGHT, 2)


def draw_moths(scene: Image.Image) -> None:
    """The moths that follow the lamps."""
    places = "-58,-62 62,-78 78,6 -66,52 46,74 -28,104 118,-40 104,92 -84,-6 168,28"
    sizes, turns = (9, 11, 13, 11, 9, 8, 8, 7, 6, 6), (25, -20, 70, -75, 150, 190, 60, 120, -40, 95)
    for centre, size, turn in zip(points_of(places, origin=LAMP), sizes, turns, strict=True):
        draw_moth(scene, centre, size, turn)


def draw_moth(scene: Image.Image, centre: Point, size: float, turn: float) -> None:
    """One moth, wings open."""
    cos, sin = math.cos(math.radians(turn)), math.sin(math.radians(turn))

    def place(shape: str, side: int = 1) -> list[Point]:
        local = [(x * side * size, y * size) for x, y in points_of(shape)]
        return [(centre[0] + x * cos - y * sin, centre[1] + x * sin + y * cos) for x, y in local]

    for side in (-1, 1):
        fill(scene, place("0,-0.2 0,-0.2 0.9,-0.95 1.25,-0.6 0.8,0.1 0,0.2", side), (252, 232, 190))
        fill(scene, place("0,0 0,0 0.85,0.25 0.7,0.85 0.2,0.7", side), (232, 200, 150))
        fill(scene, place("0.55,-0.5 0.85,-0.6 0.75,-0.35", side), (170, 122, 92))
        stroke(scene, place("0,-0.5 0.2,-0.85 0.42,-0.95", side), (110, 78, 70), size / 16)
    fill(scene, place("0,-0.6 0.13,-0.1 0.09,0.6 0,0.8 -0.09,0.6 -0.13,-0.1"), (126, 90, 76))


# --------------------------------------------------------------------------------------------------------------- people


def draw_cat(scene: Image.Image) -> None:
    """Semaphore, grey, on the sill, watching the moths."""
    dark, grey, pale = (46, 48, 66), (84, 88, 108), (150, 144, 146)
    stroke(scene, "98,596 66,600 54,578 66,560 60,546", grey, 9)
    body = "86,604 86,604 78,566 88,524 110,498 132,506 146,540 148,580 152,604 152,604"
    fill(scene, body, grey)
    fill(scene, "86,604 86,604 78,566 88,524 104,504 100,540 104,580 110,604 110,604", dark, alpha=0.7, blur=3)
    head = "98,488 92,462 92,462 112,472 126,470 140,456 140,456 144,484 140,502 122,512 104,506"
    fill(scene, head, grey)
    fill(scene, "96,468 96,468 107,474 101,482", (150, 110, 112), alpha=0.7)
    fill(scene, "137,462 137,462 130,472 139,480", (150, 110, 112), alpha=0.7)
    for x in (112, 131):
        disc(scene, (x, 486), (4.4, 4.8), (246, 206, 110))
        disc(scene, (x + 0.6, 485), (1.5, 3.8), (20, 18, 30))
    fill(scene, "119,494 119,494 125,494 125,494 122,498", (190, 130, 130))
    for side in (-1, 1):
        stroke(scene, [(122, 498), (122 + side * 4, 502), (122 + side * 8, 500)], dark, 1)
        for lift in (-3, 1):
            stroke(
                scene,
                [(122 + side * 8, 497 + lift / 3), (122 + side * 28, 494 + lift * 2)],
                (222, 214, 206),
                0.6,
                alpha=0.8,
            )
    stroke(scene, "143,462 146,486 141,503", pale, 1.6, alpha=0.8)
    stroke(scene, "135,512 147,544 150,590", pale, 2, alpha=0.7)
    for x in (114, 134):
        stroke(scene, [(x, 560), (x + 1, 596)], dark, 1.4, alpha=0.8)
        disc(scene, (x + 4, 600), (10, 5), grey)


def draw_lila(scene: Image.Image) -> None:
    """Lila in her cap and coat, looking at her aunt's watch."""
    draw_coat(scene)
    draw_head(scene)
    draw_cap(scene)
    draw_arm(scene)


def draw_coat(scene: Image.Image) -> None:
    """Coat, collar, scarf and buttons."""
    coat = "232,790 226,640 228,560 244,508 286,470 322,452 392,452 440,478 476,520 496,600 506,790"
    fill(scene, coat, COAT)
    fill(scene, "400,456 440,480 474,520 494,600 506,790 506,790 420,790 432,640 420,540", COAT_DARK, alpha=0.8, blur=6)
    lit = shape_mask(scene, "232,790 224,640 226,556 244,504 290,466 300,474 270,520 256,580 256,790", blur=7)
    paint(scene, ImageChops.multiply(shape_mask(scene, coat), lit), (104, 92, 124), 0.75)
    stroke(scene, "229,610 231,562 247,511 288,473 306,463", (232, 176, 118), 1.8, alpha=0.7)
    fill(scene, "306,410 306,410 310,440 304,466 326,486 356,474 370,450 372,400", SKIN_SHADE)
    fill(scene, "306,412 306,412 310,440 304,464 318,472 330,444 326,412", SKIN, blur=2)
    scarf = "294,458 294,458 318,468 352,462 384,440 392,456 372,482 334,500 304,492 290,474"
    fill(scene, scarf, (206, 190, 178))
    fill(scene, "294,458 294,458 318,468 336,466 326,494 304,490 290,474", CREAM)
    for shape in ("300,474 330,482 372,464", "310,486 340,490 376,472"):
        stroke(scene, shape, (160, 136, 134), 1.4, alpha=0.7)
    fill(scene, "290,470 290,470 302,500 324,560 316,600 282,540 268,490", COAT_LIGHT)
    fill(scene, "392,448 392,448 400,480 372,540 326,596 318,596 330,540 364,486", (42, 54, 106))
    stroke(scene, "324,600 322,690 322,790", COAT_DARK, 2)
    for y in (622, 668, 714):
        for x in (342, 386):
            disc(scene, (x, y), (7, 7), (120, 80, 40))
            disc(scene, (x - 0.6, y - 0.6), (6, 6), BRASS)
            disc(scene, (x - 2, y - 2), (2.2, 2.2), BRASS_LIGHT)
    stroke(scene, "452,500 470,520 482,548", BRASS, 3, alpha=0.8)
    stroke(scene, "420,463 446,481 476,518 493,580", (120, 140, 210), 1.8, alpha=0.6)
    stroke(scene, "444,504 462,524 474,552", BRASS, 2, alpha=0.6)


def draw_head(scene: Image.Image) -> None:
    """Her face in profile, and her hair."""
    fill(scene, "356,300 392,296 412,322 410,362 396,388 366,398 346,372", HAIR)
    disc(scene, (410, 380), (25, 23), HAIR)
    for r in (19, 13, 7):
        ring = curve([(410 - r, 380), (410, 380 - r * 0.9), (410 + r, 380), (410, 380 + r * 0.9)])
        stroke(scene, ring[: len(ring) // 2], HAIR_LIGHT, 1.2, alpha=0.6)
    face = (
        "300,290 293,306 288,320 286,328 280,340 272,353 270,359 275,364 282,365 279,371 276,376 279,380 284,381 "
        "279,385 279,390 284,395 283,401 284,412 294,422 310,422 336,412 358,396 372,366 378,320 364,288"
    )
    fill(scene, face, SKIN)
    edge = shape_mask(scene, face)
    shade = shape_mask(scene, "330,290 318,330 326,360 322,396 300,424 340,430 400,400 400,290", blur=9)
    paint(scene, ImageChops.multiply(edge, shade), SKIN_SHADE, 0.85)
    glow = shape_mask(scene, "300,296 290,330 272,356 280,366 277,392 286,414 296,400 290,372 296,330", blur=4)
    paint(scene, ImageChops.multiply(edge, glow), SKIN_LIGHT, 0.9)
    paint(
        scene,
        ImageChops.multiply(edge, shape_mask(scene, "304,362 318,356 326,368 312,378", blur=6)),
        (222, 120, 96),
        0.5,
    )
    stroke(scene, "290,332 298,335 306,333 312,336", (60, 36, 48), 2.2)
    stroke(scene, "292,340 300,342 308,339", (150, 96, 84), 1, alpha=0.7)
    stroke(scene, "288,322 298,316 312,318 320,323", HAIR, 3)
    stroke(scene, "282,381 290,381 297,377", (120, 52, 60), 1.8)
    fill(scene, "277,376 277,376 284,377 292,380 284,381", (170, 84, 84), alpha=0.8)
    fill(scene, "280,384 284,382 292,382 284,389", (186, 98, 92), alpha=0.8)
    stroke(scene, "276,363 281,358 285,362", (150, 90, 80), 1.2, alpha=0.8)
    for shape in ("316,336 322,333", "316,340 323,341", "296,366 301,374 301,381"):
        stroke(scene, shape, (140, 86, 84), 0.9, alpha=0.7)
    draw_hair(scene)


def draw_hair(scene: Image.Image) -> None:
    """Hair over the temple, the ear and an ear-ring like a small moon."""
    fill(scene, "336,288 336,288 330,310 336,334 348,350 350,372 364,388 384,392 408,366 410,320 390,290", HAIR)
    for i in range(6):
        top = (344 + i * 10, 296)
        stroke(scene, [top, (340 + i * 9, 330), (358 + i * 8, 366), (392 + i * 2, 380)], HAIR_LIGHT, 1.3, alpha=0.55)
    fill(scene, "346,340 356,336 364,346 360,362 352,372 346,362", SKIN_SHADE)
    stroke(scene, "351,344 358,346 356,358 351,364", (98, 56, 68), 1.2, alpha=0.8)
    disc(scene, (352, 378), (3.4, 3.4), BRASS_LIGHT)
    stroke(scene, "402,304 412,324 412,352", (150, 160, 214), 1.4, alpha=0.6)
    stroke(scene, "424,361 434,376 431,394 420,402", (150, 160, 214), 1.4, alpha=0.6)
    stroke(scene, "333,312 337,334 346,348", HAIR_LIGHT, 1.6, alpha=0.8)


def draw_cap(scene: Image.Image) -> None:
    """The conductor's cap with its brass moon."""
    crown = "286,272 282,240 290,226 330,214 386,216 412,234 410,262 398,288"
    fill(scene, crown, COAT)
    fill(scene, "346,216 386,217 412,234 410,262 398,288 370,280 372,240", COAT_DARK, alpha=0.8, blur=5)
    stroke(scene, "287,258 286,240 293,229 331,217 360,216", (224, 172, 116), 2.6, alpha=0.85)
    stroke(scene, "380,217 402,224 412,238 409,262 400,284", (126, 146, 214), 1.8, alpha=0.7)
    band = "286,268 286,268 320,260 366,262 402,272 402,272 398,304 398,304 360,292 320,290 290,298 290,298"
    fill(scene, band, COAT_DARK)
    stroke(scene, "287,272 320,264 366,266 401,276", BRASS, 2.2)
    stroke(scene, "291,293 320,286 360,288 397,300", BRASS, 2.2)
    fill(scene, "290,296 290,296 312,288 330,292 318,304 288,310 262,322 250,324 258,310", (18, 14, 26))
    stroke(scene, "254,320 266,309 290,299 310,292", (240, 190, 130), 1.8, alpha=0.9)
    crescent(scene, (308, 277), 10, BRASS_LIGHT, bite=(4, -3))


def draw_arm(scene: Image.Image) -> None:
    """The arm, the white glove and Perpetua's watch on its chain."""
    stroke(scene, "342,622 300,664 252,652 222,604", BRASS, 2.4)
    stroke(scene, "342,622 300,663 252,651 222,603", BRASS_LIGHT, 1)
    sleeve = "452,520 476,580 474,660 430,704 360,690 268,648 268,648 286,604 286,604 362,626 404,616 410,560"
    fill(scene, sleeve, (30, 41, 88))
    fill(scene, "470,560 476,600 474,660 430,704 360,690 290,658 360,664 430,660", COAT_DARK, alpha=0.75, blur=5)
    stroke(scene, "290,607 362,629 402,619 410,574", COAT_LIGHT, 2, alpha=0.7)
    fill(scene, "292,604 292,604 276,652 276,652 258,646 258,646 272,598 272,598", BRASS)
    stroke(scene, "281,603 267,646", BRASS_LIGHT, 1.6)
    glove = "272,600 250,580 226,574 206,584 196,600 206,616 226,628 246,640 262,644"
    fill(scene, glove, CREAM)
    fill(scene, "262,644 246,640 226,628 206,616 222,612 246,618 268,616", (186, 164, 164), alpha=0.8, blur=2)
    draw_watch(scene, (208, 572))
    fill(scene, "196,600 188,590 192,580 204,584 226,598 222,610 206,612", CREAM)
    stroke(scene, "200,596 212,604 224,606", (180, 156, 150), 1.2, alpha=0.8)


def draw_watch(scene: Image.Image, centre: Point) -> None:
    """The pocket watch; it is 2:14."""
    x, y = centre
    light(scene, centre, 64, AMBER, 0.5)
    disc(scene, (x + 4, y - 31), (5, 6), BRASS)
    disc(scene, centre, (28, 28), (122, 82, 38))
    disc(scene, (x - 0.7, y - 0.7), (26.5, 26.5), BRASS)
    disc(scene, (x - 1.4, y - 1.4), (24, 24), BRASS_LIGHT)
    disc(scene, centre, (22, 22), CREAM)
    for hour in range(12):
        a = math.radians(hour * 30)
        inner = 16 if hour % 3 == 0 else 18
        ends = [(x + r * math.sin(a), y - r * math.cos(a)) for r in (inner, 20)]
        stroke(scene, ends, (60, 44, 50), 1.5 if hour % 3 == 0 else 0.8)
    for angle, length, width in ((30 * (2 + 14 / 60), 11, 2.2), (6 * 14, 16, 1.4)):
        a = math.radians(angle)
        stroke(scene, [(x, y), (x + length * math.sin(a), y - length * math.cos(a))], (40, 28, 40), width)
    disc(scene, centre, (1.8, 1.8), (40, 28, 40))


def draw_table(scene: Image.Image) -> None:
    """The table with tea, a punched ticket and the name of the line."""
    top = "-20,700 -20,700 532,700 532,700 532,800 532,800 -20,800 -20,800"
    fill(scene, top, (70, 38, 36))
    stroke(scene, "-10,700 522,700", (150, 92, 62), 3)
    for y, alpha in ((716, 0.5), (738, 0.35), (757, 0.3)):
        stroke(scene, [(-10, y), (160, y + 3), (330, y - 2), (522, y + 2)], (44, 22, 28), 1.4, alpha=alpha)
    disc(scene, (84, 712), (50, 10), (40, 20, 26), alpha=0.7)
    disc(scene, (82, 706), (48, 9.5), (226, 214, 206))
    disc(scene, (82, 704), (40, 7), (190, 174, 172))
    stroke(scene, "112,666 134,664 132,688 106,692", CREAM, 5)
    fill(scene, "48,656 48,656 116,656 116,656 110,686 96,704 68,704 54,686", CREAM)
    fill(scene, "96,656 96,656 116,656 116,656 110,686 96,704 84,704 96,684", (196, 178, 176), alpha=0.8, blur=2)
    stroke(scene, "51,674 82,678 113,674", (60, 84, 150), 2)
    disc(scene, (82, 656), (34, 6.5), (232, 220, 206))
    disc(scene, (82, 657), (30, 5), (150, 84, 40))
    for x, sway in ((72, 10), (90, -9)):
        stroke(scene, [(x, 648), (x + sway, 628), (x - sway, 606), (x + sway / 2, 584)], (236, 232, 240), 3, alpha=0.16)
    draw_ticket(scene)


def draw_ticket(scene: Image.Image) -> None:
    """A ticket with her crescent moon cut out."""
    corners = "168,726 314,716 320,752 174,764"
    pen = ImageDraw.Draw(scene)
    pen.polygon(scaled(points_of(corners, origin=(3, 5))), fill=(40, 20, 26))
    pen.polygon(scaled(corners), fill=(232, 206, 160))
    pen.line(scaled("175,730 309,721 314,748 180,758 175,730"), fill=(150, 92, 70), width=SCALE)
    label = Image.new("L", (110 * SCALE, 30 * SCALE), 0)
    text = ImageDraw.Draw(label)
    text.text((0, 0), "MOTH LINE", fill=255, font=ImageFont.load_default(15 * SCALE))
    text.text((1 * SCALE, 17 * SCALE), "Ashby Hollow  12:07", fill=255, font=ImageFont.load_default(8.5 * SCALE))
    label = label.rotate(4.2, expand=True, resample=Image.Resampling.BICUBIC)
    mask = Image.new("L", scene.size, 0)
    mask.paste(label, (184 * SCALE, 723 * SCALE))
    paint(scene, mask, (110, 56, 56))
    crescent(scene, (298, 734), 8, (40, 20, 26), bite=(3.5, -2.5))


if __name__ == "__main__":
    main()
