"""Arguments of verbs that open a dataset: layout, label files, wishes for a plan."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_semiseg.datasets.dataset import ScanDataset
    from monai_semiseg.datasets.plan import Wishes

DATASET_ARGUMENTS = (
    "channels",
    "label",
    "group",
    "table",
    "stack_pages",
    "label_threshold",
    "merge_masks",
)


PLAN_ARGUMENTS = ("modality", "sides", "spatial_dims", "upright")


_CHOICES = {"auto": None, "true": True, "false": False}


def add_dataset_arguments(
    parser: argparse.ArgumentParser, *, what: str = "dataset folder", table: bool = True
) -> None:
    """Declare the dataset, and what neither its layout nor its label files say by themselves.

    Args:
        parser: of the verb.
        what: what the dataset may be.
        table: declare ``--table`` as a table that is read.
    """
    parser.add_argument("dataset", type=Path, help=what)
    group = parser.add_argument_group("layout of the dataset")
    group.add_argument(
        "--channels",
        metavar="NAMES",
        help="channels in their order, such as FLAIR,T1; for DICOM T1=PATTERN,FLAIR=PATTERN, "
        "expressions for the description of the series",
    )
    group.add_argument(
        "--label", metavar="NAME", help="name of the label files of each case, or of their folder"
    )
    group.add_argument(
        "--group",
        metavar="REGEX",
        help="expression for the id of a case; its first group in parentheses is the patient",
    )
    group.add_argument(
        "--stack_pages",
        action="store_true",
        help="the pages of a TIFF are the slices of a 3-D scan",
    )
    if table:
        group.add_argument(
            "--table",
            type=Path,
            metavar="FILE",
            help="table of the cases (id,group,image,label) with paths relative to the dataset",
        )
    _add_label_arguments(parser)


def dataset_of(args: argparse.Namespace, *, table: Path | None = None) -> ScanDataset:
    """Open the dataset as the arguments of :func:`add_dataset_arguments` say.

    Raises:
        ConfigError: If there is no such dataset, or the arguments do not fit it.
    """
    from monai_semiseg.datasets.dataset import open_dataset

    return open_dataset(
        args.dataset,
        channels=args.channels,
        label=args.label,
        group=args.group,
        table=table,
        stack_pages=args.stack_pages,
    )


def _add_label_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("label files")
    group.add_argument(
        "--label_threshold",
        type=_threshold,
        metavar="VALUE",
        help="for masks with grey levels: more than this is foreground (127 for 8 bits)",
    )
    group.add_argument(
        "--merge_masks",
        action="store_true",
        help="join the binary label files of a case: CASE_lesion1.png, CASE_lesion2.png, ...",
    )


def labelled_dataset(
    args: argparse.Namespace, dataset: ScanDataset, datalist: dict[str, Any] | None = None
) -> ScanDataset:
    """Return a dataset whose label files are read as the options, or a datalist, say.

    Raises:
        ConfigError: If they contradict each other, or the declared labels.
    """
    from monai_semiseg.datasets.label_options import with_label_rule

    return with_label_rule(
        dataset, threshold=args.label_threshold, merge=args.merge_masks, datalist=datalist
    )


def _threshold(text: str) -> float:
    from monai_semiseg.datasets.label_rules import checked_threshold

    return checked_threshold(text)


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what a plan may be told; each is decided by the dataset if it is left out."""
    parser.add_argument(
        "--modality",
        type=modality_code,
        metavar="CODE",
        help="of the scans: CT, MR, PT, US, ... (default: what dataset.json or the DICOM files "
        "say, or a guess by the values); CT keeps its scale",
    )
    parser.add_argument(
        "--sides",
        choices=list(_CHOICES),
        default="auto",
        help="whether classes are left and right ones, so that nothing may be mirrored (default "
        "auto: what dataset.json or the labels' names say)",
    )
    parser.add_argument(
        "--spatial_dims",
        type=int,
        choices=(2, 3),
        help="of the network: 2 goes over the slices of 3-D scans (default: as the images; 2 where "
        "slices are more than three times as thick as pixels)",
    )
    parser.add_argument(
        "--upright",
        choices=list(_CHOICES),
        default="auto",
        help="whether the images have an up; without one, training turns them by any angle (auto: "
        "all but colour photographs have one)",
    )


def wishes_of(args: argparse.Namespace) -> Wishes:
    """Return what the arguments of :func:`add_plan_arguments` ask a plan for."""
    from monai_semiseg.datasets.plan import Wishes

    return Wishes(args.modality, _CHOICES[args.sides], args.spatial_dims, _CHOICES[args.upright])


def modality_code(text: str) -> str:
    """Return DICOM's code for a modality.

    Raises:
        ArgumentTypeError: If the text names none.
    """
    from monai_semiseg.datasets.modality import MODALITIES, dicom_modality

    code = dicom_modality(text)
    if code is None:
        known = ", ".join(sorted({*MODALITIES.values()}))
        raise argparse.ArgumentTypeError(f"{text!r}; expected one of {known}")
    return code
