"""Recipe of a bundle's workflow: what this process or a worker opens it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from monai_semiseg.bundles.workflow import open_workflow
from monai_semiseg.executors.work import Item, Result, Work


@dataclass(frozen=True)
class WorkflowRecipe:
    """Settings that a workflow of a bundle is opened by.

    Attributes:
        bundle: its folder.
        settings: values for keys of the workflow's config.
        overlays: files merged over it.
    """

    bundle: Path
    settings: Mapping[str, Any]
    overlays: Sequence[Path]

    @property
    def device(self) -> str:
        """Return ``auto`` if the workers of a machine may share its GPUs out."""
        return "named" if "device" in self.settings else "auto"

    def parts(self, config: str) -> ConfigWorkflow:
        """Return a workflow of the bundle whose parts are asked for, not yet initialised.

        Args:
            config: its name, as :func:`~monai_semiseg.bundles.workflow.open_workflow` takes it.

        Raises:
            ConfigError: If a key is unknown, or the bundle lacks the workflow.
        """
        return open_workflow(self.bundle, config, dict(self.settings), self.overlays)

    def workflow(self, config: str) -> ConfigWorkflow:
        """Return a workflow of the bundle, ready to run; see :meth:`parts`."""
        workflow = self.parts(config)
        workflow.initialize()
        return workflow


class BundleRecipe(WorkflowRecipe, Work[Item, Result]):
    """Work with a workflow of a bundle."""
