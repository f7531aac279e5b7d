"""URL TOKEN: CrewAI's own client of A2A, which is behind an agent's `a2a=`, gives a crew of ours a task."""

import json
import sys
from importlib.metadata import version
from typing import Any

output, sys.stdout = sys.stdout, sys.stderr  # where CrewAI tells what it does, even at the end

from crewai.a2a.auth import BearerTokenAuth  # noqa: E402
from crewai.a2a.updates import PollingConfig, StreamingConfig  # noqa: E402
from crewai.a2a.utils.delegation import execute_a2a_delegation  # noqa: E402

url, token = sys.argv[1], sys.argv[2]
found: dict[str, Any] = {"version": version("crewai")}
for name, updates in (("stream", StreamingConfig()), ("poll", PollingConfig(interval=0.5, timeout=60))):
    told = execute_a2a_delegation(
        endpoint=f"{url}/.well-known/agent-card.json",
        auth=BearerTokenAuth(token=token),
        timeout=60,
        task_description="hello",
        updates=updates,
    )
    found[name] = [told["status"].value, told.get("result") or told.get("error")]
print(json.dumps(found), file=output)
