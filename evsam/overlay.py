"""Masks, prompts and tags drawn over the photo they belong to.

Masks and their outlines are painted by compiled code (csrc/masks/paint.cpp): photos are large. Marks and tags are
small, and drawn by Pillow. Sizes follow the photo's, so that a picture looks the same when it is shown smaller.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from evsam import _C
from evsam.arguments import shown
from evsam.errors import EvsamError
from evsam.prompts import PhotoPrompts
from evsam.rle import MaskLike, mask_extent, mask_window

OPACITY = 0.4

Colour = tuple[int, int, int]
Masks: TypeAlias = "Sequence[MaskLike] | npt.NDArray[Any]"
"""N masks (H, W), arrays or RLEs; or one array (N, H, W)."""

_Place = tuple[float, float, float, float]

_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_FOREGROUND, _BACKGROUND = (22, 163, 74), (220, 38, 38)
_SHADOW = 0.4
"""Opacity of the dark rim of lines and marks, without which they are lost on bright and on colourful photos."""
_LIGHTER = 0.35  # than their masks are outlines that lie on masks all around
_GAP = 150  # alpha of what is between dashes: dark enough on a bright sky
_OUTLINE_TOLERANCE = 0.75  # pixels; above 1 / sqrt(2), so that slanted outlines have no steps
_GOLDEN, _DISTINCT = 24, 255
"""How many colours come from steps of the hue, and how many there are before they repeat."""
_OVERSAMPLING = 4  # of marks and tags, for smooth edges
_SMALLEST_FONT = 10  # pixels; with smaller ones nobody can read numbers


def mask_colour(index: int) -> Colour:
    """A vivid colour for the mask of number ``index``; neighbouring numbers get hues far apart, and 255 all differ.

    Hues step by the golden ratio, which never repeats and leaves the largest gaps between any few of them. Once they
    come close to earlier ones, they are paler or darker than those; and from the 25th on each colour is, to the eye,
    the farthest from all before it.
    """
    if index >= _GOLDEN:
        return _far_colours()[(index - _GOLDEN) % (_DISTINCT - _GOLDEN)]
    hue = (0.58 + index * 0.6180339887) % 1.0
    saturation, value = ((0.88, 1.0), (0.5, 1.0), (0.95, 0.7))[index // 8]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


@lru_cache(maxsize=1)
def _far_colours() -> list[Colour]:
    """Colours for the numbers from ``_GOLDEN`` to ``_DISTINCT``."""
    levels = np.linspace(0, 255, 18).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
    places = _oklab(candidates)
    chroma = np.hypot(places[:, 1], places[:, 2])
    vivid = (places[:, 0] > 0.38) & (places[:, 0] < 0.93) & (chroma > 0.09)  # greys and darks are the photo's
    candidates, places = candidates[vivid], places[vivid]
    first = _oklab(np.array([mask_colour(index) for index in range(_GOLDEN)]))
    nearest = ((places[:, None] - first) ** 2).sum(-1).min(1)
    chosen: list[Colour] = []
    for _ in range(_GOLDEN, _DISTINCT):
        farthest = nearest.argmax()
        red, green, blue = candidates[farthest].astype(int).tolist()
        chosen.append((red, green, blue))
        nearest = np.minimum(nearest, ((places - places[farthest]) ** 2).sum(-1))
    return chosen


def _oklab(colours: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Colours (..., 3) of 0 to 255 in Oklab, where distances are about those that people see.

    Source: Bjoern Ottosson, "A perceptual color space for image processing", 2020.
    """
    encoded = np.asarray(colours, np.float64) / 255
    linear = np.where(encoded > 0.04045, ((encoded + 0.055) / 1.055) ** 2.4, encoded / 12.92)
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.asarray(np.cbrt(linear @ cones.T) @ lab.T)


def outline_width(size: tuple[int, int]) -> float:
    """Width in pixels of outlines on a photo of that height and width."""
    return max(1.0, math.sqrt(size[0] * size[1]) / 240)


def check_opacity(opacity: object) -> None:
    """Make sure that it is a number from 0 to 1.

    Raises:
        EvsamError: it is not.
    """
    if not (isinstance(opacity, (int, float, np.number)) and 0 <= opacity <= 1):
        raise EvsamError(f"opacity: expected a number from 0 to 1, got {shown(opacity)}")


def draw_masks(
    image: npt.NDArray[np.uint8],
    masks: Masks,
    *,
    opacity: float = OPACITY,
    tags: Sequence[str] = (),
    prompts: PhotoPrompts | None = None,
    line: float = 1.0,
    covered: bool = False,
    numbers: Sequence[int] | None = None,
    places: Sequence[Sequence[float] | None] = (),
) -> Image.Image:
    """The image with every mask filled in its own colour and outlined; smaller masks lie above larger ones.

    A pixel has the colour of the uppermost of its masks alone, and all outlines lie above all fills, so that masks that
    overlap can be told apart; unless there are so many that nobody could, and outlines are covered as well.

    Args:
        image: uint8 RGB (H, W, 3); not changed.
        masks: N masks (H, W) or RLEs; they may be of different kinds, and RLEs are unpacked one at a time.
        opacity: of the fills, 0 (outlines alone) to 1.
        tags: N texts, written beside the masks; none if there are no tags. A photo too small for text has none.
        prompts: of the N masks, drawn above them; None for none.
        line: width of the outlines, as a multiple of :func:`outline_width`.
        covered: whether a mask covers the outlines of larger ones.
        numbers: of the masks' colours (:func:`mask_colour`); None for 0 to N - 1.
        places: N boxes x0, y0, x1, y1, or None, that stand for masks that are empty, drawn in dashes; none if there are
            none.

    Raises:
        EvsamError: opacity is not from 0 to 1, or there are not as many tags as masks.
    """
    check_opacity(opacity)
    if len(tags) not in (0, len(masks)):
        raise EvsamError(f"tags: expected one for each of {len(masks)} masks, got {len(tags)}")
    colours = [mask_colour(number) for number in (range(len(masks)) if numbers is None else numbers)]
    photo = np.ascontiguousarray(image)
    canvas = photo.copy()
    width = line * outline_width((image.shape[0], image.shape[1]))
    extents = [mask_extent(mask) for mask in masks]
    order = sorted((i for i in range(len(masks)) if extents[i][0]), key=lambda i: -extents[i][0])
    outlines = {}
    for index in order:
        pixels, (x0, y0, _, _), _ = mask_window(masks[index])
        _C.fill_mask(canvas, photo, pixels, colours[index], float(opacity), x0, y0)
        corners, ends, _ = _C.trace_outlines(pixels, _OUTLINE_TOLERANCE)
        outlines[index] = corners + np.array([x0, y0], np.int32), ends
        if covered:
            red, green, blue = (round(value + _LIGHTER * (255 - value)) for value in colours[index])
            _draw_outline(canvas, outlines.pop(index), width, (red, green, blue))
    for index, outline in outlines.items():
        _draw_outline(canvas, outline, width, colours[index])
    picture = Image.fromarray(canvas)
    boxes = {index: place for index, place in enumerate(places) if place is not None and not extents[index][0]}
    for index, place in boxes.items():
        _draw_box(picture, place, max(1, round(1.3 * width)), colours[index])
    clicks = [] if prompts is None else _draw_prompts(picture, prompts)
    if tags:
        tagged = [_Tagged(extents[i][1], tags[i], colours[i], mask_window(masks[i]).pixels) for i in order]
        tagged += [_Tagged(_whole(place), tags[i], colours[i], None) for i, place in boxes.items()]
        _draw_tags(picture, tagged, clicks)
    return picture


def _whole(box: Sequence[float]) -> tuple[int, int, int, int]:
    """The pixels that a box touches."""
    return math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])


def _draw_outline(
    canvas: npt.NDArray[np.uint8],
    outline: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]],
    width: float,
    colour: Colour,
) -> None:
    _C.stroke_rings(canvas, *outline, 1.8 * width, _BLACK, _SHADOW)
    _C.stroke_rings(canvas, *outline, width, colour, 1.0)


def _draw_prompts(picture: Image.Image, prompts: PhotoPrompts) -> list[_Place]:
    """Boxes, and clicks above them; where the clicks are."""
    width = outline_width((picture.height, picture.width))
    if prompts.boxes is not None:
        for index, box in enumerate(prompts.boxes.tolist()):
            _draw_box(picture, box, max(1, round(1.3 * width)), mask_colour(index))
    radius = max(2.5, 2.6 * width)
    clicks = []
    for points, labels in zip(prompts.points.tolist(), prompts.labels.tolist(), strict=True):
        for (x, y), label in zip(points, labels, strict=True):
            if label in (0, 1):
                draw_click(picture, (x, y), radius, foreground=label == 1)
                clicks.append((x - radius, y - radius, x + radius, y + radius))
    return clicks


def _draw_box(picture: Image.Image, box: Sequence[float], line: int, colour: Colour) -> None:
    """Dashes on a dark line: outlines of masks are whole."""
    draw = ImageDraw.Draw(picture, "RGBA")
    x0, y0, x1, y1 = _whole(box)
    left, top, right, bottom = max(0, x0), max(0, y0), min(picture.width, x1) - 1, min(picture.height, y1) - 1
    rim = round(0.4 * line)
    draw.rectangle((left - rim, top - rim, right + rim, bottom + rim), outline=(*_BLACK, _GAP), width=line + 2 * rim)
    for start, stop in _dashes(left, right + 1, 5 * line):
        draw.rectangle((start, top, stop - 1, top + line - 1), fill=colour)
        draw.rectangle((start, bottom - line + 1, stop - 1, bottom), fill=colour)
    for start, stop in _dashes(top, bottom + 1, 5 * line):
        draw.rectangle((left, start, left + line - 1, stop - 1), fill=colour)
        draw.rectangle((right - line + 1, start, right, stop - 1), fill=colour)


def _dashes(start: int, stop: int, length: int) -> list[tuple[int, int]]:
    """Dashes of about a length, and two thirds of it between them, with one at either end."""
    count = max(1, round((stop - start - length) / (5 / 3 * length)) + 1)
    step = (stop - start - length) / max(1, count - 1)
    if step <= length:  # too short for gaps
        return [(start, stop)]
    starts = [round(start + i * step) for i in range(count)]
    return [(begin, begin + length) for begin in starts]


def draw_click(picture: Image.Image, at: tuple[float, float], radius: float, *, foreground: bool) -> None:
    """A disc, green with a plus or red with a minus, with a white rim and a dark one around it."""
    rim, shadow = 0.3 * radius, 0.12 * radius
    reach = math.ceil(radius + shadow) + 1
    left, top = round(at[0]) - reach, round(at[1]) - reach
    scale = _OVERSAMPLING
    tile = Image.new("RGBA", (2 * reach * scale, 2 * reach * scale))
    draw = ImageDraw.Draw(tile)
    x, y = ((at[0] + 0.5 - left) * scale, (at[1] + 0.5 - top) * scale)

    def disc(size: float, colour: tuple[int, ...]) -> None:
        draw.ellipse((x - size * scale, y - size * scale, x + size * scale, y + size * scale), fill=colour)

    disc(radius + shadow, (*_BLACK, round(255 * _SHADOW)))
    disc(radius, _WHITE)
    disc(radius - rim, _FOREGROUND if foreground else _BACKGROUND)
    if radius >= 6:  # in smaller ones it is a blur
        arm, half = 0.4 * radius * scale, 0.09 * radius * scale
        draw.rectangle((x - arm, y - half, x + arm, y + half), fill=_WHITE)
        if foreground:
            draw.rectangle((x - half, y - arm, x + half, y + arm), fill=_WHITE)
    tile = tile.reduce(scale)
    picture.paste(tile, (left, top), tile)


class _Tagged(NamedTuple):
    """What has a tag: the box around it, the tag's text and colour, and the mask's pixels in the box, if it is one."""

    box: tuple[int, int, int, int]
    text: str
    colour: Colour
    pixels: npt.NDArray[np.uint8] | None

    def touches(self, place: _Place, reach: float) -> bool:
        """Whether some of it is in a place, or so near."""
        if self.pixels is None:
            return True
        left, top = self.box[:2]
        x0, y0, x1, y1 = (round(value) for value in (place[0] - left, place[1] - top, place[2] - left, place[3] - top))
        near = math.ceil(reach)
        return bool(self.pixels[max(0, y0 - near) : max(0, y1 + near), max(0, x0 - near) : max(0, x1 + near)].any())


def _draw_tags(picture: Image.Image, tags: Sequence[_Tagged], clicks: list[_Place]) -> None:
    """Tags at the upper left corners of boxes, or where else at a box there is room between clicks and other tags."""
    size = round(0.028 * math.sqrt(picture.width * picture.height))
    if size < _SMALLEST_FONT:
        size = _SMALLEST_FONT
        if min(picture.width, picture.height) < 8 * size:
            return
    font = ImageFont.load_default(size)
    taken = list(clicks)
    for tagged in tags:
        text, colour = tagged.text, tagged.colour
        left, _, right, _ = font.getbbox(text, anchor="ls")  # of what is inked
        ascent, margin = font.getbbox("0", anchor="ls")[1], 0.35 * size
        width, height = right - left + 2 * margin, -ascent + 2 * margin
        place = _free_place(tagged, (width, height), (picture.width, picture.height), taken)
        taken.append(place)
        tile = _pill(math.ceil(width), math.ceil(height), 0.25 * size, colour)
        bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
        position = (margin - left, height - margin)
        ImageDraw.Draw(tile).text(position, text, _BLACK if bright else _WHITE, font, anchor="ls")
        picture.paste(tile, (round(place[0]), round(place[1])), tile)


def _free_place(tagged: _Tagged, size: tuple[float, float], photo: tuple[int, int], taken: list[_Place]) -> _Place:
    """Where a tag is at its mask and covers least of what is taken; the first such place of several."""
    (x0, y0, x1, y1), (width, height) = tagged.box, size
    middle = (x0 + x1 - width) / 2
    corners = [
        (x0, y0 - height),
        (x1 - width, y0 - height),
        (x0, y1),
        (x1 - width, y1),
        (middle, y0),
        (x0, y0),
        (middle, y1 - height),
    ]
    if tagged.pixels is not None:  # the box of a slanted mask may be empty at all corners
        corners.insert(2, (x0 + float(np.flatnonzero(tagged.pixels[0]).mean()) - width / 2, y0 - height))
    places = []
    for x, y in corners:
        left = min(max(x, 0), max(photo[0] - width, 0))
        top = min(max(y, 0), max(photo[1] - height, 0))
        places.append((left, top, left + width, top + height))

    def cost(place: _Place) -> float:
        away = 0.0 if tagged.touches(place, height / 2) else width * height / 2
        return away + sum(_overlap(place, other) for other in taken)

    return min(places, key=cost)


def _overlap(a: _Place, b: _Place) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _pill(width: int, height: int, radius: float, colour: Colour) -> Image.Image:
    scale = _OVERSAMPLING
    tile = Image.new("RGBA", (width * scale, height * scale), (*colour, 0))
    box = (0, 0, width * scale - 1, height * scale - 1)
    ImageDraw.Draw(tile).rounded_rectangle(box, radius * scale, fill=(*colour, 235))
    return tile.reduce(scale)
