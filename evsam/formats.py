"""Masks as files that other programs read: COCO's json, labelme's json, GeoJSON, SVG, and a picture of labels.

All functions take masks as arrays or RLEs and know nothing of predictions; what they give is plain Python, for json.
"""

from __future__ import annotations

import base64
import contextlib
import io
import math
import os
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import numpy.typing as npt
from PIL import Image

from evsam.arguments import path_text, shown
from evsam.errors import EvsamError
from evsam.overlay import OPACITY, Masks, check_opacity, mask_colour, outline_width
from evsam.polygons import Ring, signed_area, trace_polygons
from evsam.rle import MaskLike, Rle, compressed, encode_rle, mask_extent, mask_window

Names: TypeAlias = "str | Sequence[str]"
"""One name for all masks, or one for each."""

Affine: TypeAlias = tuple[float, float, float, float, float, float]
"""a, b, c, d, e, f of X = a x + b y + c, Y = d x + e y + f, in the order of rasterio's ``Affine``."""

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
    properties: Sequence[Mapping[str, Any]] | None = None,
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
        properties: further entries of the N annotations, or None.

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
        area, (x0, y0, x1, y1) = mask_extent(mask)
        if area == 0:
            continue
        annotation: dict[str, Any] = {
            "id": index + 1,
            "image_id": photo_id,
            "category_id": categories[names[index]],
            "segmentation": _coco_segmentation(mask, tolerance),
            "area": area,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "iscrowd": 0,
        }
        if scores is not None:
            annotation["score"] = float(scores[index])
        if properties is not None:
            annotation.update(properties[index])
        annotations.append(annotation)
    return {
        "images": [{"id": photo_id, "file_name": file_name, "height": int(size[0]), "width": int(size[1])}],
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
    }


def join_coco(documents: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One COCO document of several photos, from one of each, whose ``image_id`` all differ.

    Annotations are numbered from 1 through all photos; categories with the same name become one.
    """
    categories: dict[str, int] = {}
    images: list[Any] = []
    annotations: list[Any] = []
    for document in documents:
        numbers = {
            category["id"]: categories.setdefault(category["name"], len(categories) + 1)
            for category in document["categories"]
        }
        images += document["images"]
        for annotation in document["annotations"]:
            category = numbers[annotation["category_id"]]
            annotations.append({**annotation, "id": len(annotations) + 1, "category_id": category})
    named = [{"id": number, "name": name} for name, number in categories.items()]
    return {"images": images, "annotations": annotations, "categories": named}


def tracks_document(
    frames: Sequence[Sequence[Mapping[str, Any]]],
    size: tuple[int, int],
    *,
    file_names: Sequence[str],
    name: str = "object",
) -> dict[str, Any]:
    """The tracks of one video in the layout of YouTube-VIS, which is COCO's with a list over frames for each object.

    Args:
        frames: of each of N frames its tracks: mappings with ``id``, ``segmentation`` (an RLE, or None where the object
            is lost), ``score`` and ``lost``.
        size: height and width of the frames.
        file_names: N names.
        name: of the one category.

    Returns:
        ``info``, ``videos`` (one, with ``length`` and ``file_names``), ``annotations`` and ``categories``. Each object
        has one annotation, whose ``segmentations``, ``bboxes`` (x, y, width, height) and ``areas`` have N entries, None
        in frames where it is not to be seen. Beyond that layout it has N ``scores`` and N ``lost`` (None before it was
        shown), and ``score``, the mean where it is seen: so annotations also serve as results.
    """
    count = len(frames)
    annotations: dict[int, dict[str, Any]] = {}
    for index, tracks in enumerate(frames):
        for track in tracks:
            number = track["id"]
            if number not in annotations:
                annotations[number] = {
                    "id": number,
                    "video_id": 1,
                    "category_id": 1,
                    "iscrowd": 0,
                    "height": int(size[0]),
                    "width": int(size[1]),
                    "length": count,
                    **{key: [None] * count for key in ("segmentations", "bboxes", "areas", "scores", "lost")},
                }
            entry = annotations[number]
            entry["scores"][index], entry["lost"][index] = track["score"], track["lost"]
            if track["segmentation"] is not None:
                area, (x0, y0, x1, y1) = mask_extent(track["segmentation"])
                entry["segmentations"][index] = track["segmentation"]
                entry["bboxes"][index] = [x0, y0, x1 - x0, y1 - y0]
                entry["areas"][index] = area
    for entry in annotations.values():
        seen = [score for score, lost in zip(entry["scores"], entry["lost"], strict=True) if lost is False]
        entry["score"] = sum(seen) / len(seen) if seen else 0.0
    video = {"id": 1, "height": int(size[0]), "width": int(size[1]), "length": count, "file_names": list(file_names)}
    return {
        "info": {"description": "tracks of evsam, in the layout of YouTube-VIS"},
        "videos": [video],
        "annotations": list(annotations.values()),
        "categories": [{"id": 1, "name": name, "supercategory": name}],
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
        polygons = trace_polygons(mask, tolerance)
        shape: dict[str, Any] = {
            "label": names[index],
            "group_id": index + 1 if len(polygons) > 1 else None,
            "description": "" if scores is None else f"score {float(scores[index]):.3f}",
            "flags": {},
        }
        if any(polygon.holes for polygon in polygons):
            pixels, (x0, y0, x1, y1), _ = mask_window(mask)
            picture = _png_text(pixels)
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


def label_map(masks: Masks, size: tuple[int, int], *, numbers: Sequence[int] | None = None) -> npt.NDArray[np.int32]:
    """One number for each pixel: 0 where no mask is, otherwise that of the mask; smaller masks win.

    Args:
        masks: N masks (H, W).
        size: height and width.
        numbers: of the masks, N; by default from 1 on.

    Returns:
        int32 (H, W).

    Example:
        >>> label_map([np.array([[1, 1, 1]]), np.array([[0, 1, 0]])], (1, 3))
        array([[1, 2, 1]], dtype=int32)
    """
    labels = np.zeros(size, np.int32)
    areas = [mask_extent(mask)[0] for mask in masks]
    for index in sorted(range(len(masks)), key=lambda index: -areas[index]):
        pixels, (x0, y0, x1, y1), _ = mask_window(masks[index])
        labels[y0:y1, x0:x1][pixels.view(np.bool_)] = index + 1 if numbers is None else numbers[index]
    return labels


def label_picture(masks: Masks, size: tuple[int, int], *, numbers: Sequence[int] | None = None) -> Image.Image:
    """The label map as a picture, which ``numpy.asarray`` turns back into the label map.

    It is in colours whose numbers are the labels (mode P), a single mask with number 1 white on black; and in 16-bit
    grey for numbers above 255. The arguments are those of :func:`label_map`.

    Raises:
        EvsamError: numbers, or more masks, than 16 bits can tell.
    """
    highest = len(masks) if numbers is None else max(numbers, default=0)
    if highest > np.iinfo(np.uint16).max:
        raise EvsamError(f"masks: expected at most {np.iinfo(np.uint16).max} for a picture, got {highest}")
    labels = label_map(masks, size, numbers=numbers)
    if highest > np.iinfo(np.uint8).max:
        return Image.fromarray(labels.astype(np.uint16))
    picture = Image.fromarray(labels.astype(np.uint8))
    colours = [(255, 255, 255)] if highest == 1 else [mask_colour(index) for index in range(255)]
    picture.putpalette([0, 0, 0, *(value for colour in colours for value in colour)])
    return picture


def geojson_document(
    masks: Masks,
    *,
    properties: Sequence[Mapping[str, Any]] | None = None,
    transform: object = None,
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """A GeoJSON ``FeatureCollection`` (RFC 7946) with a Polygon or MultiPolygon, with its holes, for each mask.

    Args:
        masks: N masks (H, W). Empty ones have no feature, since their polygons would have no place.
        properties: of the N features, beside ``id`` and ``area``; or None.
        transform: from pixels to coordinates, see :func:`read_transform`; None leaves pixels, x to the right and y
            down, as in the photo.
        tolerance: of the outlines, in pixels (:func:`evsam.polygons.trace_polygons`); with 0 every polygon is valid in
            the sense of OGC's simple features.

    Returns:
        Features with ``id`` from 1, in the order of the masks. Coordinates are edges of pixels, moved by the transform;
        rings are closed; outer ones run anticlockwise and holes clockwise in the plane of the coordinates.

    Raises:
        EvsamError: transform is none, or a tolerance below 0.

    Example:
        >>> mask = np.zeros((4, 4), bool)
        >>> mask[1, 1:3] = True
        >>> north_up = (0.5, 0, 100, 0, -0.5, 60)  # a map whose upper left corner is at (100, 60)
        >>> geojson_document([mask], transform=north_up)["features"][0]["geometry"]["coordinates"]
        [[[100.5, 59.0], [101.5, 59.0], [101.5, 59.5], [100.5, 59.5], [100.5, 59.0]]]
    """
    affine = None if transform is None else read_transform(transform)
    features = []
    for index, mask in enumerate(masks):
        polygons = []
        for polygon in trace_polygons(mask, tolerance):
            rings = [simple for ring in (polygon.outer, *polygon.holes) for simple in _simple_rings(ring)]
            rings.sort(key=lambda ring: -signed_area(ring))  # the outer one has the only area above 0
            polygons.append([_coordinates(ring, affine) for ring in rings])
        if not polygons:
            continue
        geometry = {"type": "Polygon", "coordinates": polygons[0]}
        if len(polygons) > 1:
            geometry = {"type": "MultiPolygon", "coordinates": polygons}
        told = {"id": index + 1, "area": mask_extent(mask)[0], **({} if properties is None else properties[index])}
        features.append({"type": "Feature", "id": index + 1, "properties": told, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def read_transform(transform: object) -> Affine:
    """An affine transform from pixels of a photo to coordinates of a map.

    Args:
        transform: six numbers a, b, c, d, e, f of X = a x + b y + c and Y = d x + e y + f, where (x, y) = (0, 0) is the
            outer corner of the upper left pixel; or nine, of which the last are 0, 0, 1. That is the order of
            rasterio's ``Affine``, which can be given as it is (``dataset.transform``). GDAL's ``GetGeoTransform()``
            has another order, c, a, b, f, d, e: give ``Affine.from_gdal(*geotransform)``, or the numbers rearranged.

    Raises:
        EvsamError: it is none, or maps the photo to a line.
    """
    expected = "transform: expected six numbers a, b, c, d, e, f of X = a x + b y + c, Y = d x + e y + f"
    try:
        numbers = [float(value) for value in transform]  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise EvsamError(f"{expected}, got {shown(transform)}") from error
    if len(numbers) == 9 and numbers[6:] == [0, 0, 1]:
        del numbers[6:]
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise EvsamError(f"{expected}, got {shown(transform)}")
    a, b, c, d, e, f = numbers
    if a * e - b * d == 0:
        raise EvsamError(f"{expected} with a e - b d other than 0, got {shown(transform)}")
    if a and d and c == e == 0:  # no map is sheared like that, but a map that is not turned has these zeros in GDAL
        raise EvsamError(f"{expected}, got GDAL's order, {shown(transform)}: give Affine.from_gdal(*geotransform)")
    return a, b, c, d, e, f


def read_world_file(path: str | os.PathLike[str]) -> Affine:
    """The transform that a world file says (``.pgw``, ``.jgw``, ``.tfw``, ``.wld``), as :func:`read_transform` has it.

    Its six lines are a, d, b, e, and the coordinates of the middle of the upper left pixel.

    Raises:
        EvsamError: it is no such file.
        OSError: it cannot be read.
    """
    name = path_text("path", path)
    with open(name, encoding="utf-8-sig", errors="replace") as file:
        words = file.read(4096).replace(",", ".").split()
    try:
        a, d, b, e, x, y = map(float, words)
        return read_transform((a, b, x - (a + b) / 2, d, e, y - (d + e) / 2))
    except (ValueError, EvsamError) as error:
        raise EvsamError(f"{name}: expected a world file of six numbers, got {shown(' '.join(words))}") from error


def to_rle(mask: MaskLike) -> Rle:
    """The compressed RLE of a mask of any form."""
    return compressed(mask) if isinstance(mask, Mapping) else encode_rle(mask)


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


def _simple_rings(ring: Ring) -> list[Ring]:
    """A ring that meets itself in corners, where pixels touch at corners alone, as rings that do not.

    One of them has the sign of the whole; the others are around gaps, as holes that touch the outline in one point.
    """
    if len(np.unique(ring.astype(np.int64) @ (1 << 32, 1))) == len(ring):
        return [ring]
    places = [tuple(corner) for corner in ring.tolist()]
    rings: list[Ring] = []
    path: list[tuple[int, int]] = []
    at: dict[tuple[int, int], int] = {}
    for place in [*places, places[0]]:
        if place in at:
            rings.append(np.array(path[at[place] :], np.int32))
            for left in path[at[place] + 1 :]:
                del at[left]
            del path[at[place] + 1 :]
        else:
            at[place] = len(path)
            path.append(place)
    return rings


def _coordinates(ring: Ring, transform: Affine | None) -> list[list[float]]:
    """A closed ring, turned round where the transform mirrors."""
    if transform is None:
        closed: list[list[float]] = ring.tolist()
    else:
        a, b, c, d, e, f = transform
        x, y = ring.astype(np.float64).T
        closed = np.stack([a * x + b * y + c, d * x + e * y + f], 1).tolist()
        if a * e - b * d < 0:
            closed.reverse()
    return [*closed, closed[0]]


def _url(photo: str) -> str:
    """A path as a URL, or a URL with what must not stand in one escaped."""
    if _SCHEME.match(photo):
        return quote(photo, safe=string.punctuation)
    return quote(os.fsencode(photo.replace(os.sep, "/")), safe="/&+=,;@!()~")


def _coco_segmentation(mask: MaskLike, tolerance: float | None) -> Rle | list[list[int]]:
    if tolerance is not None:
        polygons = trace_polygons(mask, tolerance)
        if not any(polygon.holes for polygon in polygons):
            return [polygon.outer.ravel().tolist() for polygon in polygons]
    return to_rle(mask)


def _png_text(pixels: npt.NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels.view(np.bool_)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")
