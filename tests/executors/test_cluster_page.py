"""The files on the page about clusters are ones that submitit, YAML and Kubernetes know."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from submitit import AutoExecutor

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"


def documents() -> list[dict[str, object]]:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return [content for block in blocks for content in yaml.safe_load_all(block)]


def test_settings_of_slurm(tmp_path: Path) -> None:
    settings = [one for one in documents() if "timeout_min" in one]
    assert len(settings) == 2
    for one in settings:
        known = {
            name: value for name, value in one.items() if name not in ("cluster", "jobs", "cases")
        }
        AutoExecutor(folder=tmp_path, cluster="local").update_parameters(**known)


def test_parts_of_the_kubernetes_file() -> None:
    found = [one for one in documents() if "kind" in one]
    assert [one["kind"] for one in found] == ["Service", "Deployment", "Deployment", "Job"]
    assert all({"apiVersion", "metadata", "spec"} <= set(one) for one in found)
