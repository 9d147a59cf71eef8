"""Search of files, folders and .zip archives for scans, by content and not by extension."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from monai_semiseg.datasets.case_channels import FILE_KINDS, grouped_by_channel
from monai_semiseg.datasets.case_names import CaseNames, without_suffix
from monai_semiseg.datasets.cases import Case, FoundCases, Row, Skipped
from monai_semiseg.datasets.channels import channel_fault, channel_groups
from monai_semiseg.datasets.dicom_cases import dicom_rows
from monai_semiseg.datasets.label_maps import has_label_name, is_label_map
from monai_semiseg.errors import (
    ConfigError,
    DicomError,
    FormatError,
    InputError,
    UnsupportedError,
)
from monai_semiseg.images.dicom_header import DicomHeader, read_header
from monai_semiseg.images.dicom_kinds import skip_reason
from monai_semiseg.images.formats import (
    broken_link,
    detect_format,
    files_under,
    may_be_scan,
    other_format,
)
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import Volume


def read_case(case: Case, *, nonfinite: float | None = None) -> Volume:
    """Read a case; an error that was found while listing is raised here.

    Raises:
        InputError: As for :func:`~monai_semiseg.images.scan.read_scan`.
    """
    if case.fault is not None:
        raise case.fault
    return read_scan(case.files, nonfinite=nonfinite)


def find_cases(
    inputs: str | Path | Sequence[str | Path],
    channel_names: Sequence[str] | None = None,
    *,
    each_frame: bool = False,
    progress: bool = True,
) -> FoundCases:
    """List every scan under ``inputs`` in one pass, without reading pixel data.

    Args:
        inputs: files, folders (searched to any depth) and .zip archives.
        channel_names: channels of the network, in their order. With several, files of one folder
            that are named after them (``p_FLAIR``, ``p_0000``, or ``FLAIR`` in the folder ``p``)
            are the channels of one case.
        each_frame: take every frame of a DICOM cine for a 2-D image; a cine fails if not.
        progress: show a progress bar.

    Returns:
        Cases in a stable order, and the skipped files. Each file of a scan or picture is one case;
        DICOM files are grouped into series.

    Raises:
        ConfigError: If an input does not exist.
    """
    roots = [Path(one) for one in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    for root in roots:
        if not root.exists():
            raise ConfigError(
                "does not exist", expected="a scan, a folder of scans or a .zip", path=root
            )
    found = FoundCases(each_frame=each_frame)
    files = [list(files_under(root)) for root in roots]
    rows: list[Row] = []
    bar: Bar = tqdm(
        total=sum(map(len, files)),
        desc="Looking at files",
        unit="file",
        disable=None if progress else True,
    )
    with bar:
        for root, members in zip(roots, files, strict=True):
            rows += _inspect_files(root, root, members, found, bar)
    wanted = tuple(channel_names or ())
    rows = grouped_by_channel(rows, wanted) if len(wanted) > 1 else _with_channel_errors(rows)
    names = CaseNames(many_roots=len(roots) > 1)
    for root, name, row in rows:
        if isinstance(row, Skipped):
            found.skipped.append(row)
        else:
            found.cases.append(replace(row, id=names.new_id(root, name)))
    found.cases.sort(key=lambda case: case.id)
    return found


SCAN_KINDS = ("nifti", "itk", "mgh")  # whose names tell contrasts; those of photographs do not
Bar: TypeAlias = "tqdm[Any]"


def _inspect_files(
    root: Path, base: Path, files: Sequence[Path], found: FoundCases, bar: Bar
) -> list[Row]:
    rows: list[Row] = []
    headers: list[DicomHeader] = []
    damaged: dict[Path, DicomError] = {}
    for file in files:
        try:
            rows += _inspect_file(root, base, file, found, headers, bar)
        except DicomError as error:
            damaged[file] = error
        except OSError as error:
            rows.append(_unreadable(root, file, f"cannot be opened ({error.strerror})"))
        bar.update()
    title = "series" if found.archives.holds(base) else root.resolve().name
    return rows + dicom_rows(root, base, title, headers, damaged, each_frame=found.each_frame)


def _inspect_file(
    root: Path, base: Path, file: Path, found: FoundCases, headers: list[DicomHeader], bar: Bar
) -> list[Row]:
    """Return the row of a file; add the header of a DICOM file to ``headers`` instead."""
    if not file.is_file():
        return [_not_a_file(root, file)]
    kind = detect_format(file)
    if kind in FILE_KINDS:
        # A file that the user names is always a case.
        label_name = file != root and has_label_name(file.relative_to(base))
        if label_name and is_label_map(file):
            return [(root, file, Skipped(file, "a label map, not a scan"))]
        return [(root, without_suffix(file), Case("", (file,), file, kind))]
    if kind == "zip":
        return _inspect_archive(root, base, file, found, bar)
    if file.name == "DICOMDIR":
        return [(root, file, Skipped(file, "DICOMDIR"))]
    header = read_header(file)
    if header is None and other_format(file):  # reading says what it is
        return [(root, without_suffix(file), Case("", (file,), file, ""))]
    if header is None:
        return [(root, file, Skipped(file, "not a scan"))]
    if reason := skip_reason(header):
        return [(root, file, Skipped(file, reason))]
    headers.append(header)
    return []


def _not_a_file(root: Path, file: Path) -> Row:
    if file.is_dir():
        fault = FormatError(
            "a folder that cannot be listed", expected="a readable folder", path=file
        )
        return root, file, Case("", (file,), file, "", fault=fault)
    if reason := broken_link(file):
        return _unreadable(root, file, reason)
    return root, file, Skipped(file, "not a regular file")


def _unreadable(root: Path, file: Path, reason: str) -> Row:
    """Return a case that fails, or a skipped file if the name is not that of a scan."""
    if not may_be_scan(file.name):
        return root, file, Skipped(file, reason)
    fault = FormatError(reason, expected="a file that can be read", path=file)
    return root, without_suffix(file), Case("", (file,), file, "", fault=fault)


def _inspect_archive(root: Path, base: Path, file: Path, found: FoundCases, bar: Bar) -> list[Row]:
    """Unpack an archive and inspect its files; an archive inside an archive is skipped."""
    if found.archives.holds(base):
        return [(root, file, Skipped(file, "an archive within an archive"))]
    stem = without_suffix(file)
    try:
        folder = found.archives.unpack(file)
    except InputError as error:
        return [(root, stem, Case("", (file,), file, "zip", fault=error))]
    inner = _inspect_files(root, folder, list(files_under(folder)), found, bar)
    if not inner:
        return [(root, file, Skipped(file, "an empty archive"))]
    return [
        (root, stem / name.relative_to(folder), _as_in_archive(row, file, folder))
        for _, name, row in inner
    ]


def _as_in_archive(row: Case | Skipped, archive: Path, folder: Path) -> Case | Skipped:
    source = archive / row.source.relative_to(folder)
    if isinstance(row, Skipped):
        return replace(row, source=source)
    return replace(row, source=source, archive=archive, unpacked=folder)


def _with_channel_errors(rows: list[Row]) -> list[Row]:
    """Let the files of patients with several channels fail, as each is only one channel."""
    files = {
        row.source: name
        for root, name, row in rows
        if isinstance(row, Case) and row.kind in SCAN_KINDS and row.source != root
    }
    group_of = _group_of(files.values())
    checked: list[Row] = []
    for root, name, row in rows:
        if isinstance(row, Case) and row.source in files and name in group_of:
            row = replace(row, fault=_channel_error(*group_of[name], row.source))
        checked.append((root, name, row))
    return checked


def _group_of(names: Iterable[Path]) -> dict[Path, tuple[str, dict[str, str]]]:
    """Return the stem and the channels of the patient, for each name that is one of several."""
    folders: dict[Path, list[str]] = defaultdict(list)
    for name in names:
        folders[name.parent].append(name.name)
    group_of = {}
    for folder, members in folders.items():
        for stem, channels in channel_groups(members).items():
            group_of.update({folder / name: (stem, channels) for name in channels.values()})
    return group_of


def _channel_error(stem: str, channels: Mapping[str, str], path: Path) -> UnsupportedError:
    return UnsupportedError(
        channel_fault(stem, channels),
        expected="one file per patient, as the network has one channel",
        remedy="name the files to segment one by one; each is then a scan of its own",
        path=path,
    )
