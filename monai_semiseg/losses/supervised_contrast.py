"""Supervised contrastive loss of embeddings, over all processes and in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from monai_semiseg.errors import ConfigError
from monai_semiseg.losses.gathered import gather_rows, sum_over_processes
from monai_semiseg.losses.streamed import pair_logsumexp

FORMS = ("out", "in")


@dataclass(frozen=True)
class _Rows:
    """Unit embeddings of anchors, and what they are contrasted with.

    Attributes:
        anchors: ``(A, D)``.
        own: index of every anchor in ``everyone``, ``(A,)``.
        group: of every anchor, ``(A,)``.
        everyone: embeddings of all processes, ``(N, D)``.
        groups: of ``everyone``, ``(N,)``.
        positives: number of every anchor's positives, ``(A,)``.
    """

    anchors: Tensor
    own: Tensor
    group: Tensor
    everyone: Tensor
    groups: Tensor
    positives: Tensor


def contrast(
    embeddings: Tensor,
    groups: Tensor,
    *,
    temperature: float,
    anchors: Tensor | None = None,
    form: str = "out",
    tile: int = 2048,
    gathered: bool = True,
) -> tuple[Tensor, Tensor]:
    """Sum the contrastive losses of all anchors, and count the anchors.

    With unit embeddings f, positives ``P(i)``: all others of i's group, ``s_iq = f_i . f_q / t``::

        out:  l_i = -1/|P(i)| sum_{q in P(i)} s_iq  +  log sum_{k != i} exp s_ik
        in:   l_i = -log sum_{q in P(i)} exp s_iq   +  log sum_{k not in group of i} exp s_ik

    ``out`` averages outside of the logarithm and contrasts with everything; its positives need the
    groups' sums only. An anchor without a positive (or, for ``in``, without anything to contrast
    with) is skipped. Under torchrun, embeddings of all processes are contrasted, with gradients, if
    ``gathered``.

    Khosla et al., Supervised contrastive learning (NeurIPS 2020): ``out``. Hu et al. (MICCAI 2021):
    ``out`` in the authors' code, ``in`` in the paper.

    Args:
        embeddings: ``(N, D)``, of this process; made unit length here.
        groups: ``(N,)``, integers from 0.
        temperature: t above; 0.01 is safe.
        anchors: ``(A,)``, indices; all by default.
        form: see above.
        tile: see :func:`~monai_semiseg.losses.streamed.pair_logsumexp`.
        gathered: False contrasts within this process: groups of others mean something else.

    Returns:
        The sum over this process's anchors and the number of anchors in all processes, or in this
        one if not ``gathered``.

    Raises:
        ConfigError: If there is no such form, or the temperature is not positive.
    """
    if form not in FORMS or temperature <= 0:
        raise ConfigError(
            f"form {form!r}, temperature {temperature}", expected="'out' or 'in', more than 0"
        )
    kind = torch.float64 if embeddings.dtype == torch.float64 else torch.float32
    with torch.autocast(embeddings.device.type, enabled=False):
        unit = functional.normalize(embeddings.to(kind), dim=1, eps=1e-6)
        rows = _rows(unit, groups, anchors, gathered)
        terms = _terms_out if form == "out" else _terms_in
        counts, positive, negative = terms(rows, temperature, tile)
        losses = torch.where(counts, negative, 0.0) - torch.where(counts, positive, 0.0)
    # A zero with a graph where no anchor counts.
    count = counts.sum()
    return losses.sum() + 0.0 * unit.sum(), sum_over_processes(count) if gathered else count


def _rows(unit: Tensor, groups: Tensor, anchors: Tensor | None, gathered: bool) -> _Rows:
    everyone, offset = gather_rows(unit) if gathered else (unit, 0)
    their_groups, _ = gather_rows(groups) if gathered else (groups, 0)
    chosen = torch.arange(len(unit), device=unit.device) if anchors is None else anchors
    group = groups[chosen]
    return _Rows(
        anchors=unit[chosen],
        own=chosen + offset,
        group=group,
        everyone=everyone,
        groups=their_groups,
        positives=torch.bincount(their_groups)[group] - 1,
    )


def _terms_out(rows: _Rows, temperature: float, tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return which anchors count, and the two terms of ``out``."""
    groups = len(torch.bincount(rows.groups))
    sums = rows.everyone.new_zeros(groups, rows.anchors.shape[1])
    sums = sums.index_add(0, rows.groups, rows.everyone)
    others = sums[rows.group] - rows.everyone[rows.own]
    positive = (rows.anchors * others).sum(1) / rows.positives.clamp_min(1) / temperature
    negative = pair_logsumexp(rows.anchors, rows.everyone, temperature, own=rows.own, tile=tile)
    return rows.positives > 0, positive, negative


def _terms_in(rows: _Rows, temperature: float, tile: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return which anchors count, and the two terms of ``in``."""
    counts = (rows.positives > 0) & (rows.positives + 1 < len(rows.everyone))
    classes = (rows.group, rows.groups)
    positive = pair_logsumexp(
        rows.anchors, rows.everyone, temperature, own=rows.own, same=classes, tile=tile
    )
    negative = pair_logsumexp(
        rows.anchors, rows.everyone, temperature, own=rows.own, other=classes, tile=tile
    )
    return counts, positive, negative
