"""The API holds to its own description, whatever is asked: generated questions, by the thousand."""

import warnings
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from web_server import Web

# Imports for its own command line deprecated names of its own libraries.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.specs.openapi.checks import positive_data_acceptance

# What a schema cannot say, so that well-formed questions are refused too: a cursor is a page's own, a day exists in the
# calendar, an end is not before its start.
UNSAYABLE = [positive_data_acceptance]
EXAMPLES = 60


@pytest.fixture(scope="module")
def web(daily_done):
    with Web(daily_done) as running:
        yield running


def test_no_question_breaks_the_server_or_its_description(web):
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    requests: Counter[str] = Counter()
    statuses: Counter[int] = Counter()

    def ask(case):
        # Every other question is about the series that there is, so that it gets as far as the database.
        if case.query.get("series") and requests[case.operation.path] % 2:
            case.query["series"] = "Coinbase_BTCUSD_d"
        answer = case.call()
        requests[case.operation.path] += 1
        statuses[answer.status_code] += 1
        # No 5xx, a status, a media type and a shape that the description knows.
        case.validate_response(answer, excluded_checks=UNSAYABLE)

    fixed = settings(
        max_examples=EXAMPLES, derandomize=True, database=None,
        phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for described in schema.get_all_operations():
        operation = described.ok()
        # Without parameters there is nothing to get wrong.
        modes = list(schemathesis.GenerationMode) if operation.query else [schemathesis.GenerationMode.POSITIVE]
        for mode in modes:
            fixed(given(operation.as_strategy(generation_mode=mode))(ask))()
    print(f"{sum(requests.values())} questions, answered {dict(sorted(statuses.items()))}")
    assert len(requests) == 13
    assert all(count >= EXAMPLES for path, count in requests.items() if path.startswith("/api/"))
    assert {200, 400} <= set(statuses)


def test_an_answer_that_is_not_as_described_would_be_seen(web):
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    operation = schema["/api/v1/series"]["GET"]
    case = operation.Case(query={"limit": 5})
    answer = case.call()
    answer.content = answer.content.replace(b'"name"', b'"nome"')
    with pytest.raises(schemathesis.core.failures.FailureGroup):
        case.validate_response(answer)
