"""Files, folders, trees and .zip archives -> a list of cases, by content and not by extension."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from monai_semiseg.datasets.case_names import CaseNames, without_suffix
from monai_semiseg.datasets.channels import channel_fault, channel_groups
from monai_semiseg.datasets.label_maps import is_label_map, names_a_label
from monai_semiseg.errors import (
    ConfigError,
    DicomError,
    FormatError,
    InputError,
    UnsupportedError,
)
from monai_semiseg.images.archive import Archives
from monai_semiseg.images.dicom_header import DicomHeader, read_header
from monai_semiseg.images.dicom_kinds import why_no_scan
from monai_semiseg.images.dicom_series import Series, group_series
from monai_semiseg.images.formats import (
    Kind,
    dangling,
    files_under,
    other_format,
    picture_kind,
    promises_scan,
    sniff,
)
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import Volume


@dataclass(frozen=True)
class Case:
    """One scan that was found.

    Attributes:
        id: unique name that mirrors the input tree (``Study1/12-T1post``); derived from paths,
            never from tags.
        files: the file, or all files of a DICOM series.
        source: what the user would recognise: the file, or the series' folder; for what lies in an
            archive, the archive's path and the path within.
        kind: ``nifti``, ``itk`` or ``dicom``.
        modality: as DICOM states it, else empty.
        fault: a fault that was seen while listing; reading the case raises it.
        archive: the archive that holds the files, if any.
        unpacked: the temporary folder that it was unpacked to.
    """

    id: str
    files: tuple[Path, ...]
    source: Path
    kind: Kind
    modality: str = ""
    fault: InputError | None = None
    archive: Path | None = None
    unpacked: Path | None = None

    def said(self, text: str) -> str:
        """Return a message about the case with the archive's path in place of the temporary folder."""
        return (
            text if self.unpacked is None else text.replace(str(self.unpacked), str(self.archive))
        )

    @property
    def image(self) -> str | list[str]:
        """What goes under the ``image`` key of a MONAI data dictionary."""
        return str(self.files[0]) if len(self.files) == 1 else [str(file) for file in self.files]


def read_case(case: Case, *, nonfinite: float | None = None) -> Volume:
    """Read a discovered case; a fault that was seen while listing is raised here.

    Raises:
        InputError: As :func:`read_scan`.
    """
    if case.fault is not None:
        raise case.fault
    return read_scan(case.files, nonfinite=nonfinite)


@dataclass(frozen=True)
class Skipped:
    """A file that is no scan, with the reason."""

    source: Path
    reason: str


@dataclass
class Found:
    """All that lies under the inputs. Close it (or use ``with``) to remove what archives were unpacked to."""

    cases: list[Case] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    archives: Archives = field(default_factory=Archives)

    def __enter__(self) -> Found:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove unpacked archives."""
        self.archives.close()


def find_cases(inputs: str | Path | Sequence[str | Path], *, progress: bool = True) -> Found:
    """List every scan under ``inputs`` in one pass, pixel data unread.

    Args:
        inputs: files, folders (searched to any depth) and .zip archives.
        progress: show a bar while files are looked at.

    Returns:
        Cases in a stable order, and what was skipped. NIfTI, NRRD and MetaImage files are a case
        each; DICOM files are grouped into series.

    Raises:
        ConfigError: If an input does not exist.
    """
    roots = [Path(one) for one in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    for root in roots:
        if not root.exists():
            raise ConfigError(
                "does not exist", expected="a scan, a folder of scans or a .zip", path=root
            )
    found = Found()
    listed = [(root, file) for root in roots for file in files_under(root)]
    rows: list[tuple[Path, Path, Case | Skipped]] = []
    bar: Bar = tqdm(
        total=len(listed), desc="Looking at files", unit="file", disable=None if progress else True
    )
    with bar:
        for root in roots:
            members = [file for owner, file in listed if owner == root]
            rows += _look_at(root, root, members, found, bar)
    names = CaseNames(many_roots=len(roots) > 1)
    for root, name, row in rows:
        if isinstance(row, Skipped):
            found.skipped.append(row)
        else:
            found.cases.append(replace(row, id=names.give(root, name)))
    found.cases.sort(key=lambda case: case.id)
    return found


Bar: TypeAlias = "tqdm[Any]"
Row = tuple[Path, Path, Case | Skipped]  # the root, the path that names the case, the finding


def _look_at(root: Path, base: Path, files: Sequence[Path], found: Found, bar: Bar) -> list[Row]:
    rows: list[Row] = []
    headers: list[DicomHeader] = []
    broken: dict[Path, DicomError] = {}
    for file in files:
        try:
            rows += _look_at_file(root, base, file, found, headers, bar)
        except DicomError as error:
            broken[file] = error
        except OSError as error:
            rows.append(_closed(root, file, f"cannot be opened ({error.strerror})"))
        bar.update()
    title = "series" if found.archives.holds(base) else root.resolve().name
    return _without_channels(rows) + _dicom_rows(root, base, title, headers, broken)


def _look_at_file(
    root: Path, base: Path, file: Path, found: Found, headers: list[DicomHeader], bar: Bar
) -> list[Row]:
    if not file.is_file():
        return [_no_file(root, file)]
    kind = sniff(file)
    if kind in ("nifti", "itk"):
        # A file that the user names is taken: it was chosen.
        hinted = file != root and names_a_label(file.relative_to(base))
        if hinted and is_label_map(file):
            return [(root, file, Skipped(file, "a label map, not a scan"))]
        return [(root, without_suffix(file), Case("", (file,), file, kind))]
    if kind == "zip":
        return _look_into(root, base, file, found, bar)
    if file.name == "DICOMDIR":
        return [(root, file, Skipped(file, "DICOMDIR"))]
    if picture := picture_kind(file):
        return [(root, file, Skipped(file, f"a {picture} picture; 2-D images are not read yet"))]
    header = read_header(file)
    if header is None and other_format(file):  # reading says what it is
        return [(root, without_suffix(file), Case("", (file,), file, ""))]
    if header is None:
        return [(root, file, Skipped(file, "not a scan"))]
    if reason := why_no_scan(header):
        return [(root, file, Skipped(file, reason))]
    headers.append(header)
    return []


def _no_file(root: Path, file: Path) -> Row:
    if file.is_dir():
        fault = FormatError("a folder that cannot be listed", expected="a readable one", path=file)
        return root, file, Case("", (file,), file, "", fault=fault)
    if reason := dangling(file):
        return _closed(root, file, reason)
    return root, file, Skipped(file, "not a regular file")


def _closed(root: Path, file: Path, reason: str) -> Row:
    """A file that cannot be looked into: a case that fails, unless its name says that it is no scan."""
    if not promises_scan(file.name):
        return root, file, Skipped(file, reason)
    fault = FormatError(reason, expected="a file that can be read", path=file)
    return root, without_suffix(file), Case("", (file,), file, "", fault=fault)


def _look_into(root: Path, base: Path, file: Path, found: Found, bar: Bar) -> list[Row]:
    """Unpack an archive and look at its files; an archive within an archive is not opened."""
    if found.archives.holds(base):
        return [(root, file, Skipped(file, "an archive within an archive"))]
    stem = without_suffix(file)
    try:
        folder = found.archives.unpack(file)
    except InputError as error:
        return [(root, stem, Case("", (file,), file, "zip", fault=error))]
    inner = _look_at(root, folder, list(files_under(folder)), found, bar)
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


def _without_channels(rows: list[Row]) -> list[Row]:
    """Let the files of patients with several channels fail: each alone is not what the patient has."""
    folders: dict[Path, list[str]] = defaultdict(list)
    files = {
        row.source: name
        for root, name, row in rows
        if isinstance(row, Case) and row.kind in ("nifti", "itk") and row.source != root
    }
    for name in files.values():
        folders[name.parent].append(name.name)
    group_of = {
        folder / name: (stem, channels)
        for folder, names in folders.items()
        for stem, channels in channel_groups(names).items()
        for name in channels.values()
    }
    checked: list[Row] = []
    for root, name, row in rows:
        if isinstance(row, Case) and row.source in files and name in group_of:
            row = replace(row, fault=_channel_error(*group_of[name], row.source))
        checked.append((root, name, row))
    return checked


def _channel_error(stem: str, channels: Mapping[str, str], path: Path) -> UnsupportedError:
    return UnsupportedError(
        channel_fault(stem, channels),
        expected="one file a patient; several channels are not read yet",
        remedy="name the files to segment one by one, each is then taken as a scan",
        path=path,
    )


def _dicom_rows(
    root: Path,
    base: Path,
    title: str,
    headers: list[DicomHeader],
    broken: dict[Path, DicomError],
) -> list[Row]:
    rows: list[Row] = []
    folders_with_series: set[Path] = set()
    series = group_series(headers)
    in_folder: dict[Path, list[Series]] = {}
    for one in series:
        in_folder.setdefault(one.folder, []).append(one)
    for folder, members in in_folder.items():
        folders_with_series |= {header.path.parent for one in members for header in one.headers}
        for number, one in enumerate(members, 1):
            # A file that is cut within its header belongs to some series of its folder: none of
            # them is known whole.
            near = next(
                (broken[f] for f in broken if f.parent in {h.path.parent for h in one.headers}),
                None,
            )
            name = _series_name(base, title, folder, one, number if len(members) > 1 else 0)
            rows.append((root, name, _series_case(folder, one, near)))
    for file, error in broken.items():
        if file.parent not in folders_with_series:
            case = Case("", (file,), file, "dicom", fault=error)
            rows.append((root, without_suffix(file), case))
    return rows


def _series_case(folder: Path, one: Series, near: InputError | None) -> Case:
    files = tuple(header.path for header in one.headers)
    source = folder if len(files) > 1 else files[0]
    fault = one.fault if isinstance(one.fault, UnsupportedError) else near or one.fault
    return Case("", files, source, "dicom", one.headers[0].modality, fault)


def _series_name(base: Path, title: str, folder: Path, one: Series, number: int) -> Path:
    """Name a series by its file if that holds all of it, else by its folder; ``number`` tells it from others there."""
    first = one.headers[0]
    if len(one.headers) == 1 and (base == first.path or first.frames > 1):
        return without_suffix(first.path)
    if not number:
        return folder
    return (
        folder / f"{title}_{number}"
        if folder == base
        else folder.with_name(f"{folder.name}_{number}")
    )
