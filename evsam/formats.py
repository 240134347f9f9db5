"""Masks as files that other programs read: COCO's json, labelme's json, SVG, and a picture of labels.

All functions take masks as arrays or RLEs and know nothing of predictions; what they give is plain Python, for json.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import re
import string
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, TypeAlias
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam import _C
from evsam.arguments import path_text, shown
from evsam.errors import EvsamError
from evsam.overlay import OPACITY, Masks, check_opacity, mask_colour, outline_width
from evsam.polygons import trace_polygons
from evsam.rle import Rle, encode_rle, mask_pixels

Names: TypeAlias = "str | Sequence[str]"
"""One name for all masks, or one for each."""

_LABELME_VERSION = "5.5.0"
"""Of the format: labelme warns about files of a newer major version."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")
"""What a URL begins with, and, as it has two characters at least, no path on Windows."""


def coco_document(
    masks: Masks,
    size: tuple[int, int],
    *,
    scores: Sequence[float] | npt.NDArray[Any] | None = None,
    file_name: str | os.PathLike[str] = "",
    image_id: int | str = 1,
    names: Names = "object",
    tolerance: float | None = None,
) -> dict[str, Any]:
    """A COCO document of one photo; its ``annotations`` are also what ``COCO.loadRes`` takes.

    Args:
        masks: N masks (H, W). Empty ones are left out: COCO has none.
        size: H and W.
        scores: N numbers, or None.
        file_name: of the photo.
        image_id: of the photo in the document, an integer or a text.
        names: of the categories, which are numbered from 1 in the order they come.
        tolerance: None for segmentations in compressed RLE, which are exact; or that of polygons, in pixels. COCO's
            polygons have no holes: masks with holes stay RLE.

    Returns:
        images, annotations (id from 1, segmentation, area, bbox as x, y, width, height, iscrowd 0, score) and
        categories.
    """
    names = one_each("names", names, len(masks))
    file_name = path_text("file_name", file_name)
    photo_id: object = image_id
    if isinstance(photo_id, np.integer):
        photo_id = int(photo_id)
    if not isinstance(photo_id, (int, str)) or isinstance(photo_id, bool):
        raise EvsamError(f"image_id: expected an integer or a text, got {shown(image_id)}")
    categories = {name: number for number, name in enumerate(dict.fromkeys(names), 1)}
    annotations = []
    for index, mask in enumerate(masks):
        pixels = mask_pixels(mask)
        area, (x0, y0, x1, y1) = _C.mask_extent(pixels)
        if area == 0:
            continue
        annotation: dict[str, Any] = {
            "id": index + 1,
            "image_id": photo_id,
            "category_id": categories[names[index]],
            "segmentation": _coco_segmentation(pixels, tolerance),
            "area": area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": 0,
        }
        if scores is not None:
            annotation["score"] = float(scores[index])
        annotations.append(annotation)
    return {
        "images": [{"id": photo_id, "file_name": file_name, "height": int(size[0]), "width": int(size[1])}],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def labelme_document(
    masks: Masks,
    size: tuple[int, int],
    image_path: str | os.PathLike[str],
    *,
    names: Names = "object",
    scores: Sequence[float] | npt.NDArray[Any] | None = None,
    tolerance: float = 1.0,
) -> dict[str, Any]:
    """A labelme document of one photo.

    Args:
        masks: N masks (H, W).
        size: H and W.
        image_path: path of the photo, from where the document is stored.
        names: labels of the shapes.
        scores: N numbers, which go into the descriptions; or None.
        tolerance: of the polygons, in pixels.

    Returns:
        A polygon for each region; those of a mask share a ``group_id``, if there are several. labelme's polygons have
        no holes: masks with holes become shapes of type ``mask``, which labelme reads from 5.2 on.
    """
    names = one_each("names", names, len(masks))
    image_path = path_text("image_path", image_path)
    shapes = []
    for index, mask in enumerate(masks):
        pixels = mask_pixels(mask)
        polygons = trace_polygons(mask, tolerance)
        shape: dict[str, Any] = {
            "label": names[index],
            "group_id": index + 1 if len(polygons) > 1 else None,
            "description": "" if scores is None else f"score {float(scores[index]):.3f}",
            "flags": {},
        }
        if any(polygon.holes for polygon in polygons):
            x0, y0, x1, y1 = _C.mask_extent(pixels)[1]
            picture = _png_text(pixels[y0:y1, x0:x1])
            corners = [[x0, y0], [x1 - 1, y1 - 1]]  # pixels, both of the mask
            shapes.append({**shape, "group_id": None, "shape_type": "mask", "points": corners, "mask": picture})
            continue
        for polygon in polygons:
            points = polygon.outer.astype(float).tolist()
            shapes.append({**shape, "shape_type": "polygon", "points": points, "mask": None})
    return {
        "version": _LABELME_VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": int(size[0]),
        "imageWidth": int(size[1]),
    }


def svg_document(
    masks: Masks,
    size: tuple[int, int],
    *,
    titles: Sequence[str] = (),
    photo: str | os.PathLike[str] | None = None,
    opacity: float = OPACITY,
    tolerance: float = 0.75,
) -> str:
    """An SVG picture of masks, a path for each, larger ones below.

    Args:
        masks: N masks (H, W); empty ones have no path.
        size: H and W.
        titles: what a viewer shows of each path; none if there are no titles.
        photo: path or URL of the photo below, from where the SVG is stored; None for no photo.
        opacity: of the masks, 0 to 1.
        tolerance: of the outlines, in pixels.
    """
    check_opacity(opacity)
    height, width = (int(length) for length in size)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    ]
    if photo is not None:
        href = quoteattr(_url(path_text("photo", photo)))
        lines.append(f'<image href={href} width="{width}" height="{height}"/>')
    stroke = round(outline_width(size), 2)
    paths = []
    for index, mask in enumerate(masks):
        polygons = trace_polygons(mask, tolerance)
        rings = [ring for polygon in polygons for ring in polygon.tolist()]
        if not rings:
            continue
        data = "".join("M" + " ".join(f"{x},{y}" for x, y in ring) + "Z" for ring in rings)
        colour = "#{:02x}{:02x}{:02x}".format(*mask_colour(index))
        title = f"<title>{escape(titles[index])}</title>" if titles else ""
        path = (
            f'<path id="mask-{index + 1}" fill="{colour}" fill-opacity="{opacity}" fill-rule="evenodd" '
            f'stroke="{colour}" stroke-width="{stroke}" stroke-linejoin="round" d="{data}">{title}</path>'
        )
        paths.append((sum(polygon.area for polygon in polygons), path))
    lines += [path for _, path in sorted(paths, key=lambda item: -item[0])]
    return "\n".join([*lines, "</svg>\n"])


def label_map(masks: Masks, size: tuple[int, int]) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """One number for each pixel: 0 where no mask is, otherwise that of the mask, from 1 on; smaller masks win.

    Returns:
        uint8 (H, W), or uint16 for more than 255 masks.

    Example:
        >>> label_map([np.array([[1, 1, 1]]), np.array([[0, 1, 0]])], (1, 3))
        array([[1, 2, 1]], dtype=uint8)
    """
    if len(masks) > np.iinfo(np.uint16).max:
        raise EvsamError(f"masks: expected at most {np.iinfo(np.uint16).max} for a label map, got {len(masks)}")
    labels = np.zeros(size, np.uint8 if len(masks) <= np.iinfo(np.uint8).max else np.uint16)
    extents = [_C.mask_extent(mask_pixels(mask)) for mask in masks]
    for index in sorted(range(len(masks)), key=lambda index: -extents[index][0]):
        x0, y0, x1, y1 = extents[index][1]
        window = np.s_[y0:y1, x0:x1]
        labels[window][mask_pixels(masks[index])[window].view(np.bool_)] = index + 1
    return labels


def label_picture(masks: Masks, size: tuple[int, int]) -> Image.Image:
    """The label map as a picture, which ``numpy.asarray`` turns back into the label map.

    It is in colours whose numbers are the labels (mode P), a single mask white on black; and in 16-bit grey for more
    than 255 masks.
    """
    labels = label_map(masks, size)
    picture = Image.fromarray(labels)
    if labels.dtype == np.uint8:
        colours = [(255, 255, 255)] if len(masks) == 1 else [mask_colour(index) for index in range(255)]
        picture = picture.convert("L")
        picture.putpalette([0, 0, 0, *(value for colour in colours for value in colour)])
    return picture


def one_each(name: str, texts: object, count: int) -> list[str]:
    """A list of as many texts as masks, from one for all or from a sequence of them.

    Raises:
        EvsamError: it is neither; the message calls it by ``name``.
    """
    given: list[Any] = [None]
    if isinstance(texts, str):
        given = [texts] * count
    elif isinstance(texts, Iterable):
        with contextlib.suppress(TypeError):  # of arrays without axes
            given = list(islice(texts, count + 1))
    if len(given) != count or not all(isinstance(text, str) for text in given):
        raise EvsamError(f"{name}: expected a text, or one for each of {count} masks, got {shown(texts)}")
    return given


def _url(photo: str) -> str:
    """A path as a URL, or a URL with what must not stand in one escaped."""
    if _SCHEME.match(photo):
        return quote(photo, safe=string.punctuation)
    return quote(os.fsencode(photo.replace(os.sep, "/")), safe="/&+=,;@!()~")


def _coco_segmentation(pixels: npt.NDArray[np.uint8], tolerance: float | None) -> Rle | list[list[int]]:
    if tolerance is not None:
        polygons = trace_polygons(pixels, tolerance)
        if not any(polygon.holes for polygon in polygons):
            return [polygon.outer.ravel().tolist() for polygon in polygons]
    return encode_rle(pixels)


def _png_text(pixels: npt.NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels * np.uint8(255)).convert("1").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
