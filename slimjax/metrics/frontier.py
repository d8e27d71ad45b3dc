"""Sizes and errors of many models: which of them some price chooses, and how good.

With ``Complexity = alpha * Size + Error`` each price alpha >= 0 chooses a point of the
lower convex hull. A point above the hull may still be the best of its size; a point is
*dominated* if another one is neither larger nor worse.
"""

import math
from collections.abc import Sequence

LEAST = 1e-12
"""Least error that counts, since logarithms are taken."""

Point = tuple[float, float]
"""Size and error."""


def lower_hull(points: Sequence[Point]) -> list[int]:
    """Returns the points that some price chooses, from the smallest size on.

    References:
        Andrew, "Another efficient algorithm for convex hulls in two dimensions", 1979.

    Examples:
        >>> lower_hull([(4, 1.0), (3, 1.9), (2, 2.0), (1, 4.0), (5, 1.0)])
        [3, 2, 0]
    """
    hull: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: points[i]):
        if hull and points[i][1] >= points[hull[-1]][1]:
            continue  # Larger and no better.
        while len(hull) > 1 and not _is_below(*(points[j] for j in (*hull[-2:], i))):
            hull.pop()
        hull.append(i)
    return hull


def _is_below(first: Point, middle: Point, last: Point) -> bool:
    """Whether the middle point lies below the line through the others."""
    wide, high = last[0] - first[0], last[1] - first[1]
    return (middle[1] - first[1]) * wide < (middle[0] - first[0]) * high


def find_prices(points: Sequence[Point]) -> dict[int, tuple[float, float]]:
    """Returns the prices between which each point of the hull is chosen.

    Examples:
        >>> find_prices([(4, 1.0), (2, 2.0), (1, 4.0)])
        {2: (2.0, inf), 1: (0.5, 2.0), 0: (0.0, 0.5)}
    """
    hull, prices = lower_hull(points), {}
    high = math.inf
    for i, after in zip(hull, [*hull[1:], None], strict=True):
        low = 0.0
        if after is not None:
            wide = points[after][0] - points[i][0]
            low = (points[i][1] - points[after][1]) / wide
        prices[i], high = (low, high), low
    return prices


def find_dominated(points: Sequence[Point]) -> set[int]:
    """Returns the points than which another one is no larger, no worse, and not equal.

    Examples:
        >>> find_dominated([(1, 3.0), (2, 2.0), (3, 2.5), (3, 2.0)])
        {2, 3}
    """
    pairs = list(enumerate(points))
    return {
        i
        for i, (size, error) in pairs
        if any(
            other[0] <= size and other[1] <= error and other != (size, error)
            for _, other in pairs
        )
    }


def find_corner(curves: Sequence[Sequence[Point]]) -> Point:
    """Returns the largest size and the largest error of all curves."""
    points = [point for curve in curves for point in curve]
    return max(size for size, _ in points), max(error for _, error in points)


def hypervolume(points: Sequence[Point], corner: Point) -> float:
    """Returns the area between points and a corner, both axes logarithmic.

    It is the area of all places that some point dominates, up to the corner; curves are
    compared with one corner for all (`find_corner`). More is better.

    Args:
        points: Sizes above 0, and errors; one below `LEAST` counts as that.
        corner: The largest size and error that count.

    References:
        Zitzler and Thiele, "Multiobjective optimization using evolutionary algorithms",
        1998.

    Examples:
        >>> e = math.e
        >>> round(hypervolume([(1, e), (e, 1)], corner=(e**2, e**2)), 6)
        3.0
    """
    right, top = (math.log(max(end, LEAST)) for end in corner)
    logs = sorted((math.log(size), math.log(max(e, LEAST))) for size, e in points)
    area, height = 0.0, top
    for x, y in logs:
        if x < right and y < height:
            area += (right - x) * (height - y)
            height = y
    return area
