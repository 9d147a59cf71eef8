"""Files of network weights: reading without running code, checking, writing."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

import numpy as np
import torch
from torch import Tensor

from monai_semiseg.errors import CheckpointError
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
_SAVE_PLAIN = (
    "where it was trained, torch.save(network.state_dict(), 'weights.pt'), and use that file"
)


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
        raise CheckpointError("no weights found", expected=wanted, remedy=remedy, path=file)
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
        without_wrappers(str(name)): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }
    if content and not state:
        raise CheckpointError(
            f"no tensors under {'/'.join(where) or 'its keys'} {few_of(list(map(str, content)))}",
            expected=f"a state dict, plain or under one of {', '.join(_CONTAINERS)}",
            remedy=_SAVE_PLAIN,
            path=path,
        )
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise CheckpointError(f"{name} holds NaN or Inf", expected="finite weights", path=path)
    return state


def without_wrappers(name: str) -> str:
    """Remove the prefixes of DistributedDataParallel and torch.compile from a tensor's name."""
    while wrapper := next((prefix for prefix in _WRAPPERS if name.startswith(prefix)), ""):
        name = name.removeprefix(wrapper)
    return name


def few_of(names: Sequence[str]) -> str:
    """Return the first three names as text, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


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
                remedy="download the bundle again; for your own weights, remove their line from "
                "weights_sha256",
                path=Path(path),
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
