"""Files, folders, trees and .zip archives -> a list of cases, by content and not by extension."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from tqdm import tqdm

from monai_semiseg.errors import ConfigError, DicomError, InputError, UnsupportedError
from monai_semiseg.images.archive import Archives
from monai_semiseg.images.dicom_header import DicomHeader, read_header
from monai_semiseg.images.dicom_kinds import why_no_scan
from monai_semiseg.images.dicom_series import Series, group_series
from monai_semiseg.images.formats import SCAN_SUFFIXES, Kind, files_under, sniff
from monai_semiseg.images.scan import read_scan
from monai_semiseg.images.volume import Volume


@dataclass(frozen=True)
class Case:
    """One scan that was found.

    Attributes:
        id: unique name that mirrors the input tree (``Study1/12-T1post``); derived from paths,
            never from tags.
        files: the file, or all files of a DICOM series.
        source: what the user would recognise: the file, or the series' folder.
        kind: ``nifti``, ``itk`` or ``dicom``.
        modality: as DICOM states it, else empty.
        fault: a fault that was seen while listing; reading the case raises it.
    """

    id: str
    files: tuple[Path, ...]
    source: Path
    kind: Kind
    modality: str = ""
    fault: InputError | None = None

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
    _name(rows, found, many_roots=len(roots) > 1)
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
            rows.append((root, file, Skipped(file, f"cannot be opened ({error.strerror})")))
        bar.update()
    return rows + _dicom_rows(root, base, headers, broken)


def _look_at_file(
    root: Path, base: Path, file: Path, found: Found, headers: list[DicomHeader], bar: Bar
) -> list[Row]:
    if not file.is_file():
        return [(root, file, Skipped(file, "not a regular file"))]
    kind = sniff(file)
    if kind in ("nifti", "itk"):
        return [(root, _named(base, file), Case("", (file,), file, kind))]
    if kind == "zip":
        return _look_into(root, base, file, found, bar)
    header = read_header(file) if file.name != "DICOMDIR" else None
    if header is None:
        return [
            (root, file, Skipped(file, "DICOMDIR" if file.name == "DICOMDIR" else "not a scan"))
        ]
    if reason := why_no_scan(header):
        return [(root, file, Skipped(file, reason))]
    headers.append(header)
    return []


def _look_into(root: Path, base: Path, file: Path, found: Found, bar: Bar) -> list[Row]:
    """Unpack an archive and look at its files; an archive within an archive is not opened."""
    if found.archives.holds(base):
        return [(root, file, Skipped(file, "an archive within an archive"))]
    try:
        folder = found.archives.unpack(file)
    except InputError as error:
        return [(root, _named(base, file), Case("", (file,), file, "zip", fault=error))]
    inner = _look_at(root, folder, list(files_under(folder)), found, bar)
    stem = _named(base, file)
    return [
        (root, stem / name.relative_to(folder) if name.is_relative_to(folder) else name, row)
        for _, name, row in inner
    ]


def _dicom_rows(
    root: Path, base: Path, headers: list[DicomHeader], broken: dict[Path, DicomError]
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
            rows.append(
                (
                    root,
                    _series_name(base, folder, one, members, number),
                    Case(
                        "",
                        tuple(h.path for h in one.headers),
                        folder if len(one.headers) > 1 else one.headers[0].path,
                        "dicom",
                        one.headers[0].modality,
                        one.fault if isinstance(one.fault, UnsupportedError) else near or one.fault,
                    ),
                )
            )
    for file, error in broken.items():
        if file.parent not in folders_with_series:
            rows.append((root, _named(base, file), Case("", (file,), file, "dicom", fault=error)))
    return rows


def _series_name(base: Path, folder: Path, one: Series, members: list[Series], number: int) -> Path:
    if len(one.headers) == 1 and (base == one.headers[0].path or one.headers[0].frames > 1):
        return _named(base, one.headers[0].path)
    return folder.with_name(f"{folder.name}_{number}") if len(members) > 1 else folder


def _named(base: Path, file: Path) -> Path:
    """The file without its scan suffix; other dots in the name stay (``1.2.840.1.45`` is a name, not a suffix)."""
    lower = file.name.lower()
    suffixes = [*sorted(SCAN_SUFFIXES, key=len, reverse=True), ".dcm", ".zip"]
    suffix = next((s for s in suffixes if lower.endswith(s) and len(lower) > len(s)), "")
    return file.with_name(file.name[: len(file.name) - len(suffix)])


def _name(rows: Sequence[Row], found: Found, *, many_roots: bool) -> None:
    """Give every case an id that mirrors its place under its root, unique over all roots."""
    taken: set[str] = set()
    for root, name, row in rows:
        if isinstance(row, Skipped):
            found.skipped.append(row)
            continue
        parent = root.parent if root.is_file() else root
        relative = name.relative_to(parent) if name.is_relative_to(parent) else name
        parts = [part for part in relative.parts if part not in (".", "..", "/")] or [
            root.resolve().name
        ]
        stem = "/".join(
            [root.resolve().name, *parts]
            if many_roots and not root.is_file() and relative.parts
            else parts
        )
        stem = "".join("_" if ord(c) < 32 or c in ':*?"<>|\\' else c for c in stem)
        case_id, number = stem, 1
        while case_id.lower() in taken:
            number += 1
            case_id = f"{stem}_{number}"
        taken.add(case_id.lower())
        found.cases.append(Case(case_id, row.files, row.source, row.kind, row.modality, row.fault))
    found.cases.sort(key=lambda case: case.id)
