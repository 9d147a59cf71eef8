"""Typed errors: the file, what was found, what was expected, what to do, in at most four lines.

There are two families. An :class:`InputError` is one bad scan and fails its case alone. A
:class:`ConfigError` is a bad request and stops before any work. Each class has a stable ``code``
for reports and the ``exit_code`` of a command that it ends.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai_semiseg.plain_text import printable


class SemisegError(Exception):
    """Base of all errors that this package raises on purpose.

    Args:
        found: what was found, in one line.
        expected: what was expected instead.
        remedy: what the user can do about it.
        path: the file or folder that is wrong.
    """

    code = "E_INTERNAL"
    exit_code = 1

    def __init__(
        self, found: str, *, expected: str = "", remedy: str = "", path: str | Path | None = None
    ) -> None:
        self.found = found
        self.expected = expected
        self.remedy = remedy
        self.path = None if path is None else Path(path)
        where = "" if path is None else f"{printable(str(self.path))}: "
        lines = [f"{self.code} {where}{found}"]
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  to do: {remedy}"] if remedy else []
        super().__init__(printable("\n".join(lines), keep="\n"))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields: errors cross process pools and data loader workers."""
        return _rebuild, (type(self), self.found, self.expected, self.remedy, self.path)

    @property
    def reason(self) -> str:
        """Return the message on one line, for tables."""
        return "; ".join(part.strip() for part in str(self).splitlines())


def _rebuild(
    kind: type[SemisegError], found: str, expected: str, remedy: str, path: Path | None
) -> SemisegError:
    return kind(found, expected=expected, remedy=remedy, path=path)


class ConfigError(SemisegError):
    """A bad argument, option, folder or configuration; no work has started."""

    code = "E_CONFIG"
    exit_code = 2


class InputError(SemisegError):
    """A scan that cannot be read correctly; its case fails and the others go on."""

    code = "E_INPUT"
    exit_code = 2


class TruncatedError(InputError):
    """A file that ends before its data does."""

    code = "E_TRUNCATED"


class ChecksumError(InputError):
    """Compressed data that do not match their checksum."""

    code = "E_CHECKSUM"


class NotNiftiError(InputError):
    """A file with the name of a NIfTI file and other content."""

    code = "E_NOT_NIFTI"


class FormatError(InputError):
    """Content that is no scan, or is too damaged to read."""

    code = "E_FORMAT"


class SizeError(InputError):
    """A header that claims more data than the file or the memory can hold."""

    code = "E_SIZE"


class NonFiniteError(InputError):
    """NaN or infinite voxels."""

    code = "E_NONFINITE"


class DimensionError(InputError):
    """Voxels that are not one image, or one of other dimensions than the network wants."""

    code = "E_NDIM"


class DtypeError(InputError):
    """Voxels that are neither real numbers nor red, green and blue (complex, CMYK)."""

    code = "E_DTYPE"


class GeometryError(InputError):
    """An affine, orientation or spacing that is missing or invalid, or a sheared (tilted) stack."""

    code = "E_GEOMETRY"


class LabelError(InputError):
    """A label map with values that are not declared, or not whole numbers."""

    code = "E_LABEL"


class GapError(InputError):
    """A DICOM series with a missing slice."""

    code = "E_GAP"


class DuplicateError(InputError):
    """Two different slices at the same position."""

    code = "E_DUPLICATE"


class MixedSeriesError(InputError):
    """Slices of one series that cannot form one volume."""

    code = "E_MIXED"


class DicomError(InputError):
    """A damaged DICOM file."""

    code = "E_DICOM"


class CodecError(InputError):
    """DICOM pixels with a compression that no installed package can decode."""

    code = "E_CODEC"


class UnsupportedError(InputError):
    """A kind of object that this version does not read."""

    code = "E_UNSUPPORTED"


class ModalityError(InputError):
    """A scan of another modality than the network was trained on."""

    code = "E_MODALITY"


class ChannelError(DimensionError):
    """An image with other channels than declared, or than the network was trained on."""

    code = "E_CHANNELS"


class UnlikeTrainingError(InputError):
    """A scan or mask that differs too much from the training data and is left out."""

    code = "E_UNLIKE"


class ArchiveError(InputError):
    """A .zip file that is damaged or encrypted, or would write outside its folder."""

    code = "E_ARCHIVE"


class OutputError(SemisegError):
    """Output that cannot be written."""

    code = "E_DISK"
    exit_code = 4


class MemoryLimitError(SemisegError):
    """A scan that needs more memory than there is."""

    code = "E_MEMORY"


class WorkerLostError(SemisegError):
    """A worker that ended in the middle of its work: killed, out of memory, or its node lost."""

    code = "E_WORKER"
    exit_code = 3


class ExecutorError(SemisegError):
    """An engine that does no more work: a scheduler that has ended."""

    code = "E_EXECUTOR"
    exit_code = 4


class CheckpointError(SemisegError):
    """Weights or a training state that cannot be used."""

    code = "E_CHECKPOINT"
    exit_code = 2


def did_you_mean(given: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return the remedy for an unknown name: the known one most like it.

    Args:
        given: the unknown name.
        known: the known ones.
        otherwise: remedy if none of them is like it.
    """
    near = difflib.get_close_matches(given, list(known), n=1)
    return f"did you mean {near[0]!r}?" if near else otherwise


def root_cause(error: BaseException) -> BaseException:
    """Return the typed error among an exception's causes, else its first cause.

    MONAI wraps what a config or a transform raises.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, SemisegError):
            return cause
        cause = cause.__cause__ or cause.__context__
    while error.__cause__ is not None:
        error = error.__cause__
    return error
