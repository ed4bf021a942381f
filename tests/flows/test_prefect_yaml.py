"""prefect.yaml: every deployment's entrypoint imports, and its parameters exist."""

import importlib
from pathlib import Path
from typing import Any

import yaml
from prefect_parts import ROOT


def deployments() -> dict[str, dict[str, Any]]:
    declared = yaml.safe_load((Path(ROOT) / "prefect.yaml").read_text())
    return {f"{Path(d['entrypoint'].split(':')[0]).stem}/{d['name']}": d for d in declared["deployments"]}


def test_daily_has_a_cron_in_utc_retrain_goes_to_the_gpu_pool_and_backfill_is_on_demand() -> None:
    found = deployments()
    assert set(found) == {"daily/scheduled", "retrain/gpu", "backfill/on-demand"}
    (schedule,) = found["daily/scheduled"]["schedules"]
    assert schedule == {"cron": "20 0 * * *", "timezone": "UTC"}
    assert found["retrain/gpu"]["work_pool"]["name"] == "gpu"
    assert "schedules" not in found["backfill/on-demand"]


def test_every_entrypoint_is_a_flow_and_its_parameters_are_the_flows() -> None:
    for name, deployment in deployments().items():
        path, _, function = deployment["entrypoint"].partition(":")
        flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), function)
        assert flow.name == name.split("/")[0]
        assert set(deployment.get("parameters", {})) <= set(flow.parameters.properties)
