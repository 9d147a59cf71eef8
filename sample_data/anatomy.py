"""A synthetic body part: a nested organ among decoys, and how a site's scanner shows it.

Every structure is a function of a point in mm, so a scan on any grid, oblique or not, needs no
interpolation and its label map is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LABELS = {0: "background", 1: "shell", 2: "core"}


@dataclass(frozen=True)
class Site:
    """A scanner and its protocol.

    Attributes:
        muscle, stroma: the two tissues that everything lies in, as shares of the full scale.
        shell, core: the organ.
        vessel: a tube that runs through the scan.
        full_scale: stored value of intensity 1.
        noise: standard deviation of the noise in either channel, as a share of the full scale.
        bias: how far the gain strays over the field of view.
        dtype: of the stored voxels.
    """

    muscle: float
    stroma: float
    shell: float
    core: float
    vessel: float
    full_scale: float
    noise: float
    bias: float
    dtype: type[np.integer]


SITES = {
    "bright_core": Site(0.36, 0.52, 0.60, 0.80, 0.92, 210.0, 0.045, 0.12, np.uint8),
    "dark_core": Site(0.46, 0.30, 0.62, 0.44, 0.18, 150.0, 0.040, 0.20, np.uint8),
    "low_contrast": Site(0.42, 0.50, 0.55, 0.64, 0.72, 190.0, 0.030, 0.15, np.uint8),
    "inverted": Site(0.72, 0.58, 0.46, 0.26, 0.12, 900.0, 0.045, 0.10, np.int16),
}


@dataclass(frozen=True)
class Waves:
    """Return a smooth random field of mean 0 and variance 1: plane waves of one wavelength."""

    vectors: Array
    phases: Array

    @classmethod
    def draw(cls, rng: np.random.Generator, wavelength: float, count: int = 10) -> Waves:
        """Draw a field whose features are about half a ``wavelength`` (mm) in size."""
        vectors = rng.normal(size=(count, 3))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors *= 2 * np.pi / wavelength * rng.uniform(0.7, 1.4, size=(count, 1))
        return cls(vectors, rng.uniform(0, 2 * np.pi, size=count))

    def __call__(self, points: Array) -> Array:
        """The field at points of shape ``(n, 3)``."""
        total = np.zeros(len(points))
        for vector, phase in zip(self.vectors, self.phases, strict=True):
            total += np.cos(points @ vector + phase)
        return total * np.sqrt(2 / len(self.phases))


@dataclass(frozen=True)
class Blob:
    """A bent ellipsoid with a wavy surface; its first axis bends along its second."""

    centre: Array
    axes: Array
    radii: Array
    bend: float
    roughness: float
    waves: Waves

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        centre: Array,
        axes: Array,
        radii: Sequence[float] | Array,
        rough: float = 0.13,
    ) -> Blob:
        """Draw bend and surface of a blob of a given place, pose and size."""
        size = np.asarray(radii, dtype=np.float64)
        bend = float(rng.uniform(-0.45, 0.45))
        return cls(centre, axes, size, bend, rough, Waves.draw(rng, 1.5 * float(size.mean())))

    def depth(self, points: Array) -> Array:
        """About how far below the surface points lie, in mm; negative outside."""
        local = (points - self.centre) @ self.axes / self.radii
        local[:, 0] += self.bend * (local[:, 1] ** 2 - 0.5)
        wavy = 1 - np.sqrt((local**2).sum(axis=1)) + self.roughness * self.waves(points)
        return np.asarray(wavy * np.cbrt(self.radii.prod()))


@dataclass(frozen=True)
class Subject:
    """One body part, in mm around the middle of its scan."""

    shell: Blob
    core: Blob
    decoys: tuple[tuple[Blob, str], ...]
    vessel: tuple[Waves, Waves]
    tissue: Waves
    texture: Waves

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Subject:
        """Draw a body part."""
        axes = rotation(rng.uniform(-0.6, 0.6, 3))
        radii = np.array([9.0, 14.0, 10.5]) * rng.uniform(0.82, 1.15, 3) * rng.uniform(0.88, 1.12)
        centre = rng.uniform([-6, -5, -6], [6, 5, 6])
        inner = centre + axes @ (rng.uniform(-0.18, 0.18, 3) * radii)
        return cls(
            shell=Blob.draw(rng, centre, axes, radii),
            core=Blob.draw(
                rng,
                inner,
                axes @ rotation(rng.uniform(-0.3, 0.3, 3)),
                radii * rng.uniform(0.52, 0.72, 3),
            ),
            decoys=tuple(_draw_decoys(rng, centre, radii)),
            vessel=(Waves.draw(rng, 45), Waves.draw(rng, 45)),
            tissue=Waves.draw(rng, 20),
            texture=Waves.draw(rng, 5, count=16),
        )

    def label(self, points: Array) -> NDArray[np.uint8]:
        """Class of each point."""
        shell, core = self._nested(points)
        return np.where(core > 0, 2, np.where(shell > 0, 1, 0)).astype(np.uint8)

    def _nested(self, points: Array) -> tuple[Array, Array]:
        """Depths in shell and core; the core keeps 2.5 mm off the surface, more than a voxel."""
        shell = self.shell.depth(points)
        return shell, np.minimum(self.core.depth(points), shell - 2.5)

    def intensity(self, points: Array, site: Site, rng: np.random.Generator) -> Array:
        """Return a scan without noise and bias, about 0 to 1; its contrast varies a little."""
        tone = {
            name: getattr(site, name) + rng.normal(0, 0.015)
            for name in ("muscle", "stroma", "shell", "core")
        }
        image = np.full(len(points), tone["muscle"])
        _paint(image, 4 * self.tissue(points), tone["stroma"])
        for blob, name in self.decoys:
            _paint(image, blob.depth(points), tone[name] + rng.normal(0, 0.02))
        _paint(image, 1.5 - 6 * np.hypot(*(wave(points) for wave in self.vessel)), site.vessel)
        shell, core = self._nested(points)
        _paint(image, shell, tone["shell"])
        _paint(image, core, tone["core"])
        return image * (1 + 0.05 * self.texture(points))


def _draw_decoys(
    rng: np.random.Generator, centre: Array, radii: Array
) -> Iterator[tuple[Blob, str]]:
    """Organs around the target that share its intensities, but not its build."""
    for kind in rng.permutation(["plain", "plain", "swapped", "core", "core", "core"]):
        direction = rng.normal(size=3)
        away = centre + direction / np.linalg.norm(direction) * rng.uniform(15, 24)
        size = radii.mean() * (0.5 if kind == "core" else 1.0) * rng.uniform(0.6, 0.95, 3)
        pose = rotation(rng.uniform(-1.5, 1.5, 3))
        yield Blob.draw(rng, away, pose, size), "shell" if kind == "plain" else "core"
        if kind == "swapped":
            # Nested like the target, the other way round: intensity alone does not tell shell from
            # core.
            yield Blob.draw(rng, away, pose, size * 0.6), "shell"


def _paint(image: Array, depth: Array, value: float) -> None:
    """Blend a structure in; about a millimetre of its rim is mixed tissue."""
    weight = 1 / (1 + np.exp(-np.clip(depth / 0.35, -30, 30)))
    image += weight * (value - image)


def acquire(
    subject: Subject, site: Site, points: Array, rng: np.random.Generator
) -> NDArray[np.integer]:
    """Scan points of a subject: bias field, Rician noise, rounding to the site's voxel type."""
    clean = subject.intensity(points, site, rng)
    clean = (
        clean * (1 + site.bias * Waves.draw(rng, 110, count=4)(points)) * rng.uniform(0.85, 1.15)
    )
    noise = rng.normal(0, site.noise, size=(2, len(points)))
    values = np.hypot(clean + noise[0], noise[1]) * site.full_scale
    limit = np.iinfo(site.dtype).max
    return np.clip(np.rint(values), 0, limit).astype(site.dtype)


def rotation(angles: Sequence[float] | Array) -> Array:
    """Turns about x, y, z by angles in radians; angles of 0 give exactly the unit matrix."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        a, b = (axis + 1) % 3, (axis + 2) % 3
        turn[[a, a, b, b], [a, b, a, b]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        matrix = turn @ matrix
    return matrix
