"""The table of template.yaml has the keys and indexes of the rows that are written."""

from datetime import UTC, datetime
from typing import Any

import pytest

from crewrelay.aws import rows
from crewrelay.jobs.records import transitions
from crewrelay.jobs.records.job import Job, JobInput
from crewrelay.jobs.records.policy import Policy
from crewrelay.local.resources import Template
from tests.support.template import resources

NOW = datetime(2026, 1, 2, tzinfo=UTC)
INPUT = JobInput(crew="research", inputs={"topic": "t", "language": "en"})
PENDING = transitions.submit("an-id", "local", INPUT, NOW, Policy())
DONE = transitions.complete(transitions.claim(PENDING, "me", "crew-1", NOW, Policy()), NOW)


def job_item(job: Job) -> dict[str, Any]:
    return rows.key(job.id, "JOB") | rows.typed(rows.job_values(job))


@pytest.fixture
def table(template: Template) -> dict[str, Any]:
    (properties,) = resources(template, "AWS::DynamoDB::Table").values()
    return properties


def key_names(schema: list[dict[str, str]]) -> list[str]:
    return [key["AttributeName"] for key in schema]


def test_the_tables_keys_are_what_rows_are_written_under(table: dict[str, Any]) -> None:
    assert key_names(table["KeySchema"]) == list(rows.key("an-id", "JOB"))


def test_a_job_row_has_every_key_in_its_declared_type(table: dict[str, Any]) -> None:
    item = job_item(PENDING)
    for attribute in table["AttributeDefinitions"]:
        assert list(item[attribute["AttributeName"]]) == [attribute["AttributeType"]]


def test_only_jobs_that_have_not_ended_are_in_the_index_of_the_unfinished_with_their_keys_alone(
    table: dict[str, Any],
) -> None:
    (index,) = [index for index in table["GlobalSecondaryIndexes"] if index["IndexName"] == "unfinished"]
    (key,) = key_names(index["KeySchema"])
    assert job_item(PENDING)[key]["S"] in {rows.unfinished("local", shard) for shard in range(rows.UNFINISHED_SHARDS)}
    assert key not in job_item(DONE)
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}


def test_only_rows_that_owe_something_are_in_the_due_index(table: dict[str, Any]) -> None:
    (keys,) = [key_names(i["KeySchema"]) for i in table["GlobalSecondaryIndexes"] if i["IndexName"] == "due"]
    assert keys == ["due_shard", "due_at"]
    assert set(keys) <= job_item(PENDING).keys()
    assert not set(keys) & job_item(DONE).keys()


def test_only_job_rows_are_in_the_indexes(table: dict[str, Any]) -> None:
    others = [rows.body_item(PENDING, "INPUT", {"body": b"{}"})]
    for index in table["GlobalSecondaryIndexes"]:
        assert set(key_names(index["KeySchema"])) <= job_item(PENDING).keys()
        assert not any(set(key_names(index["KeySchema"])) <= item.keys() for item in others)


def test_an_index_carries_attributes_that_job_rows_have(table: dict[str, Any]) -> None:
    for index in table["GlobalSecondaryIndexes"]:
        assert set(index["Projection"].get("NonKeyAttributes", [])) <= job_item(PENDING).keys()


def test_every_row_expires_by_the_tables_ttl_in_epoch_seconds(table: dict[str, Any]) -> None:
    ttl = table["TimeToLiveSpecification"]
    assert ttl["Enabled"] is True
    for item in (job_item(PENDING), job_item(DONE), rows.body_item(PENDING, "INPUT", {"body": b"{}"})):
        assert int(item[ttl["AttributeName"]]["N"]) == (NOW + Policy().keep).timestamp()
