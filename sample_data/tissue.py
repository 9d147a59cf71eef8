"""Synthetic stained tissue: glands among holes and clusters of nuclei, as a microscope shows them.

A gland is a pale lumen inside a rim of nuclei. A hole is as pale without a rim, and a cluster is as
dark without a lumen, so colour alone does not tell a gland.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from anatomy import Array, Blob, Waves, rotation
from numpy.typing import NDArray

LABELS = {0: "background", 255: "gland"}
SIZE = (128, 96)  # columns, rows
STROMA = (0.91, 0.68, 0.80)
NUCLEI = (0.46, 0.30, 0.58)
LUMEN = (0.95, 0.91, 0.95)


@dataclass(frozen=True)
class Photograph:
    """A photograph and its truth, both by column and row.

    Attributes:
        image: RGB, shape ``(columns, rows, 3)``.
        label: 0, and 255 in glands.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]

    @classmethod
    def draw(cls, seed: int, number: int) -> Photograph:
        """Make the photograph of this number; each has a random stream of its own."""
        rng = np.random.default_rng([seed, 1000 + number])
        index = np.indices(SIZE).reshape(2, -1).T
        points = np.concatenate([index, np.zeros((len(index), 1))], axis=1).astype(np.float64)
        colour = np.array(STROMA) + 0.05 * Waves.draw(rng, 25)(points)[:, None] * [0.4, 1.0, 0.6]
        nuclei = Waves.draw(rng, 9, count=16)(points) > 1.9
        colour[nuclei] = NUCLEI
        inside = np.zeros(len(points), dtype=bool)
        for blob, kind in _draw_blobs(rng):
            depth = blob.depth(points)
            _paint(colour, depth, LUMEN if kind == "hole" else NUCLEI)
            if kind == "gland":
                _paint(colour, depth - rng.uniform(2.5, 4.5), LUMEN)
                inside |= depth > 0
        return cls(
            _stained(colour, points, rng).reshape(*SIZE, 3),
            np.where(inside, 255, 0).astype(np.uint8).reshape(SIZE),
        )


def _draw_blobs(rng: np.random.Generator) -> list[tuple[Blob, str]]:
    """Return glands first, then what looks like parts of them, wherever there is room."""
    kinds = ["gland"] * int(rng.integers(3, 6)) + ["hole"] * 3 + ["cluster"] * 4
    blobs: list[tuple[Blob, str]] = []
    for kind in kinds:
        size = rng.uniform(9, 16) if kind == "gland" else rng.uniform(4, 7)
        centre = np.array([*rng.uniform(0, 1, 2) * SIZE, 0.0])
        radii = size * np.array([*rng.uniform(0.75, 1.3, 2), 1.0])
        near = (np.linalg.norm(centre - other.centre) for other, _ in blobs)
        room = (size + float(other.radii[:2].max()) + 5 for other, _ in blobs)
        if all(distance > needed for distance, needed in zip(near, room, strict=True)):
            pose = rotation([0.0, 0.0, rng.uniform(-np.pi, np.pi)])
            blobs.append((Blob.draw(rng, centre, pose, radii, rough=0.08), kind))
    return blobs


def _paint(colour: Array, depth: Array, value: tuple[float, float, float]) -> None:
    """Blend a structure in; about a pixel of its rim is mixed."""
    weight = 1 / (1 + np.exp(-np.clip(depth / 0.5, -30, 30)))[:, None]
    colour += weight * (np.array(value) - colour)


def _stained(colour: Array, points: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return 8-bit colours under this slide's stain, light and noise."""
    density = -np.log(np.clip(colour, 0.02, 1)) * rng.uniform(0.75, 1.3, 3)
    light = 1 + 0.06 * Waves.draw(rng, 160, count=4)(points)[:, None]
    values = np.exp(-density) * light * rng.uniform(0.9, 1.05)
    return np.clip(np.rint(255 * (values + rng.normal(0, 0.02, values.shape))), 0, 255).astype(
        np.uint8
    )
