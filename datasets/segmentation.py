"""Where on a picture the digit is: frames, sheets on a table, lines and shadows are no digits.

A picture is cut in two by a threshold: the ground, which most of its border shows, and objects on it. If the largest
object surrounds what may be a digit (a frame), or is itself a sheet of paper, the picture goes on inside of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy
import numpy.typing

from ..hints import missing_extra

Grey = numpy.typing.NDArray[numpy.float32]
Mask = numpy.typing.NDArray[numpy.bool_]

CONTRAST = 0.05
"""The least difference of brightness between a digit and its ground."""
NESTED = 4
"""Frames within frames that are looked into."""
PART = 0.2
"""The least height or width of a digit, in parts of the frame or sheet around it."""
SHEET = 0.9
"""How well a sheet of paper fills the quadrangle of its corners."""
TOUCHED = 0.5, 0.05, 0.75
"""If a digit touches a sheet's edge: what is filled of it, what may be outside, how much of its edge is there."""
AS_DARK = 0.7
"""The least contrast of a digit inside of what may be a stroke, in parts of that one's."""
EIGHT = numpy.ones((3, 3), bool)


class Found(NamedTuple):
    """The part of a picture that shows a digit on its ground; where the digit is, and any object; if it was framed."""

    brightness: Grey
    digit: Mask
    objects: Mask
    framed: bool


class Inside(NamedTuple):
    """The part of a picture inside of a frame or of a sheet of paper, with the paper gone on with.

    deepest: how far from its edges one can be on a sheet; strokes on it are thinner. certain: its form tells that it is
    no stroke.
    """

    brightness: Grey
    deepest: float
    certain: bool


def find_digit(brightness: Grey) -> tuple[Grey, bool] | None:
    """The ink of the digit on a picture, 0 where there is none of it, and whether a frame was around it.

    brightness: (height, width), from 0 to 1. None where nothing is to be seen. Raises MissingExtraError without SciPy.
    """
    try:
        from scipy import ndimage  # type: ignore[import-untyped]
    except ImportError:
        raise missing_extra("finding a digit on a picture", "scipy", "plot") from None
    found = _look(ndimage, numpy.pad(brightness, 1, mode="edge"), NESTED)  # a line has no slope
    return found if found is None else (_ink(ndimage, found), found.framed)


def _look(ndimage: Any, brightness: Grey, nested: int) -> Found | None:
    """Looks for a digit, inside of up to so many nested frames."""
    cut = _objects(ndimage, brightness)
    if cut is None:
        return None
    objects, lines = cut
    if lines.any():
        brightness = _gone_on(ndimage, brightness, ~ndimage.binary_dilation(lines, EIGHT, iterations=2))
    labels, count = ndimage.label(objects, EIGHT)
    boxes = ndimage.find_objects(labels)
    extents = numpy.array([[part.stop - part.start for part in box] for box in boxes])
    largest = int(extents.prod(axis=1).argmax())
    if nested and min(extents[largest]) >= 8:
        inside = _inside(ndimage, brightness, labels, boxes[largest], largest + 1)
        found = None if inside is None else _look(ndimage, inside.brightness, nested - 1)
        if (
            inside
            and found
            and _extent(found.digit) >= PART * max(extents[largest])
            and _depth(ndimage, found.digit) < inside.deepest
            and (
                inside.certain
                or _contrast(found.brightness, found.digit) > AS_DARK * _contrast(brightness, labels == largest + 1)
            )
        ):
            return found._replace(framed=True)
    areas = numpy.bincount(labels.ravel(), minlength=count + 1)[1:]
    at_edge = numpy.zeros(count + 1, bool)
    at_edge[numpy.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])] = True
    free = ~at_edge[1:]
    if (free & (extents.max(axis=1) >= PART * max(extents.max(axis=1)[~free], default=0))).any():
        areas = areas * free
    kept = areas >= max(0.03 * areas.max(), 1)
    return Found(brightness, numpy.concatenate([[False], kept])[labels], objects, False)


def _objects(ndimage: Any, brightness: Grey) -> tuple[Mask, Mask] | None:
    """Where a picture differs from its ground, and where by lines across all of it; None where it does not."""
    height, width = brightness.shape
    smooth = ndimage.gaussian_filter(brightness, max(height, width) / 250)
    slopes = numpy.gradient(smooth)
    steepness = slopes[0] ** 2 + slopes[1] ** 2  # soft shadows do not count
    if not steepness.sum() > 0:
        return None
    dark = smooth < (steepness * smooth).sum() / steepness.sum()  # halfway up the steepest slopes
    border = numpy.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]])
    objects: Mask = dark if border.mean() <= 0.5 else ~dark
    if not objects.any() or _contrast(brightness, objects) < CONTRAST:
        return None
    rest = _without_lines(ndimage, objects)
    if rest.sum() <= 0.1 * objects.sum():
        return objects, objects & False
    return rest, objects & ~rest


def _without_lines(ndimage: Any, objects: Mask) -> Mask:
    """What is left when thin lines across the whole picture are taken away, but not what crosses them."""
    across, down = _lines(ndimage, objects), _lines(ndimage, objects.T).T
    crossing = objects & ~across & ~down
    return crossing | _bridges(ndimage, across, crossing) | _bridges(ndimage, down.T, crossing.T).T


def _lines(ndimage: Any, objects: Mask) -> Mask:
    """Thin lines from the left to the right."""
    height, width = objects.shape
    end = max(1, width // 50)
    rows = objects[:, :end].any(axis=1) & objects[:, -end:].any(axis=1)
    if not rows.any():
        return numpy.zeros_like(objects)
    lines = _opened(ndimage, objects, max(3, width * 3 // 5), 1)
    lines &= ~_opened(ndimage, lines, max(1, height // 25) + 1, 0)
    lines &= ndimage.maximum_filter1d(rows, 5)[:, None]
    return lines


def _bridges(ndimage: Any, lines: Mask, crossing: Mask) -> Mask:
    """The parts of lines that have something above and below."""
    if not lines.any():
        return lines
    thickness = int(lines.sum(axis=0).max()) // max(ndimage.label(lines.any(axis=1))[1], 1)
    reach, given = thickness + 3, crossing.astype(numpy.uint8)
    above = ndimage.maximum_filter1d(given, reach, axis=0, origin=(reach - 1) // 2, mode="constant")
    below = ndimage.maximum_filter1d(given, reach, axis=0, origin=-(reach // 2), mode="constant")
    found: Mask = lines & ((above & below) > 0)
    return found


def _opened(ndimage: Any, mask: Mask, length: int, axis: int) -> Mask:
    """Runs of at least this length along an axis."""
    least = ndimage.minimum_filter1d(mask.astype(numpy.uint8), length, axis=axis, mode="constant")
    back = -1 if length % 2 == 0 else 0
    found: Mask = ndimage.maximum_filter1d(least, length, axis=axis, origin=back, mode="constant") > 0
    return found


def _inside(ndimage: Any, brightness: Grey, labels: Any, box: Any, label: int) -> Inside | None:
    """What is inside of the object of this label and box; None if it is neither frame nor sheet."""
    part = numpy.pad(brightness[box], 1, mode="edge")
    own = numpy.pad(labels[box] == label, 1)
    nested = numpy.pad(labels[box] > 0, 1) & ~own
    filled = ndimage.binary_fill_holes(own)
    holes = filled & ~own
    size = max(part.shape)
    fit = _fit(filled)
    sheet = fit >= SHEET and own.sum() >= 0.5 * filled.sum()
    pieces, _ = ndimage.label(holes)
    hole = ndimage.binary_fill_holes(pieces == numpy.bincount(pieces[holes], minlength=1).argmax()) & filled
    if _extent(nested & hole) >= PART * size and (not sheet or _fit(hole) >= SHEET):  # a frame, of whatever form
        region, paper = hole, hole & ~nested
    elif fit >= SHEET and not sheet:  # a frame that the digit touches
        depth = ndimage.distance_transform_edt(filled)
        region, paper = depth >= depth[holes].min(), holes
    elif (sheet and _extent(holes) >= PART * size) or (2 * min(part.shape) > size and _touched(ndimage, filled)):
        region, paper = _quadrangle(filled) | filled, own
    else:
        return None
    certain = paper is own or (region is hole and fit >= SHEET)
    deepest = _depth(ndimage, own) if paper is own else numpy.inf
    margin = max(2, size // 80)
    region = ndimage.binary_erosion(numpy.pad(region, 1), iterations=margin)[1:-1, 1:-1]
    paper = ndimage.binary_erosion(paper, iterations=margin) & region
    if not paper.any():
        return None
    return Inside(numpy.where(region, part, _gone_on(ndimage, part, paper)), deepest, certain)


def _contrast(brightness: Grey, mask: Mask) -> float:
    return float(abs(brightness[mask].mean() - brightness[~mask].mean()))


def _gone_on(ndimage: Any, brightness: Grey, known: Mask) -> Grey:
    """A picture with the nearest known value everywhere."""
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    gone_on: Grey = brightness[tuple(nearest)]
    return gone_on


def _depth(ndimage: Any, mask: Mask) -> float:
    """The radius of the largest circle in a mask."""
    return float(ndimage.distance_transform_cdt(numpy.pad(mask, 1), "taxicab").max())


def _extent(mask: Mask) -> int:
    """The height or width, the larger one, of what is True."""
    places = [numpy.flatnonzero(mask.any(axis=axis)) for axis in (0, 1)]
    return max(int(at[-1] - at[0]) + 1 if len(at) else 0 for at in places)


def _quadrangle(mask: Mask) -> Mask:
    """The quadrangle between the outermost points of a mask along the diagonals."""
    from PIL import Image, ImageDraw

    rows, columns = numpy.nonzero(mask)
    corners = [int(f(along)) for along in (rows + columns, rows - columns) for f in (numpy.argmin, numpy.argmax)]
    image = Image.new("1", mask.shape[::-1])
    points = [(int(columns[i]), int(rows[i])) for i in (corners[0], corners[2], corners[1], corners[3])]
    ImageDraw.Draw(image).polygon(points, fill=1, outline=1)
    return numpy.asarray(image, bool)


def _fit(mask: Mask) -> float:
    """How well a mask is a quadrangle: the part that it has in common with that of its corners."""
    quadrangle = _quadrangle(mask)
    return float((mask & quadrangle).sum() / max((mask | quadrangle).sum(), 1))


def _touched(ndimage: Any, mask: Mask) -> bool:
    """Whether a mask is a quadrangle into which something from outside reaches."""
    quadrangle = _quadrangle(mask)
    inner = ndimage.binary_erosion(quadrangle, EIGHT, iterations=2)
    edge = inner & ~ndimage.binary_erosion(inner, EIGHT)
    share, outside, covered = TOUCHED
    within = (mask & quadrangle).sum()
    return bool(
        within >= share * quadrangle.sum()
        and mask.sum() - within <= outside * mask.sum()
        and (mask & edge).sum() >= covered * max(edge.sum(), 1)
    )


def _ink(ndimage: Any, found: Found) -> Grey:
    """How much a digit differs from the ground, which is smoothed over a picture and may be lit unevenly."""
    brightness, digit, objects, _ = found
    reach = max(2, round(0.06 * _extent(digit)))
    near = ndimage.binary_dilation(digit, EIGHT, iterations=reach)
    near &= digit | ~ndimage.binary_dilation(objects & ~digit, EIGHT, iterations=2)
    ground = ~ndimage.binary_dilation(objects, EIGHT, iterations=reach)
    if ground.sum() < 0.05 * ground.size:
        ground = ~objects
    row, column = (at / max(brightness.shape) - 0.5 for at in numpy.indices(brightness.shape, numpy.float32))
    terms = numpy.stack([numpy.ones_like(row), row, column, row * row, row * column, column * column], axis=-1)
    some = numpy.flatnonzero(ground)[:: max(1, int(ground.sum()) // 4000)]
    light = numpy.linalg.lstsq(terms.reshape(-1, 6)[some], brightness.ravel()[some], rcond=None)[0]
    difference = terms @ light - brightness
    if difference[digit].mean() < 0:
        difference = -difference
    ink = numpy.where(near, difference, 0) / max(float(numpy.percentile(difference[digit], 90)), 1e-9)
    return numpy.clip(ink, 0, 1).astype(numpy.float32)
