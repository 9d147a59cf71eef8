"""Cases that were found: scans, skipped files, and the archives that they are from."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from monai_semiseg.errors import InputError
from monai_semiseg.images.archive import Archives
from monai_semiseg.images.formats import Kind
from monai_semiseg.images.reader import frame_name


@dataclass(frozen=True)
class Case:
    """One scan that was found.

    Attributes:
        id: unique name that mirrors the input tree (``Study1/12-T1post``), from paths alone and
            never from tags.
        files: the file, all files of a DICOM series, or those of all channels in their order.
        source: path to show to the user: the file, or the folder of the series. For a scan in an
            archive, the path of the archive and the path inside it.
        kind: ``nifti``, ``itk``, ``mgh``, ``picture`` or ``dicom``; of the first channel.
        modality: modality of the DICOM header, or empty.
        fault: error that was found while listing; reading the case raises it.
        archive: archive that holds the files, or None.
        unpacked: temporary folder with the files of the archive, or None.
        channel_names: names of the channels if there is a file for each; else empty.
        frame: number of the frame of a DICOM cine, from 0; None for all other images.
    """

    id: str
    files: tuple[Path, ...]
    source: Path
    kind: Kind
    modality: str = ""
    fault: InputError | None = None
    archive: Path | None = None
    unpacked: Path | None = None
    channel_names: tuple[str, ...] = ()
    frame: int | None = None

    def with_archive_path(self, text: str) -> str:
        """Return a message with the path of the archive in place of the temporary folder."""
        if self.unpacked is None:
            return text
        return text.replace(str(self.unpacked), str(self.archive))

    @property
    def image(self) -> str | list[str]:
        """Return the value for the ``image`` key of a MONAI data dictionary."""
        if self.frame is not None:
            return frame_name(self.files[0], self.frame)
        return str(self.files[0]) if len(self.files) == 1 else [str(file) for file in self.files]


@dataclass(frozen=True)
class Skipped:
    """A file that is not a scan, with the reason."""

    source: Path
    reason: str


# The input that the user named, the path that names the case, and the result.
Row: TypeAlias = tuple[Path, Path, Case | Skipped]


@dataclass
class FoundCases:
    """All scans and skipped files of the inputs.

    Close it, or use ``with``, to remove the unpacked archives.
    """

    cases: list[Case] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    archives: Archives = field(default_factory=Archives)
    each_frame: bool = False  # whether frames of a cine are images of their own

    def __enter__(self) -> FoundCases:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the unpacked archives."""
        self.archives.close()
