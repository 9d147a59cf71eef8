"""A folder as ``predict`` leaves it: two scans and a photograph with masks, and a failed input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from monai_semiseg.export.measure import label_sizes
from monai_semiseg.export.nifti_mask import write_mask
from monai_semiseg.export.png_mask import write_png_mask
from monai_semiseg.export.report import CaseResult, write_report

NAMES = {0: "background", 1: "kidney", 2: "cyst"}
SHAPE = (20, 24, 16)  # in RAS
# Each axis points the other way than RAS, and the first two are swapped.
AFFINE = np.array([[0, -1.0, 0, 19], [-1.0, 0, 0, 23], [0, 0, -2.0, 30], [0, 0, 0, 1.0]])


def in_file_order(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of RAS axes in the order of :data:`AFFINE`."""
    return np.ascontiguousarray(array[::-1, ::-1, ::-1].transpose(1, 0, 2))


def kidney(number: int = 0) -> NDArray[np.uint8]:
    """Return a mask whose kidney is on the right, anterior and superior, with a cyst in it."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[12 : 18 - number, 14:21, 9:14] = 1
    mask[13:15, 15:18, 10:12] = 2
    return mask


def write_scan(folder: Path, name: str, number: int) -> tuple[Path, NDArray[np.uint8]]:
    """Write a scan of whole numbers, brighter in the kidney; return it and its mask."""
    mask = kidney(number)
    values = np.random.default_rng(number).integers(-900, -800, SHAPE) + 800 * (mask > 0)
    path = folder / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(in_file_order(values).astype(np.int16), AFFINE), path)
    return path, in_file_order(mask)


def write_photograph(folder: Path, name: str) -> tuple[Path, NDArray[np.uint8]]:
    """Write a photograph, red on the left; return it and its mask, ``(columns, rows, 1)``."""
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:, :20, 0] = 200
    pixels[:, 20:, 2] = 200
    path = folder / f"{name}.png"
    Image.fromarray(pixels).save(path)
    mask = np.zeros((40, 30, 1), np.uint8)
    mask[5:15, 8:20] = 1
    return path, mask


def write_run(root: Path) -> Path:
    """Write ``root/in`` and ``root/out``; in the order of doubt: b is flagged, a, c.

    Returns:
        The output folder.
    """
    out = root / "out"
    results = []
    for number, name in enumerate(("sub/a", "b")):
        scan, mask = write_scan(root / "in", name, number)
        path = write_mask(mask, AFFINE, out / f"{name}_seg.nii.gz", NAMES)
        volumes = dict(label_sizes(mask, AFFINE, NAMES))
        flags = ["field_of_view"] if name == "b" else []
        measures = {"kidney": {"mean_uncertainty": 0.25}}
        output = str(path.relative_to(out))
        results.append(
            CaseResult(
                str(scan), "done", output, flags=flags, volumes_ml=volumes, measures=measures
            )
        )
    picture, mask = write_photograph(root / "in", "c")
    write_png_mask(mask, out / "c_seg.png", NAMES)
    areas = {"kidney": 120.0, "cyst": 0.0}
    results.append(CaseResult(str(picture), "done", "c_seg.png", area_px=areas, is_picture=True))
    results.append(CaseResult("in/<b>cut.nii.gz", "failed", reason="ends too early"))
    about = {
        "inputs": [str(root / "in")],
        "label_names": {str(number): name for number, name in NAMES.items()},
        "channel_names": [],
    }
    write_report(results, out, NAMES, about)
    return out
