"""The scans of an evaluation: those that can be read are scored, the others are named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.data import Dataset
from tqdm import tqdm

from monai_semiseg.errors import ConfigError, InputError, readable, root_cause


class ReadableDataset(Dataset):
    """MONAI dataset of the cases that its transform takes.

    Every case is read once before the first is scored: an evaluator cannot pass over a case that
    fails in its loader.

    Args:
        data: items with ``image`` and ``label``.
        transform: from paths to network input.

    Attributes:
        left_out: image -> why it is left out; filled when the length is first asked for.
    """

    def __init__(
        self, data: Sequence[dict[str, Any]], transform: Callable[[dict[str, Any]], Any]
    ) -> None:
        super().__init__([], transform)
        self.data: list[dict[str, Any]] = list(data)
        self.left_out: dict[str, str] = {}
        self._looked = False

    def __len__(self) -> int:
        """Return the number of cases that can be read.

        Raises:
            ConfigError: If there are cases, and none can be read.
        """
        if not self._looked:
            self._looked = True
            self.data = [
                item
                for item in tqdm(self.data, "Looking at scans", unit="scan", mininterval=1.0)
                if self._can_be_read(item)
            ]
            if self.left_out and not self.data:
                first, reason = next(iter(self.left_out.items()))
                raise ConfigError(
                    f"none of {len(self.left_out)} scans can be read; {first}: {reason}",
                    expected="at least one scan and label that can be read",
                    remedy="run monai-semiseg check",
                )
        return len(self.data)

    def _can_be_read(self, item: dict[str, Any]) -> bool:
        try:
            self.transform(dict(item))
        except Exception as error:
            cause = root_cause(error)  # MONAI wraps what a transform raises
            if not isinstance(cause, InputError):
                raise
            self.left_out[readable(item["image"])] = cause.reason
            return False
        return True
