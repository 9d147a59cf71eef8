"""Fuzz test of reading: damaged scans are read or refused, in bounded time and memory."""

from __future__ import annotations

import argparse
import collections
import gzip
import io
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage, generate_uid
from tqdm import tqdm

from monai_semiseg.benchmarks.measure import add_output, announce
from monai_semiseg.datasets.discover import find_cases, read_case
from monai_semiseg.errors import SemisegError
from monai_semiseg.images.volume import collect_warnings
from monai_semiseg.storage.tables import markdown_table, write_table

Files = dict[str, bytes]
_SLICE = {
    "Modality": "MR",
    "Rows": 5,
    "Columns": 6,
    "PixelSpacing": [1.0, 1.0],
    "SliceThickness": 2.0,
    "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
    "SamplesPerPixel": 1,
    "PhotometricInterpretation": "MONOCHROME2",
    "BitsAllocated": 16,
    "BitsStored": 12,
    "HighBit": 11,
    "PixelRepresentation": 0,
}


class Hang(BaseException):
    """Exception for a scan that takes longer than it may."""


def nifti(rng: np.random.Generator) -> Files:
    """Create a small scan of a random type, plain or compressed."""
    kinds: list[Any] = [np.uint8, np.int16, np.float32, np.float64]
    array = (100 * rng.random((6, 5, 4))).astype(kinds[rng.integers(4)])
    content = nib.Nifti1Image(array, np.diag([1.0, 1.2, 0.8, 1.0])).to_bytes()
    if rng.random() < 0.5:
        return {"scan.nii": content}
    return {"scan.nii.gz": gzip.compress(content, mtime=0)}


def dicom(rng: np.random.Generator) -> Files:
    """Create a small axial series."""
    series = generate_uid(entropy_srcs=["s"])
    study = generate_uid(entropy_srcs=["t"])
    files = {}
    for k in range(4):
        syntax = ExplicitVRLittleEndian if rng.random() < 0.5 else ImplicitVRLittleEndian
        slice_ = _slice(k, syntax)
        slice_.SeriesInstanceUID = series
        slice_.StudyInstanceUID = study
        slice_.PixelData = rng.integers(0, 4000, 30).astype("<u2").tobytes()
        stream = io.BytesIO()
        slice_.save_as(stream, enforce_file_format=True)
        files[f"{k}.dcm"] = stream.getvalue()
    return files


def _slice(number: int, syntax: str) -> pydicom.Dataset:
    """Create slice ``number`` of an axial MR series, without UIDs of the series and pixels."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(number)])
    slice_ = pydicom.Dataset()
    slice_.file_meta = meta
    slice_.SOPClassUID = meta.MediaStorageSOPClassUID
    slice_.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    slice_.InstanceNumber = number + 1
    slice_.ImagePositionPatient = [0.0, 0.0, 2.0 * number]
    for name, value in _SLICE.items():
        setattr(slice_, name, value)
    return slice_


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace some bytes."""
    data = bytearray(content)
    for index in rng.integers(0, len(data), rng.integers(1, 12)):
        data[index] = int(rng.integers(256))
    return bytes(data)


def header_flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace bytes of the header (sizes, types, geometry), within the compression if any."""
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(header_flipped(gzip.decompress(content), rng), mtime=0)
    front = min(len(content), 348)
    return flipped(content[:front], rng) + content[front:]


def odd_numbers(content: bytes, rng: np.random.Generator) -> bytes:
    """Replace numbers of the header by unexpected ones: huge, negative, not finite."""
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(odd_numbers(gzip.decompress(content), rng), mtime=0)
    values: list[Any] = [
        np.float32(np.nan),
        np.float32(np.inf),
        np.float32(-1e30),
        np.int16(-1),
        np.int16(32767),
        np.int32(-7),
    ]
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        part = values[rng.integers(len(values))].tobytes()
        start = int(rng.integers(0, max(1, min(len(data), 348) - 4))) // 2 * 2
        data[start : start + len(part)] = part
    return bytes(data)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off the end."""
    return content[: int(rng.integers(0, len(content)))]


def shuffled(content: bytes, rng: np.random.Generator) -> bytes:
    """Copy a part of the file to another position."""
    *ends, to = map(int, rng.integers(0, len(content), 3))
    part = content[min(ends) : max(ends)]
    return content[:to] + part + content[to:]


MUTATIONS: list[Callable[[bytes, np.random.Generator], bytes]] = [
    flipped,
    header_flipped,
    odd_numbers,
    cut,
    shuffled,
]


def mutated(seed: int) -> tuple[str, Files]:
    """Return input number ``seed``: a sound scan with one damaged file."""
    rng = np.random.default_rng(seed)
    kind, make = ("nifti", nifti) if seed % 2 else ("dicom", dicom)
    files = make(rng)
    name = sorted(files)[rng.integers(len(files))]
    files[name] = MUTATIONS[rng.integers(len(MUTATIONS))](files[name], rng)
    return kind, files


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise :class:`Hang` if the block takes longer."""

    def late(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(files: Files, folder: Path, seconds: float) -> str:
    """Read the files; return ``read``, an error code, ``hang``, or another exception's name."""
    for name, content in files.items():
        (folder / name).write_bytes(content)
    try:
        with time_limit(seconds), find_cases([str(folder)], progress=False) as found:
            for case in found.cases:
                if case.fault is not None:
                    raise case.fault
                read_case(case)
            return "read" if found.cases else "skipped"
    except SemisegError as error:
        return error.code
    except Hang:
        return "hang"
    except Exception as error:  # noqa: BLE001  # the fuzz test searches these
        return f"UNTYPED {type(error).__name__}"


def run(
    count: int, first: int = 0, seconds: float = 10.0, progress: bool = True
) -> dict[tuple[str, str], list[int]]:
    """Read ``count`` inputs, and return the seeds by (kind, outcome)."""
    found: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    with collect_warnings():
        for seed in tqdm(range(first, first + count), disable=not progress):
            kind, files = mutated(seed)
            with tempfile.TemporaryDirectory() as folder:
                found[kind, outcome(files, Path(folder), seconds)].append(seed)
    return dict(found)


def main() -> None:
    """Print and write the table; leave with 1 if anything was untyped or hung."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first input")
    parser.add_argument("--seconds", type=float, default=10.0, help="limit for one input")
    add_output(parser)
    args = parser.parse_args()
    announce(0.01 * args.count)
    found = run(args.count, args.first, args.seconds)
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table = [[*key, len(seeds), seeds[0]] for key, seeds in sorted(found.items())]
    write_table(args.output / "fuzz.csv", ["kind", "outcome", "count", "first_seed"], table)
    sys.stdout.write(markdown_table(["kind", "outcome", "count", "first seed"], table))
    sys.stdout.write(f"\nmost memory of the process: {megabytes:.0f} MB\n")
    sys.exit(any("UNTYPED" in o or o == "hang" for _, o in found))


if __name__ == "__main__":
    main()
