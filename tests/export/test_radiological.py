"""Planes of a volume: what the pictures and the page of a review cut."""

from __future__ import annotations

import numpy as np
import pytest

from monai_semiseg.export.radiological import AS_TAKEN, VIEWS, View, plane


@pytest.mark.parametrize("view", [*VIEWS, AS_TAKEN], ids=lambda view: view.name or "photograph")
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_plane_is_cut_without_a_copy_of_the_volume(view: View, order: str) -> None:
    """Cut a slice without copying the CT: a copy takes a second, the slice a millisecond."""
    volume = np.arange(3 * 4 * 5).reshape((3, 4, 5), order=order)[:, ::-1]
    cut = plane(volume, view, 1)
    assert np.shares_memory(cut, volume)
    step = -1 if view.flipped else 1
    assert np.array_equal(cut, np.take(volume, 1, axis=view.axis).T[::step, ::step])
