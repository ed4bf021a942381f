"""The API keeps to its OpenAPI description for a thousand generated questions."""

import warnings
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from web_server import Web

# schemathesis imports deprecated names of its libraries for its command line.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

# Rules that a schema cannot express, so that the API also refuses well-formed questions: a cursor comes from a page, a
# day exists in the calendar, an end is not before its start.
UNSAYABLE = [positive_data_acceptance]
EXAMPLES = 30


@pytest.fixture(scope="module")
def web(daily_done):
    with Web(daily_done) as running:
        yield running


def test_no_request_breaks_the_server_or_its_description(web):
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    requests: Counter[str] = Counter()
    statuses: Counter[int] = Counter()

    def ask_of_what_is_stored(case):
        # Every second right question is about the stored series, so that it reaches the database.
        if case.query.get("series") and requests[case.operation.path] % 2:
            case.query["series"] = "Coinbase_BTCUSD_d"
        ask(case)

    def ask(case):
        answer = case.call()
        requests[case.operation.path] += 1
        statuses[answer.status_code] += 1
        # The answer is no 5xx, and its status, media type and shape are in the description. A wrong value that a URL
        # leaves out, such as an empty list, leaves a right question.
        left_out = any(value is None or value in ([], {}) for value in (case.query or {}).values())
        unsayable = [*UNSAYABLE, negative_data_rejection] if left_out else UNSAYABLE
        case.validate_response(answer, excluded_checks=unsayable)

    fixed = settings(
        max_examples=EXAMPLES, derandomize=True, database=None,
        phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for described in schema.get_all_operations():
        operation = described.ok()
        positive = operation.as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
        fixed(given(positive)(ask_of_what_is_stored))()
        # Questions without parameters cannot be wrong.
        if operation.query:
            fixed(given(operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))(ask))()
    print(f"{sum(requests.values())} questions, answered {dict(sorted(statuses.items()))}")
    assert len(requests) == 17
    assert all(count >= EXAMPLES for path, count in requests.items() if path.startswith("/api/"))
    assert {200, 400} <= set(statuses)


def test_an_answer_that_differs_from_its_description_is_noticed(web):
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    operation = schema["/api/v1/series"]["GET"]
    case = operation.Case(query={"limit": 5})
    answer = case.call()
    answer.content = answer.content.replace(b'"name"', b'"nome"')
    with pytest.raises(schemathesis.core.failures.FailureGroup):
        case.validate_response(answer)
