"""Checks files for a forecast hub against hubverse's published rules.

The rules are those of v5.0.1/tasks-schema.json at commit 65e0d225 of github.com/hubverse-org/schemas, and of
hubValidations' checks of model output (hubverse.io, both read November 2026), as far as they concern the parts that are
written here. That repository names no licence, so its file is not part of this one; a test that needs the internet
validates with the file itself.
"""

import re
from datetime import date, timedelta
from itertools import pairwise

_ROUND = {"round_id_from_variable", "round_id", "model_tasks", "submissions_due"}
_TASK = {"task_ids", "output_type", "target_metadata"}
_TARGET = {"target_id", "target_name", "target_units", "target_type", "target_keys", "is_step_ahead"}
_TYPES = {"continuous", "discrete", "date", "binary", "nominal", "ordinal", "compositional"}


def problems_of_tasks(config: dict) -> list[str]:
    """What the schema of tasks.json forbids; empty for a valid file."""
    problems = _keys(
        "tasks.json", config, {"schema_version", "rounds"}, {"output_type_id_datatype", "derived_task_ids"}
    )
    if not re.fullmatch(r"https://raw\.githubusercontent\.com/hubverse-org/schemas/main/v5\.\d\.\d/tasks-schema\.json",
                        config.get("schema_version", "")):  # fmt: skip
        problems.append("schema_version names no version 5 of the schema")
    for each in config.get("rounds", []):
        problems += _ROUND - each.keys() and [f"a round lacks {_ROUND - each.keys()}"]
        due = each["submissions_due"]
        if set(due) != {"relative_to", "start", "end"} or not all(
            isinstance(due[end], int) for end in ("start", "end")
        ):
            problems.append("submissions_due is neither relative nor two dates")
        for task in each["model_tasks"]:
            problems += _problems_of_task(task, each)
            if due.get("relative_to") not in task["task_ids"]:
                problems.append("submissions_due is relative to no task id")
        problems += [f"{name} is derived and no task id" for name in config.get("derived_task_ids", [])
                     if name not in task["task_ids"]]  # fmt: skip
    return problems


def _problems_of_task(task: dict, each: dict) -> list[str]:
    problems = _keys("a task", task, _TASK)
    if each["round_id_from_variable"] and each["round_id"] not in task["task_ids"]:
        problems.append("the round's id is no task id")
    for name, values in task["task_ids"].items():
        problems += _keys(name, values, {"required", "optional"})
        given = [one for part in values.values() for one in part or []]
        if not given or len(given) != len(set(given)):
            problems.append(f"{name} has no value, or one twice")
        if name.endswith("_date") and not all(re.fullmatch(r"\d{4}-\d{2}-\d{2}", one) for one in given):
            problems.append(f"{name} is no date")
    for name, output in task["output_type"].items():
        ids = "output_type_id_params" if name == "sample" else "output_type_id"
        problems += _keys(name, output, {ids, "value", "is_required"})
        problems += _keys(f"{name}.value", output["value"], {"type"}, {"minimum", "maximum"})
        if output["value"].get("type") not in ("double", "integer") or not isinstance(output["is_required"], bool):
            problems.append(f"{name}'s type of value is unknown, or whether it is required")
        if name == "quantile":
            levels = output[ids]["required"]
            if (
                list(output[ids]) != ["required"]
                or not all(0 <= one <= 1 for one in levels)
                or levels != sorted(set(levels))
            ):
                problems.append("the levels of the quantiles are wrong")
        elif name == "sample":
            needed = {"type", "min_samples_per_task", "max_samples_per_task"}
            problems += _keys("sample", output[ids], needed, {"compound_taskid_set", "max_length"})
            if output[ids]["type"] != "integer" and (
                output[ids]["type"] != "character" or "max_length" not in output[ids]
            ):
                problems.append("the samples' numbers are of an unknown type, or texts without a length")
            if not 1 <= output[ids]["min_samples_per_task"] <= output[ids]["max_samples_per_task"]:
                problems.append("the numbers of samples are wrong")
            if not set(output[ids].get("compound_taskid_set", [])) <= task["task_ids"].keys():
                problems.append("the compound task ids are no task ids")
        else:
            problems.append(f"{name} is not checked here")
    for target in task["target_metadata"]:
        problems += _TARGET - target.keys() and [f"a target lacks {_TARGET - target.keys()}"]
        if len(target["target_id"]) > 30 or max(len(target[name]) for name in ("target_name", "target_units")) > 100:
            problems.append("a target's id, name or units are too long")
        if target["target_type"] not in _TYPES or (
            target["is_step_ahead"] and target["time_unit"] not in ("day", "week", "month")
        ):
            problems.append("a target's type or unit of time is unknown")
        ((name, value),) = target["target_keys"].items()
        if value not in _values(task, name):
            problems.append("a target's key is no value of its task id")
    return problems


def problems_of_output(rows: list[dict[str, str]], config: dict) -> list[str]:
    """What a hub with this tasks.json would refuse in a file of model output; empty for a valid file."""
    (task,) = config["rounds"][0]["model_tasks"]
    names = list(task["task_ids"])
    columns = {*names, "output_type", "output_type_id", "value"}
    problems = [] if rows and set(rows[0]) == columns else ["the columns are not those of the task"]
    keys = [tuple(row[name] for name in (*names, "output_type", "output_type_id")) for row in rows]
    if len(keys) != len(set(keys)):
        problems.append(f"{len(keys) - len(set(keys))} rows have the key of another row")
    for name in names:
        allowed = {str(one) for one in _values(task, name)}
        if not {row[name] for row in rows} <= allowed:
            problems.append(f"{name} has a value that is not allowed")
    if any(
        date.fromisoformat(row["origin_date"]) + timedelta(days=int(row["horizon"]))
        != date.fromisoformat(row["target_end_date"])
        for row in rows
    ):
        problems.append("target_end_date is not origin_date + horizon")
    return problems + _problems_of_values(rows, names, task["output_type"])


def _problems_of_values(rows: list[dict[str, str]], names: list[str], outputs: dict) -> list[str]:
    problems = []
    for kind in {row["output_type"] for row in rows} | set(outputs):
        if kind not in outputs:
            problems.append(f"the output type {kind} is not asked for")
            continue
        tasks: dict[tuple[str, ...], list[tuple[float, float]]] = {}
        for row in rows:
            if row["output_type"] == kind:
                key = tuple(row[name] for name in names)
                tasks.setdefault(key, []).append((float(row["output_type_id"]), float(row["value"])))
        for values in tasks.values():
            values.sort()
            if kind == "quantile" and [one for one, _ in values] != outputs[kind]["output_type_id"]["required"]:
                problems.append("a task lacks a required quantile")
            if kind == "quantile" and any(a > b for (_, a), (_, b) in pairwise(values)):
                problems.append("quantiles decrease")
            if kind == "sample":
                params = outputs[kind]["output_type_id_params"]
                if not params["min_samples_per_task"] <= len(values) <= params["max_samples_per_task"]:
                    problems.append("a task has too few or too many samples")
            if min(value for _, value in values) < outputs[kind]["value"].get("minimum", float("-inf")):
                problems.append("a value is below the minimum")
    return problems


def _values(task: dict, name: str) -> list:
    return [one for part in task["task_ids"][name].values() for one in part or []]


def _keys(what: str, given: dict, needed: set[str], allowed: set[str] = frozenset()) -> list[str]:
    missing, unknown = needed - given.keys(), given.keys() - needed - allowed
    return [f"{what} lacks {missing} or has {unknown}"] if missing or unknown else []
