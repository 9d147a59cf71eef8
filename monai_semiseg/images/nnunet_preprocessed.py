"""Images that nnU-Net has preprocessed: ``.b2nd`` (Blosc2) and ``.npz`` files."""

from __future__ import annotations

import importlib
import inspect
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.data import ImageReader
from monai.utils import MetaKeys
from numpy.typing import NDArray

from monai_semiseg.errors import ChannelError, ConfigError, FormatError, NonFiniteError

_SUFFIXES = (".b2nd", ".npz")
_LABEL = "_seg.b2nd"


def preprocessed_files(folder: str | Path) -> list[Path]:
    """Return the images of a folder that nnU-Net has preprocessed, sorted; none of another one."""
    files = [file for file in sorted(Path(folder).glob("*")) if file.suffix in _SUFFIXES]
    return [file for file in files if not file.name.endswith(_LABEL)]


def read_preprocessed(path: str | Path) -> NDArray[np.float32]:
    """Read one image, shape ``(channels, z, y, x)``; nothing pickled is read.

    Raises:
        ConfigError: If a ``.b2nd`` is to be read without the package blosc2.
        FormatError: If it is damaged or holds something else.
        NonFiniteError: If a voxel is not finite.
    """
    file = Path(path)
    try:
        array = _blosc2(file) if file.suffix == ".b2nd" else _npz(file)
    except (OSError, EOFError, KeyError, ValueError, RuntimeError, TypeError, *_ZIPPED) as error:
        raise FormatError(
            f"cannot be read ({type(error).__name__}: {str(error)[:100]})",
            expected="an image that nnUNetv2_preprocess wrote",
            remedy="preprocess the dataset again",
            path=file,
        ) from error
    if array.ndim != 4 or array.dtype.kind not in "fiu":
        raise FormatError(
            f"an array of shape {array.shape}, {array.dtype}",
            expected="numbers (channels, z, y, x)",
            path=file,
        )
    if not np.isfinite(array).all():
        raise NonFiniteError("NaN or infinite voxels", expected="finite numbers", path=file)
    return array.astype(np.float32)


_ZIPPED = (zipfile.BadZipFile, zlib.error)


def _npz(file: Path) -> NDArray[Any]:
    with np.load(file, allow_pickle=False) as content:
        return np.asarray(content["data"])


def _blosc2(file: Path) -> NDArray[Any]:
    """Read an array; recipes that would run code when they are opened are refused."""
    try:
        blosc2 = importlib.import_module("blosc2")
    except ImportError as error:
        raise ConfigError(
            f"blosc2 is needed for {file.name} ({error})",
            expected="the optional packages",
            remedy="pip install 'monai_semiseg[nnunet]'",
        ) from error
    if "deserialize" not in inspect.signature(blosc2.open).parameters:
        raise ConfigError(
            f"blosc2 {blosc2.__version__} runs code that a .b2nd may hold",
            expected="a version that can refuse it",
            remedy="pip install -U blosc2",
        )
    return np.asarray(blosc2.open(str(file), mode="r", deserialize="safe")[:])


class PreprocessedReader(ImageReader):
    """Reader of nnU-Net's preprocessed images for ``LoadImaged``, channels first.

    Args:
        channels: names of the channels that are expected; an image with another number is refused.
    """

    def __init__(self, channels: Sequence[str] = ()) -> None:
        super().__init__()
        self.channels = tuple(channels)

    def verify_suffix(self, filename: Sequence[str] | str) -> bool:
        """Return True: errors are to be those of the file, not of other readers."""
        return True

    def read(self, data: Sequence[str] | str, **_: Any) -> list[Path]:
        """Keep the path of the file."""
        return [Path(name) for name in ([data] if isinstance(data, str | Path) else data)]

    def get_data(self, img: list[Path]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Read the file.

        Raises:
            InputError: If it cannot be read, or has other channels.
        """
        array = read_preprocessed(img[0])
        if self.channels and len(array) != len(self.channels):
            raise ChannelError(
                f"{len(array)} channels",
                expected=f"{len(self.channels)} ({', '.join(self.channels)})",
                path=img[0],
            )
        return array, {
            str(MetaKeys.ORIGINAL_CHANNEL_DIM): 0,
            str(MetaKeys.SPATIAL_SHAPE): np.asarray(array.shape[1:]),
            str(MetaKeys.AFFINE): np.eye(4),
        }
