"""prefect.yaml: the entrypoint of every deployment can be imported, and its parameters exist."""

import asyncio
import importlib
from datetime import UTC, datetime, timedelta
from typing import Any

from prefect_parts import declared_deployments as deployments


def test_daily_has_a_cron_in_utc_retrain_goes_to_the_gpu_pool_and_the_others_are_on_demand() -> None:
    by_name = deployments()
    on_demand = {"backfill/on-demand", "study/on-demand"}
    assert set(by_name) == {"daily/scheduled", "retrain/gpu", "verify/nightly"} | on_demand
    (schedule,) = by_name["daily/scheduled"]["schedules"]
    assert schedule == {"cron": "5 0 * * *", "timezone": "UTC"}
    assert by_name["daily/scheduled"]["parameters"] == {"wait": True}
    assert by_name["retrain/gpu"]["work_pool"]["name"] == "gpu"
    assert "schedules" not in by_name["backfill/on-demand"]
    assert "schedules" not in by_name["study/on-demand"]


def test_every_entrypoint_is_a_flow_and_its_parameters_are_the_flows() -> None:
    for name, deployment in deployments().items():
        path, _, function = deployment["entrypoint"].partition(":")
        flow = getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), function)
        assert flow.name == name.split("/")[0]
        assert set(deployment.get("parameters", {})) <= set(flow.parameters.properties)


def test_the_day_comes_once_a_day_at_the_same_instant_when_clocks_change() -> None:
    from prefect.server.schemas.schedules import CronSchedule

    (declared,) = deployments()["daily/scheduled"]["schedules"]
    schedule = CronSchedule(**declared)
    for start in (datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 10, 23, 12, tzinfo=UTC)):
        dates = asyncio.run(_dates(schedule, start))
        assert [date.astimezone(UTC) for date in dates] == [
            datetime(start.year, start.month, start.day, 0, 5, tzinfo=UTC) + timedelta(days=day) for day in range(1, 6)
        ]


async def _dates(schedule: Any, start: datetime) -> list[datetime]:
    days: list[datetime] = await schedule.get_dates(n=5, start=start)
    return days


def test_what_runs_on_workers_has_time_limits_queues_and_limits() -> None:
    by_name = deployments()
    assert by_name["daily/scheduled"]["work_pool"]["work_queue_name"] == "daily"
    assert {by_name[name]["work_pool"]["work_queue_name"] for name in ("backfill/on-demand", "verify/nightly")} == {
        "backfill"
    }
    for name in ("daily/scheduled", "retrain/gpu", "backfill/on-demand"):
        assert by_name[name]["concurrency_limit"]["collision_strategy"] == "ENQUEUE"
    from flows.daily import daily, scheduled
    from flows.retrain import deployed
    from models.waiting import MOST_WAIT_HOURS

    # Only one layer waits: the daily flow itself.
    assert (scheduled.retries, daily.retries) == (0, 0)
    assert deployed.timeout_seconds == 6 * 3600
    # Longer than any wait, and over before the next day begins.
    assert MOST_WAIT_HOURS * 3600 < scheduled.timeout_seconds < 24 * 3600
