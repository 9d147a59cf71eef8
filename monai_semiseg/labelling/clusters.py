"""Centres, clusters and densities of points, for strategies that choose some of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Indices = NDArray[np.integer]

_MOST_SWAPS = 200
_NEIGHBOURS = 20  # of Hacohen et al.


def k_medoids(distances: Array, count: int, covered: Array) -> list[int]:
    """Choose points with the smallest sum of distances from each point to its nearest chosen one.

    BUILD and SWAP of Kaufman and Rousseeuw (Finding groups in data, 1990): points are added one by
    one, then the best exchange of a chosen point for another is made as long as one helps.

    Args:
        distances: ``(points, points)``.
        count: points to choose.
        covered: distance of each point to the nearest one that is chosen already, or infinite.

    Returns:
        Their indices; the one that is nearest to most points is the first.
    """
    chosen: list[int] = []
    nearest = covered
    for _ in range(count):
        costs = np.minimum(nearest[:, None], distances).sum(0)
        costs[chosen] = np.inf
        chosen.append(int(costs.argmin()))
        nearest = np.minimum(nearest, distances[:, chosen[-1]])
    for _ in range(_MOST_SWAPS):
        swap = _best_swap(distances, chosen, covered)
        if swap is None:
            break
        chosen[swap[0]] = swap[1]
    followers = np.bincount(distances[:, chosen].argmin(1), minlength=count)
    return [chosen[n] for n in np.argsort(-followers, kind="stable")]


def _best_swap(distances: Array, chosen: Sequence[int], covered: Array) -> tuple[int, int] | None:
    """Return the place among the chosen and the point to put there; None if no swap helps."""
    cost = float(np.minimum(covered, distances[:, chosen].min(1)).sum())
    best = cost * (1 - 1e-9)
    swap = None
    for place in range(len(chosen)):
        others = [*chosen[:place], *chosen[place + 1 :]]
        left = np.minimum(covered, distances[:, others].min(1, initial=np.inf))
        costs = np.minimum(left[:, None], distances).sum(0)
        costs[others] = np.inf
        if costs.min() < best:
            best = float(costs.min())
            swap = place, int(costs.argmin())
    return swap


def farthest_first(
    distances: Array, count: int, covered: Array, weights: Array | None = None
) -> list[tuple[int, float]]:
    """Choose the point farthest from those before it, again and again (Gonzalez 1985).

    Args:
        distances: ``(points, points)``.
        count: points to choose.
        covered: as for :func:`k_medoids`; if it is infinite, the heaviest point is the first, or
            the medoid if none has a weight.
        weights: factor for the distance of every point; None is 1 for all.

    Returns:
        Indices, each with its weighted distance to those before it; that of the first is infinite
        if nothing was chosen before.
    """
    nearest = np.array(covered, np.float64)
    weight = np.ones(len(nearest)) if weights is None else np.asarray(weights, np.float64)
    found: list[tuple[int, float]] = []
    for _ in range(count):
        if np.isinf(nearest).all():
            first = distances.sum(0).argmin() if weights is None else weight.argmax()
            found.append((int(first), float("inf")))
        else:
            values = weight * nearest
            values[[index for index, _ in found]] = -1
            found.append((int(values.argmax()), float(values.max())))
        nearest = np.minimum(nearest, distances[:, found[-1][0]])
    return found


def k_means(points: Array, count: int, seed: int) -> Indices:
    """Return the cluster of every point, of scikit-learn's k-means.

    Args:
        points: ``(points, numbers)``.
        count: clusters; there are fewer if fewer points differ.
        seed: of the first centres.
    """
    from sklearn.cluster import KMeans

    count = min(count, len(np.unique(points, axis=0)))
    if count >= len(points):
        return np.arange(len(points))
    model = KMeans(count, n_init=10, random_state=seed)
    return np.asarray(model.fit_predict(np.asarray(points, np.float64)))


def natural_clusters(points: Array, seed: int, most: int = 10) -> Indices:
    """Return the cluster of every point, with as many clusters as have the best silhouette."""
    from sklearn.metrics import silhouette_score

    best, found = -1.0, np.zeros(len(points), int)
    for count in range(2, min(most, len(points) - 1) + 1):
        labels = k_means(points, count, seed)
        if len(np.unique(labels)) < 2:  # equal points
            break
        score = float(silhouette_score(points, labels))
        if score > best:
            best, found = score, labels
    return found


def typicality(points: Array) -> Array:
    """Return the typicality of every point among points (Hacohen et al., ICML 2022, eq. 4).

    ``1 / mean distance to the K nearest neighbours``, K is 20, or half of the points if these are
    few.
    """
    from sklearn.neighbors import NearestNeighbors

    count = min(_NEIGHBOURS, len(points) // 2)
    if count < 1:
        return np.ones(len(points))
    model = NearestNeighbors(n_neighbors=count).fit(points)
    near, _ = model.kneighbors()  # without the points themselves
    return np.asarray(1 / np.maximum(near.mean(1), 1e-12))


def allotted(sizes: Sequence[int], labels: Sequence[int], total: int) -> list[int]:
    """Share labels among clusters in proportion to their sizes, and return what each gets.

    A cluster without any label comes first, the largest of these before the others. Then the next
    label goes where ``size / (2 labels + 1)`` is largest (Sainte-Laguë). None gets more than it has
    scans.

    Args:
        sizes: scans without a label in each cluster.
        labels: labels that each has already.
        total: labels to share, at most the sum of the sizes.
    """
    given = [0] * len(sizes)
    for _ in range(total):
        claims = []
        for at, size in enumerate(sizes):
            held = labels[at] + given[at]
            claim = (size + labels[at]) / (2 * held + 1)
            claims.append((given[at] < size, held == 0, claim, -at))
        given[-max(claims)[-1]] += 1
    return given
