"""Safe unpacking of .zip archives: no files outside the folder, no links, no full disk."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from monai_semiseg.errors import ArchiveError

MAX_MEMBERS = 200_000
MAX_RATIO = 200  # unpacked to packed bytes; scans reach about 10, zip bombs 1,000


def is_zip(head: bytes) -> bool:
    """Return True if the first bytes are those of a .zip file."""
    return head[:4] in (b"PK\x03\x04", b"PK\x05\x06")


class Archives:
    """Archives unpacked to private (0700) temporary folders, which :meth:`close` removes."""

    def __init__(self) -> None:
        self._folders: list[Path] = []

    def holds(self, path: Path) -> bool:
        """Return True if ``path`` is inside an unpacked archive."""
        return any(path.is_relative_to(folder) for folder in self._folders)

    def unpack(self, path: Path) -> Path:
        """Unpack an archive and return the folder.

        Raises:
            ArchiveError: If it is damaged or encrypted, holds links or paths outside its folder, or
                is far larger unpacked than packed.
        """
        folder = Path(tempfile.mkdtemp(prefix="monai_semiseg-"))
        self._folders.append(folder)
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
                _check(members, path)
                for member in members:
                    archive.extract(member, folder)
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            NotImplementedError,
            RuntimeError,
            OSError,
        ) as error:
            raise ArchiveError(
                f"cannot be unpacked ({error})", expected="an intact .zip file", path=path
            ) from error
        return folder

    def close(self) -> None:
        """Remove all unpacked folders."""
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        self._folders.clear()


def _check(members: list[zipfile.ZipInfo], path: Path) -> None:
    if len(members) > MAX_MEMBERS:
        raise ArchiveError(f"{len(members)} entries", expected=f"at most {MAX_MEMBERS}", path=path)
    size = sum(member.file_size for member in members)
    if size > MAX_RATIO * path.stat().st_size + (1 << 20):
        raise ArchiveError(
            f"{size} bytes unpacked", expected=f"at most {MAX_RATIO} times the archive", path=path
        )
    if size > shutil.disk_usage(tempfile.gettempdir()).free // 2:
        raise ArchiveError(
            f"{size} bytes unpacked",
            expected="less than half of the free temporary space",
            path=path,
        )
    names: set[str] = set()
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in member.filename:
            found = "an entry that points outside the archive"
        elif stat.S_ISLNK(member.external_attr >> 16):
            found = "a symbolic link"
        elif member.flag_bits & 1:
            found = "an encrypted entry"
        elif str(name) in names:
            found = "two entries with the same name"
        else:
            names.add(str(name))
            continue
        raise ArchiveError(
            found,
            expected="plain files in folders",
            remedy="unpack the archive yourself, and check the files",
            path=path,
        )
