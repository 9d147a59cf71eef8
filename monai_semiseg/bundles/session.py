"""First step of every workflow: check keys, weights and packages, set the seed."""

from __future__ import annotations

from pathlib import Path

from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism

from monai_semiseg.bundles.caller import calling
from monai_semiseg.bundles.command_line import begin_bundle_command
from monai_semiseg.bundles.keys import refuse_unknown_keys
from monai_semiseg.bundles.record import refuse_other_settings
from monai_semiseg.bundles.versions import check_versions


def prepare(seed: int | None = 0, bundle_root: str | Path | None = None) -> None:
    """Begin a workflow; the bundles' ``initialize`` calls this.

    Keys that are neither in the bundle's config nor used by the merged one are refused, however the
    workflow was built. If weights at ``ckpt_path`` have a record of their training, the settings
    have to be equal. Installed packages are compared with the bundle's metadata. Random generators
    are seeded. Under ``python -m monai.bundle``, a typed error ends the process with a short
    message and its exit code; other processes are not changed beyond the seed.

    Args:
        seed: of all random generators; None does not seed them.
        bundle_root: bundle folder.

    Raises:
        ConfigError: If a key is unknown, the weights were trained with other settings, or a package
            that the bundle needs is absent.
    """
    begin_bundle_command()
    workflow = calling(ConfigWorkflow)
    if workflow is not None:
        _check_keys(workflow, bundle_root)
        if workflow.parser.get("ckpt_path") is not None:
            weights = workflow.parser.get_parsed_content("ckpt_path")
            refuse_other_settings(workflow.parser, str(weights))
    if bundle_root is not None:
        check_versions(bundle_root)
    if seed is not None:
        set_determinism(seed=seed)


def _check_keys(workflow: ConfigWorkflow, bundle_root: str | Path | None) -> None:
    folders = {Path(workflow.config_root_path).resolve()}
    if bundle_root is not None:
        folders.add(Path(bundle_root).resolve() / "configs")
    files: list[Path] = []
    for folder in sorted(folders):
        files += sorted(set(folder.glob("*.json")) - {folder / "metadata.json"})
    entries = (workflow.init_id, workflow.run_id, workflow.final_id)
    refuse_unknown_keys(workflow.parser.get(), files, entries)
