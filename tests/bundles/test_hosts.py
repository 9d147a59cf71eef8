"""Bundles in programs that train them: MONAI Label, MONAI's federated client, MLflow."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import monai.bundle
import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.bundle import ConfigParser, create_workflow
from monai.fl.client import MonaiAlgo
from monai.fl.utils.constants import ExtraItems, WeightType
from monai.fl.utils.exchange_object import ExchangeObject

from .conftest import FEW_FEATURES

Raw = Callable[[Path, str], dict[str, Any]]
Settings = Callable[..., dict[str, Any]]


def test_a_workflow_driven_by_its_properties(
    bundle: Path, data: Path, tmp_path: Path, settings: Settings
) -> None:
    """Drive a training as MONAI Label does: other scans, budget and handlers."""
    workflow = create_workflow(
        workflow_type="train",
        config_file=str(bundle / "configs" / "train.json"),
        bundle_root=str(bundle),
        meta_file=str(bundle / "configs" / "metadata.json"),
        logging_file=False,
        **settings(
            bundle, "train", data, tmp_path, iterations=6, epoch_iterations=2, **FEW_FEATURES
        ),
    )
    scans = [
        {name: str(data / f"{name}s" / f"{n}.nii.gz") for name in ("image", "label")}
        for n in (4, 5)
    ]
    workflow.train_dataset_data = scans
    workflow.val_dataset_data = scans[:1]
    workflow.max_epochs = 1
    workflow.initialize()
    seen: list[int] = []
    workflow.trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda e: seen.append(e.state.iteration)
    )
    workflow.run()
    assert seen == [1, 2] and workflow.train_dataset_data == scans
    assert workflow.evaluator.state.metrics["val_mean_dice"] >= 0
    assert isinstance(workflow.train_handlers, list) and workflow.network_def is not None


def test_what_monai_label_and_deploy_change(bundle: Path, raw: Raw) -> None:
    """Check that both Compose list their items by name, and that every config stands alone."""
    for name in ("inference", "evaluate"):
        config = raw(bundle, name)
        for key in ("preprocessing", "postprocessing"):
            assert config[key]["_target_"] == "Compose" and isinstance(
                config[key]["transforms"], list
            )
        assert config["preprocessing"]["transforms"][0]["_target_"] == "LoadImaged"
    handlers = raw(bundle, "train")["train"]["handlers"]
    assert isinstance(handlers, list) and all("_target_" in handler for handler in handlers)


@pytest.mark.slow
def test_a_round_of_federated_learning(
    bundle: Path, data: Path, tmp_path: Path, settings: Settings, raw: Raw
) -> None:
    """Check that the mean of two clients' weights is a new start for both."""
    shutil.copytree(bundle, tmp_path / "bundle", ignore=shutil.ignore_patterns("docs", "*.pt"))
    clients = []
    for name in ("one", "two"):
        # The budget is that of all rounds: the learning rate's schedule runs over them.
        budget = {
            "iterations": 4,
            "epoch_iterations": 2,
            "seed": 1 if name == "one" else 2,
            **FEW_FEATURES,
        }
        kwargs = settings(bundle, "train", data, tmp_path / name, **budget)
        evaluation = settings(bundle, "evaluate", data, tmp_path / name, **FEW_FEATURES)
        client = MonaiAlgo(
            bundle_root=str(tmp_path / "bundle"),
            local_epochs=1,
            send_weight_diff=False,
            train_kwargs=kwargs,
            eval_kwargs={**kwargs, **evaluation},
        )
        client.initialize(extra={ExtraItems.CLIENT_NAME: name})
        clients.append(client)
    torch.manual_seed(0)
    parser = ConfigParser(raw(bundle, "train"))
    parser["network_def"]["features"] = FEW_FEATURES["network_def#features"]
    start = parser.get_parsed_content("network_def").state_dict()
    ends = []
    for client in clients:
        client.train(ExchangeObject(weights=copy.deepcopy(start)))
        sent = client.get_weights()
        assert sent.weight_type == WeightType.WEIGHTS and set(sent.weights) == set(start)
        ends.append(sent.weights)
    key = "conv_0.conv_0.conv.weight"
    assert not np.allclose(ends[0][key], ends[1][key]) and not np.allclose(ends[0][key], start[key])
    mean = {name: torch.as_tensor(sum(np.asarray(end[name]) for end in ends) / 2) for name in start}
    for client in clients:
        client.train(ExchangeObject(weights=mean))
        scores = client.evaluate(ExchangeObject(weights=mean))
        assert scores.metrics
        client.finalize()


def test_tracking_with_mlflow(bundle: Path, data: Path, tmp_path: Path, settings: Settings) -> None:
    """Track with ``monai.bundle run --tracking mlflow``; needs the extra ``tracking``."""
    mlflow = pytest.importorskip("mlflow")
    workflow = monai.bundle.ConfigWorkflow(
        config_file=str(bundle / "configs" / "train.json"),
        workflow_type="train",
        bundle_root=str(bundle),
        logging_file=False,
        tracking="mlflow",
        **settings(bundle, "train", data, tmp_path, **FEW_FEATURES),
    )
    workflow.initialize()
    workflow.run()
    client = mlflow.tracking.MlflowClient(f"sqlite:///{tmp_path}/mlruns.db")
    (run,) = client.search_runs([client.get_experiment_by_name("monai_experiment").experiment_id])
    assert run.info.status == "FINISHED" and {"train_loss", "val_mean_dice"} <= set(
        run.data.metrics
    )
