"""Reading, matching, checking and writing of network weights."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import torch
from torch import Tensor, nn

from monai_semiseg.errors import CheckpointError
from monai_semiseg.networks.inflation import adapted, shape_text
from monai_semiseg.storage.files import atomic_path, sha256_of, write_atomically

logger = logging.getLogger(__name__)
_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel, torch.compile
# The network's key in checkpoints of ours (the first), Lightning, nnU-Net, MONAI, timm and others.
_CONTAINERS = (
    "network",
    "state_dict",
    "model_state_dict",
    "network_state_dict",
    "net_state_dict",
    "network_weights",
    "model",
    "net",
    "ema",
    "ema_state_dict",
)
# Attributes under which a training's module holds the network.
_ATTRIBUTES = ("model.", "net.", "network.", "_model.")
_SAVE_PLAIN = (
    "where it was trained, torch.save(network.state_dict(), 'weights.pt'), and use that file"
)


@dataclass(frozen=True)
class Match:
    """Result of loading: tensors that were loaded, missing or unused.

    Attributes:
        loaded: names of the tensors that were loaded.
        missing: names in the network that the file does not have, or has in another shape.
        unused: names in the file that the network does not have, or has in another shape.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        total = len(self.loaded) + len(self.missing)
        text = f"{len(self.loaded)} of {total} tensors loaded"
        text += f"; missing or of another shape: {_few(self.missing)}" if self.missing else ""
        return text + (f"; not used: {_few(self.unused)}" if self.unused else "")


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a .pt or .safetensors file without executing code in it; checksums are verified.

    Raises:
        CheckpointError: If the file is absent, damaged, holds more than tensors and plain values,
            or is no dictionary.
    """
    file = Path(path)
    if not file.is_file():
        wanted = "a .pt or .safetensors file"
        remedy = "train first, or name the file that holds them"
        raise CheckpointError("no weights there", expected=wanted, remedy=remedy, path=file)
    try:
        content = _read(file)
    except Exception as error:  # a damaged stream makes torch's unpickler raise nearly anything
        found = "damaged, or more than tensors"
        remedy = f"copy the file again; or {_SAVE_PLAIN}"
        if pickled := re.search(r"GLOBAL ([\w.]+)", str(error)):
            found = f"holds a pickled {pickled[1]}, which only its code could load"
            remedy = _SAVE_PLAIN
        raise CheckpointError(
            found,
            expected="a state dict saved by torch or safetensors; code in weights is never run",
            remedy=remedy,
            path=file,
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"holds a {type(content).__name__}",
            expected="a state dict",
            remedy=_SAVE_PLAIN,
            path=file,
        )
    return {str(key): value for key, value in content.items()}


def _read(file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    if is_zipfile(file):
        # torch writes a checksum for every tensor, but does not verify it.
        with ZipFile(file) as archive:
            if (damaged := archive.testzip()) is not None:
                raise BadZipFile(f"{damaged} does not match its checksum")
    with torch.serialization.safe_globals(_numpy_scalars()):
        return torch.load(file, map_location="cpu", weights_only=True)


def _numpy_scalars() -> list[Any]:
    """Return the classes and functions that numbers of NumPy are pickled with; none runs code.

    Checkpoints of nnU-Net hold such numbers in their log.
    """
    kinds = (np.bool_, np.int32, np.int64, np.float16, np.float32, np.float64)
    scalar = np.float32(0).__reduce__()[0]
    former = (scalar, "numpy.core.multiarray.scalar")  # before NumPy 2
    return [scalar, former, np.dtype, *(type(np.dtype(kind)) for kind in kinds)]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a .pt or .safetensors file; no code in it is executed.

    A checkpoint that holds the network beside other things works as well as a plain state dict;
    the key is logged if the checkpoint is not one of ours. Prefixes of DistributedDataParallel and
    torch.compile are removed.

    Raises:
        CheckpointError: If the file is absent, damaged, holds more than tensors, or none, or a
            tensor is not finite.
    """
    content = read_checkpoint(path)
    where: list[str] = []
    while key := next((key for key in _CONTAINERS if isinstance(content.get(key), dict)), None):
        content = content[key]
        where.append(key)
    if where not in ([], ["network"]):
        logger.warning("%s: the weights under %r are used", path, "/".join(where))
    state = {
        _plain(str(name)): value for name, value in content.items() if isinstance(value, Tensor)
    }
    if content and not state:
        raise CheckpointError(
            f"no tensors under {'/'.join(where) or 'its keys'} {_few(tuple(map(str, content)))}",
            expected=f"a state dict, plain or under one of {', '.join(_CONTAINERS)}",
            remedy=_SAVE_PLAIN,
            path=path,
        )
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(f"{name} holds NaN or Inf", expected="finite weights", path=path)
    return state


def _plain(name: str) -> str:
    while wrapper := next((prefix for prefix in _WRAPPERS if name.startswith(prefix)), ""):
        name = name.removeprefix(wrapper)
    return name


def load_weights(network: nn.Module, path: str | Path, *, strict: bool = False) -> Match:
    """Load all tensors that agree in name and shape, and log how many, and what differs.

    Without ``strict``, weights for other axes (2-D, 3-D) or input channels are fitted first, as
    :func:`~monai_semiseg.networks.inflation.adapted` describes.

    Args:
        network: any network; a wrapper (DDP, compiled) is looked through.
        path: .pt or .safetensors.
        strict: require exactly the tensors of the network.

    Raises:
        CheckpointError: If nothing matches, or with ``strict`` if anything is missing or left over.
    """
    if strict:
        check_published(path)
    target = unwrapped(network)
    state = named_alike(target, read_state_dict(path))
    if not strict:
        state = adapted(state, target, path)
    match = match_weights(target, state)
    if not match.loaded or (strict and (match.missing or match.unused)):
        raise CheckpointError(
            f"the weights do not fit the network: {match}",
            expected=f"weights of the same network{_other_shape(target, state)}",
            remedy="use the --plan and settings that the weights were trained with; "
            "monai-semiseg weights match compares",
            path=Path(path),
        )
    target.load_state_dict({name: state[name] for name in match.loaded}, strict=False)
    for line in _left(target, state):
        logger.warning("%s: %s", path, line)
    logger.log(logging.WARNING if match.missing else logging.INFO, "%s: %s", path, match)
    return match


def _left(network: nn.Module, state: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield one line for each tensor that stays as it is since the file has it in another shape."""
    seen: set[int] = set()
    for name, own in network.state_dict().items():
        if name in state and state[name].shape != own.shape and own.data_ptr() not in seen:
            seen.add(own.data_ptr())  # some networks have one tensor under two names
            there, here = shape_text(state[name]), shape_text(own)
            yield f"{name} is left at its start: {there} in the file, {here} in the network"


def named_alike(network: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove a foreign training's prefix (``model.``) from tensor names if no name fits with it.

    The change is logged. The network has to decide: some networks' own names begin so too.

    Args:
        network: whose names are wanted.
        state: tensors by name.

    Returns:
        The tensors under that prefix by the network's names; all tensors if no prefix helps.
    """
    own = set(unwrapped(network).state_dict())
    found = dict(state)
    prefix = ""
    for _ in range(2):  # a module in a module
        if not own.isdisjoint(found):
            break
        inner = {front: _within(found, front) for front in _ATTRIBUTES}
        front = max(_ATTRIBUTES, key=lambda name: (len(own & inner[name].keys()), len(inner[name])))
        found = inner[front]
        prefix = prefix + front
    if not prefix or own.isdisjoint(found):
        return dict(state)
    left = len(state) - len(found)
    others = f"; {left} others are left out" if left else ""
    logger.warning(
        "foreign weights: prefix %r is removed from %d names%s", prefix, len(found), others
    )
    return found


def _within(state: Mapping[str, Tensor], front: str) -> dict[str, Tensor]:
    return {
        _plain(name.removeprefix(front)): value
        for name, value in state.items()
        if name.startswith(front)
    }


def _other_shape(network: nn.Module, state: Mapping[str, Tensor]) -> str:
    """Describe the first tensor that has another shape in the network."""
    for name, own in network.state_dict().items():
        if name in state and state[name].shape != own.shape:
            there, here = shape_text(state[name]), shape_text(own)
            return f"; {name} is {there} in the file, {here} in the network"
    return ""


def check_published(path: str | Path) -> None:
    """Verify the hash of a bundle's weights against ``weights_sha256`` in its metadata.

    Weights without metadata pass, and so do weights of an own training, which have a
    ``checkpoint.pt`` beside them.

    Raises:
        CheckpointError: If the file's hash is another one.
    """
    file = Path(path).resolve()
    if (file.parent / "checkpoint.pt").is_file() or not file.is_file():
        return
    for root in list(file.parents)[1:3]:
        meta = root / "configs" / "metadata.json"
        if not meta.is_file():
            continue
        hashes = json.loads(meta.read_text()).get("weights_sha256", {})
        published = hashes.get(file.relative_to(root).as_posix())
        if published is not None and published != (found := sha256_of(file)):
            raise CheckpointError(
                f"sha256 is {found[:12]}..., not the published {published[:12]}...",
                expected="the weights that configs/metadata.json names",
                remedy="get the bundle again; for own weights, remove their line in weights_sha256",
                path=Path(path),
            )


def match_weights(network: nn.Module, state: Mapping[str, Tensor]) -> Match:
    """Return what :func:`load_weights` would load: the tensors that agree in name and shape."""
    own = unwrapped(network).state_dict()
    fitting = [
        name for name, value in state.items() if name in own and own[name].shape == value.shape
    ]
    return Match(
        loaded=tuple(fitting),
        missing=tuple(name for name in own if name not in set(fitting)),
        unused=tuple(name for name in state if name not in set(fitting)),
    )


def save_weights(state: Mapping[str, Tensor], path: str | Path) -> None:
    """Write a state dict atomically, as safetensors if the name ends so, else as torch does.

    Raises:
        OutputError: If it cannot be written.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    if Path(path).suffix == ".safetensors":
        from safetensors.torch import save

        # Some networks have one tensor under two names (DynUNet), which safetensors refuses.
        write_atomically(path, save({name: value.clone() for name, value in plain.items()}))
    else:
        save_atomically(plain, path)


def save_atomically(content: Any, path: str | Path) -> None:
    """Write what torch can save, whole or not at all; equal content gives equal bytes.

    Given a name, torch would keep it within the file, and that of a temporary file is never the
    same.

    Raises:
        OutputError: If it cannot be written.
    """
    with atomic_path(path) as part, part.open("wb") as stream:
        torch.save(content, stream)


def unwrapped(network: nn.Module) -> nn.Module:
    """Return the network within DistributedDataParallel, torch.compile, both, or neither."""
    while True:
        inner = getattr(network, "_orig_mod", getattr(network, "module", None))
        if not isinstance(inner, nn.Module):
            return network
        network = inner
