"""Registration of two scans by an affine transform and demons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray


@dataclass(frozen=True)
class DemonsRegistration:
    """Registration by an affine transform, then by a displacement field of demons.

    The affine transform minimises the mean squared difference. Demons move every voxel along the
    gradients of both scans, weighted by the local difference, and smooth the whole field after
    every iteration: Thirion (Medical Image Analysis 1998), with the symmetric force of Vercauteren
    et al. (Diffeomorphic demons, NeuroImage 2009), as implemented in SimpleITK. Both steps need
    scans with similar intensities, such as z-scored scans of one sequence, in two or three
    dimensions. Equal scans give equal results for any number of threads.

    Attributes:
        affine_iterations: gradient steps at half the resolution.
        coarse_iterations: iterations of demons at half the resolution.
        fine_iterations: iterations of demons at full resolution.
        smoothing: standard deviation of the smoothing of the field, in voxels.
    """

    affine_iterations: int = 30
    coarse_iterations: int = 40
    fine_iterations: int = 30
    smoothing: float = 0.7

    def affine(self, fixed: sitk.Image, moving: sitk.Image) -> tuple[sitk.Transform, float]:
        """Return the transform from ``fixed`` to ``moving``, and the mean squared difference.

        If the scans do not overlap, the transform that aligns the centres is returned.
        """
        start = sitk.CenteredTransformInitializer(
            fixed,
            moving,
            sitk.AffineTransform(fixed.GetDimension()),
            sitk.CenteredTransformInitializerFilter.GEOMETRY,
        )
        found = sitk.AffineTransform(start)
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)  # a sum over threads depends on their number
        method.SetMetricAsMeanSquares()
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(2.0, 1e-3, self.affine_iterations)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetInitialTransform(found, inPlace=True)
        try:
            method.Execute(_halved(fixed), _halved(moving))
            return found, float(method.GetMetricValue())
        except RuntimeError:  # ITK's "all samples map outside the moving image"
            return start, float("inf")

    def deformable(
        self, fixed: sitk.Image, moving: sitk.Image, affine: sitk.Transform
    ) -> sitk.Transform:
        """Return the affine transform combined with the displacement field of demons."""
        moved = sitk.Resample(moving, fixed, affine, sitk.sitkLinear, _minimum(moving))
        field = self._demons(_halved(fixed), _halved(moved), self.coarse_iterations, None)
        field = self._demons(fixed, moved, self.fine_iterations, field)
        return sitk.CompositeTransform([affine, sitk.DisplacementFieldTransform(field)])

    def _demons(
        self, fixed: sitk.Image, moving: sitk.Image, iterations: int, field: Any
    ) -> sitk.Image:
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfThreads(1)
        demons.SetNumberOfIterations(iterations)
        demons.SetStandardDeviations(self.smoothing)
        if field is None:
            return demons.Execute(fixed, moving)
        return demons.Execute(
            fixed, moving, sitk.Resample(field, fixed, sitk.Transform(), sitk.sitkLinear, 0.0)
        )


def as_itk(array: NDArray[Any], spacing: Sequence[float]) -> sitk.Image:
    """Convert voxels ``(i, j[, k])`` to a SimpleITK image, float32; ``spacing`` is in mm."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T, dtype=np.float32))
    image.SetSpacing([float(step) for step in spacing])
    return image


def warp(moving: sitk.Image, fixed: sitk.Image, transform: sitk.Transform) -> NDArray[np.float32]:
    """Resample ``moving`` on the grid of ``fixed``, linearly; outside is its minimum."""
    moved = sitk.Resample(moving, fixed, transform, sitk.sitkLinear, _minimum(moving))
    return np.ascontiguousarray(sitk.GetArrayViewFromImage(moved).T)


def _minimum(image: sitk.Image) -> float:
    return float(sitk.GetArrayViewFromImage(image).min())


def _halved(image: sitk.Image) -> sitk.Image:
    """Smooth by one voxel and halve the resolution along the axes that are long enough."""
    factors = [2 if size >= 8 else 1 for size in image.GetSize()]
    return sitk.Shrink(sitk.DiscreteGaussian(image, 1.0, 32, 0.01, False), factors)
