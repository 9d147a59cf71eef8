"""Networks as files of other programs (TorchScript, ONNX, safetensors), read back and compared."""

from __future__ import annotations

import copy
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit.frontend import FrontendError

from monai_semiseg.errors import ConfigError, OutputError
from monai_semiseg.networks.outputs import finest
from monai_semiseg.networks.weight_files import read_state_dict, save_weights
from monai_semiseg.networks.weights import unwrapped
from monai_semiseg.storage.files import atomic_path

# Names of files by format, and the packages of the extra ``export`` that a format needs.
SUFFIXES = {
    "torchscript": (".ts", ".pt", ".pth"),
    "onnx": (".onnx",),
    "safetensors": (".safetensors",),
}
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime")}
# Largest difference of logits, relative to the largest logit, by which rounding explains it.
TOLERANCE = 1e-3

# Beginnings of what torch says of any network: of its own parts, of tracing, of every size that
# Python reads. The file is compared with the network afterwards.
STANDING_NOTICES = (
    r"`torch\.jit\.\w+` is deprecated",
    r"Converting a tensor to a (Python|NumPy) ",
    r"torch\.(from_numpy|tensor) results are registered as constants",
    r"The TorchScript type system doesn't support instance-level annotations",
    r"__array_wrap__ must accept context",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


@dataclass(frozen=True)
class Exported:
    """A network in a file that was read back.

    Attributes:
        path: the file.
        difference: largest absolute difference between its logits and the network's.
        largest: largest absolute logit of the network.
        how: how it was made, in a few words.
    """

    path: Path
    difference: float
    largest: float
    how: str

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.how}; largest difference {self.difference:.2g} "
            f"(logits up to {self.largest:.3g})"
        )


def require_format(kind: str, path: Path) -> None:
    """Require a format, a file name that fits it, and the packages that it needs.

    Raises:
        ConfigError: If there is no such format, the name has another suffix, or a package is not
            installed.
    """
    if kind not in SUFFIXES:
        raise ConfigError(f"format {kind!r}", expected=f"one of {', '.join(SUFFIXES)}")
    if path.suffix not in SUFFIXES[kind]:
        raise ConfigError(
            f"{kind} in a file *{path.suffix}",
            expected=f"a name that ends in {' or '.join(SUFFIXES[kind])}",
            path=path,
        )
    absent = [name for name in PACKAGES.get(kind, ()) if importlib.util.find_spec(name) is None]
    if absent:
        raise ConfigError(
            f"{kind} needs {', '.join(absent)}, not installed here",
            expected="the packages of the extra export",
            remedy="pip install 'monai_semiseg[export]'",
        )


def export_network(network: nn.Module, image: Tensor, path: Path, kind: str) -> Exported:
    """Write a network with its weights, read the file back, and compare both on an image.

    The file appears under its name only if the logits agree.

    Args:
        network: with its weights; a copy in evaluation mode on the CPU is exported, which returns
            one map of logits (:func:`~monai_semiseg.networks.outputs.finest`).
        image: ``(B, C, spatial...)``; ONNX and traced TorchScript take images of this size.
        path: file to write.
        kind: ``torchscript``, ``onnx`` or ``safetensors`` (weights alone, for the same class).

    Raises:
        ConfigError: If a package is absent, or the format cannot express the network.
        OutputError: If the file cannot be written, or gives other logits.
    """
    require_format(kind, path)
    plain = copy.deepcopy(unwrapped(network)).cpu().eval()
    image = image.cpu().float()
    with torch.no_grad():
        expected = finest(plain(image), image.ndim - 2)
    with atomic_path(path) as part:
        how, found = _WRITERS[kind](plain, image, part)
        difference = float((found - expected).abs().max())
        largest = float(expected.abs().max())
        if not difference <= TOLERANCE * max(largest, 1e-6):
            raise OutputError(
                f"the file's logits differ by {difference:.2g} (largest logit {largest:.3g})",
                expected=f"at most {TOLERANCE} of the largest",
                remedy="take another format for this network",
                path=path,
            )
    return Exported(path, difference, largest, how)


class OneOutput(nn.Module):
    """Network that returns the finest of its outputs.

    Args:
        network: any network.
        axes: of the images, 2 or 3.
    """

    def __init__(self, network: nn.Module, axes: int) -> None:
        super().__init__()
        self.network = network
        self.axes = axes

    def forward(self, images: Tensor) -> Tensor:
        """Return logits ``(B, classes, spatial...)``."""
        return finest(self.network(images), self.axes)


jit: Any = torch.jit  # its functions have no types


@contextmanager
def _without_notices() -> Iterator[None]:
    """Silence what is said of any network."""
    with warnings.catch_warnings():
        for message in STANDING_NOTICES:
            warnings.filterwarnings("ignore", message=message)
        yield


def _torchscript(network: nn.Module, image: Tensor, part: Path) -> tuple[str, Tensor]:
    with _without_notices():
        script, how = _scripted(network, image)
        script.save(str(part))
        with torch.no_grad():
            found: Tensor = jit.load(str(part))(image)
    return how, found


def _scripted(network: nn.Module, image: Tensor) -> tuple[Any, str]:
    """Compile a network, or trace what cannot be compiled."""
    with torch.no_grad():
        returns_one = isinstance(network(image), Tensor)
    if returns_one:
        try:
            return jit.script(network), "TorchScript, for images of any size"
        except (FrontendError, RuntimeError, TypeError, AttributeError, ValueError, OSError):
            pass  # it uses Python that TorchScript does not have
    size = _size(image)
    traced = jit.trace(OneOutput(network, image.ndim - 2), image, check_trace=False)
    return traced, f"TorchScript, traced with images of {size}"


def _onnx(network: nn.Module, image: Tensor, part: Path) -> tuple[str, Tensor]:
    import onnxruntime
    from monai.networks.utils import convert_to_onnx

    single = OneOutput(network, image.ndim - 2)
    names = {"input_names": ["image"], "output_names": ["logits"]}
    # One file: by default the exporter puts weights into a second one.
    options = {"external_data": False, "verbose": False, **names}
    with _without_notices():
        convert_to_onnx(single, (image,), filename=str(part), **options)
    session = onnxruntime.InferenceSession(str(part), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
    return f"ONNX, for images of {_size(image)}", torch.from_numpy(found)


def _safetensors(network: nn.Module, image: Tensor, part: Path) -> tuple[str, Tensor]:
    fresh = copy.deepcopy(network)
    for value in (*fresh.parameters(), *fresh.buffers()):
        value.data.zero_()
    save_weights(network.state_dict(), part)
    state = read_state_dict(part)
    fresh.load_state_dict(state)
    with torch.no_grad():
        return f"{len(state)} tensors", finest(fresh(image), image.ndim - 2)


def _size(image: Tensor) -> str:
    return " x ".join(map(str, image.shape[2:]))


_WRITERS: dict[str, Callable[[nn.Module, Tensor, Path], tuple[str, Tensor]]] = {
    "torchscript": _torchscript,
    "onnx": _onnx,
    "safetensors": _safetensors,
}
