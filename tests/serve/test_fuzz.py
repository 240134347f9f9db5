"""No request makes the server fail: made from the API's own description, and photos with broken bytes."""

from __future__ import annotations

import base64
import random

import pytest

from tests.serve.conftest import encoded

CASES = 5
"""Of each path; more of them by hand: set it to 500."""


def test_no_request_that_the_description_suggests_fails(server) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    hypothesis = pytest.importorskip("hypothesis")
    schema = schemathesis.openapi.from_url(f"{server.base_url}/openapi.json")
    seen = []
    for operation in schema.get_all_operations():

        def check(case) -> None:
            answer = case.call()
            assert answer.status_code < 500, answer.text
            case.validate_response(answer, checks=[schemathesis.checks.CHECKS.get_one("response_schema_conformance")])

        found = operation.ok()
        hypothesis.settings(
            max_examples=CASES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )(hypothesis.given(case=found.as_strategy())(check))()
        seen.append(found.path)
    assert {"/v1/predict", "/v1/everything", "/v1/track", "/v1/embeddings"} <= set(seen)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_no_broken_photo_makes_the_server_fail(server, pixels, kind) -> None:
    whole = encoded(pixels[:48, :64], kind)
    chance = random.Random(kind)
    status = set()
    for _ in range(40):
        content = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            content[chance.randrange(min(len(content), 400))] = chance.randrange(256)
        if chance.random() < 0.3:
            del content[chance.randrange(len(content)) :]
        image = base64.b64encode(content).decode()
        status.add(server.post("/v1/embeddings", json={"image": image}).status_code)
    assert status <= {200, 422}
    assert 422 in status
