"""Output of a training step, as handlers read it."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class StepOutput(list[dict[str, Tensor]]):
    """List of one dictionary for ``engine.state.output``, whose entries are also read by name.

    MONAI's handlers expect the list that decollating a batch gives (``from_engine(['loss'],
    first=True)``, as MLflow tracking has it); losses of a whole batch have nothing to decollate.
    """

    def __init__(self, entries: dict[str, Tensor]) -> None:
        super().__init__([entries])

    def __getitem__(self, key: Any) -> Any:
        """Return an entry by its name, or the dictionary by its index."""
        return super().__getitem__(0)[key] if isinstance(key, str) else super().__getitem__(key)

    def get(self, key: str) -> Tensor | None:
        """Return an entry by its name, or None if there is none."""
        return super().__getitem__(0).get(key)
