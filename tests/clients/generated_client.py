"""URL TOKEN FOLDER: a full cycle with the client that openapi-python-client has generated into the folder."""

import json
import sys
from importlib.metadata import version
from typing import Any

url, token, folder = sys.argv[1:4]
sys.path.insert(0, folder)

from crewrelay_client import AuthenticatedClient  # noqa: E402
from crewrelay_client.api.batches import batch, batch_results, submit_batch  # noqa: E402
from crewrelay_client.api.crews import crews  # noqa: E402
from crewrelay_client.api.jobs import calls, cancel, delete, events, jobs, run, status, submit  # noqa: E402
from crewrelay_client.models import (  # noqa: E402
    Accepted,
    BatchRequest,
    BatchResult,
    Problem,
    Status,
    TopicItem,
    TopicRequest,
)

client = AuthenticatedClient(base_url=url, token=token, timeout=40)


def waited_for(job_id: str) -> Any:
    while True:
        found = status.sync(job_id, client=client, wait=20)
        if found.status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
            return found


request = TopicRequest(topic="neural networks", language="en")
did: dict[str, Any] = {"version": version("openapi-python-client")}
did["crews"] = [each.name for each in crews.sync(client=client).crews]

accepted = submit.sync(client=client, body=request, idempotency_key="the same")
assert isinstance(accepted, Accepted)
did["repeated"] = submit.sync(client=client, body=request, idempotency_key="the same").job_id == accepted.job_id
done = waited_for(accepted.job_id)
did["status"], did["cited"] = done.status.value, len(done.sources)
did["inline"] = run.sync(client=client, body=request).answer == done.result
did["events"] = [event.event.value for event in events.sync(accepted.job_id, client=client).events]
did["calls"] = calls.sync(accepted.job_id, client=client).total

hasty = submit.sync(client=client, body=TopicRequest(topic="rain", language="en"))
did["cancelled"] = cancel.sync(hasty.job_id, client=client).status.value

many = BatchRequest(items=[TopicItem(topic=topic, language="en", custom_id=topic) for topic in ("SQLite", "rain")])
batch_id = submit_batch.sync(client=client, body=many).batch_id
while not (counted := batch.sync(batch_id, client=client)).finished:
    pass
did["counts"] = counted.counts.completed
lines = batch_results.sync_detailed(batch_id, client=client).content.splitlines()
did["results"] = sorted(BatchResult.from_dict(json.loads(line)).custom_id for line in lines)
did["listed"] = len(jobs.sync(client=client, batch=batch_id).jobs)

errors = {
    "not cancelled": cancel.sync(accepted.job_id, client=client),
    "unknown": status.sync("nobodys", client=client),
    "invalid": submit.sync(client=client, body=TopicRequest(topic="", language="english")),
    "another body": submit.sync(
        client=client, body=TopicRequest(topic="rain", language="en"), idempotency_key="the same"
    ),
}
assert all(isinstance(error, Problem) for error in errors.values()), errors
did["errors"] = {name: error.type_.rpartition(":")[2] for name, error in errors.items()}
did["fields"] = [error.field for error in errors["invalid"].errors]
did["deleted"] = delete.sync_detailed(accepted.job_id, client=client).status_code.value
print(json.dumps(did))
