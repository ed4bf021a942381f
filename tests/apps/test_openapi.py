"""The API holds to its own description, whatever is asked: generated questions, by the thousand."""

import warnings
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from server import Web

# Imports for its own command line deprecated names of its own libraries.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import schemathesis

EXAMPLES = 60


@pytest.fixture(scope="module")
def web(daily_done):
    with Web(daily_done) as running:
        yield running


def test_no_question_breaks_the_server_or_its_description(web):
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    asked: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in schemathesis.GenerationMode:

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                database=None,
                phases=(Phase.explicit, Phase.generate),
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case, operation=operation):
                answer = case.call()
                asked[operation.path] += 1
                statuses[answer.status_code] += 1
                # No 5xx, a status, a media type and a shape that the description knows.
                case.validate_response(answer)

            ask()
    print(f"{sum(asked.values())} questions, answered {dict(sorted(statuses.items()))}")
    assert len(asked) == 12
    assert min(asked.values()) >= EXAMPLES / 2
    assert {200, 400, 404} <= set(statuses)


def test_an_answer_that_is_not_as_described_would_be_seen(web):
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    operation = schema["/api/v1/series"]["GET"]
    case = operation.Case(query={"limit": 5})
    answer = case.call()
    answer.content = answer.content.replace(b'"name"', b'"nome"')
    with pytest.raises(schemathesis.core.failures.FailureGroup):
        case.validate_response(answer)
