"""URL TOKEN INPUTS: a crew run by InvokeCrewAIAutomationTool, as an agent of CrewAI's runs a tool."""

import json
import sys
from importlib.metadata import version

from crewai_tools import InvokeCrewAIAutomationTool
from pydantic import Field

url, token, inputs = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
tool = InvokeCrewAIAutomationTool(
    crew_api_url=url,
    crew_bearer_token=token,
    crew_name="another crew",
    crew_description="Runs a crew elsewhere",
    max_polling_time=60,
    crew_inputs={name: Field(..., description=name) for name in inputs},
)
print(json.dumps({"version": version("crewai-tools"), "result": tool.run(**inputs)}))
