"""Fallback for lack of memory: the same inference in steps that need less, with equal labels."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import Tensor, nn

from monai_semiseg.errors import ConfigError, MemoryLimitError
from monai_semiseg.storage.files import available_memory

logger = logging.getLogger(__name__)


class OutOfMemoryFallback:
    """Run an inferer; if memory runs out, run it again with less.

    Steps: as configured; sums of windows on the CPU; one window at a time. A window's output does
    not depend on the other windows of its batch, and sums are the same on every device, so all
    steps give the same labels. The step that worked is tried first for the next scan. In every
    step, the sums of all classes on the network's grid have to fit into the CPU's memory:
    :meth:`check` tells this before the work.

    Args:
        inferer: a ``SlidingWindowInferer``, or an inferer that holds one as its ``inferer``; others
            have one step only.
        classes: of the network's output.

    Raises:
        ConfigError: If the windows have no size, overlap wholly, or come none at a time.
    """

    def __init__(self, inferer: Inferer, classes: int) -> None:
        self.inferer = inferer
        self.windows = _windows_of(inferer)
        self.classes = classes
        self.step = 0
        _check_windows(self.windows)

    def steps(self, device: torch.device) -> list[dict[str, Any]]:
        """Return settings of the sliding windows, from the configured ones to the smallest."""
        if self.windows is None:
            return [{}]
        moved = [] if device.type == "cpu" else [{"device": torch.device("cpu")}]
        return [{}, *moved, {"device": torch.device("cpu"), "sw_batch_size": 1}]

    def needed(self, images: Tensor) -> int:
        """Return the bytes for the sums of all classes, and for averages over mirrored inputs."""
        kept = 2 if self.windows is self.inferer else 4
        return 4 * int(images[0, 0].numel()) * (kept * self.classes + 2 * images.shape[1])

    def check(self, images: Tensor) -> None:
        """Refuse a scan that is too large.

        Raises:
            MemoryLimitError: If even the last step would not fit.
        """
        needed = self.needed(images)
        free = available_memory()
        if needed > free:
            raise MemoryLimitError(
                f"a network input of {_size(images)} voxels and {self.classes} classes needs "
                f"{needed / 2**30:.1f} GiB",
                expected=f"at most the {free / 2**30:.1f} GiB that are free",
                remedy="use a machine with more memory, or crop the scan",
                path=_path(images),
            )

    def __call__(self, images: Tensor, network: nn.Module) -> Tensor:
        """Return the inferer's output.

        Raises:
            MemoryLimitError: If the last step needs too much as well.
        """
        self.check(images)
        steps = self.steps(images.device)
        cause = ""
        for number in range(self.step, len(steps)):
            try:
                with _set(self.windows, steps[number]):
                    output = torch.as_tensor(self.inferer(images, network))
                self.step = number
                return output
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            # Outside of the handler: the error's traceback holds the tensors that filled the
            # memory.
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            logger.warning(
                "out of memory for a scan of %s voxels; step %d of %d",
                _size(images),
                number + 1,
                len(steps),
            )
        raise MemoryLimitError(
            f"out of memory for a network input of {_size(images)} voxels ({cause})",
            expected="memory for the windows' sums of all classes",
            remedy="use a machine with more memory, or crop the scan",
            path=_path(images),
        )


def _windows_of(inferer: Any) -> SlidingWindowInferer | None:
    while inferer is not None and not isinstance(inferer, SlidingWindowInferer):
        inferer = getattr(inferer, "inferer", None)
    return inferer


def _check_windows(windows: SlidingWindowInferer | None) -> None:
    """Refuse settings that would fail every scan."""
    if windows is None:
        return
    sizes = [windows.roi_size] if isinstance(windows.roi_size, int) else list(windows.roi_size)
    overlaps = (
        [windows.overlap] if isinstance(windows.overlap, int | float) else list(windows.overlap)
    )
    if not all(0 <= overlap < 1 for overlap in overlaps):
        raise ConfigError(
            f"overlap {windows.overlap}", expected="0 to below 1", remedy="--overlap 0.5"
        )
    if any(size is not None and size == 0 for size in sizes) or windows.sw_batch_size < 1:
        raise ConfigError(
            f"windows of {windows.roi_size}, {windows.sw_batch_size} at a time",
            expected="a size of at least 1 voxel, at least one at a time",
        )


@contextmanager
def _set(windows: Any, settings: dict[str, Any]) -> Iterator[None]:
    before = {name: getattr(windows, name) for name in settings}
    for name, value in settings.items():
        setattr(windows, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(windows, name, value)


def _path(images: Tensor) -> str | None:
    name = getattr(images, "meta", {}).get("filename_or_obj")
    return None if name is None else str(name)


def _size(images: Tensor) -> str:
    return " x ".join(map(str, images.shape[2:]))


def out_of_memory(error: BaseException) -> bool:
    """Return True if an error says that memory ran out, on a GPU or a CPU."""
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
        word in str(error).lower() for word in words
    )
