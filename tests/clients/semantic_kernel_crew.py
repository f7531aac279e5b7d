"""URL TOKEN INPUTS: a crew run by Semantic Kernel's plugin for CrewAI's platform, by its methods and as a kernel's
function.
"""

import asyncio
import json
import sys
from importlib.metadata import version
from typing import Any

import aiohttp
from semantic_kernel import Kernel
from semantic_kernel.core_plugins.crew_ai import CrewAIEnterprise
from semantic_kernel.functions import KernelParameterMetadata


async def main(url: str, token: str, inputs: dict[str, Any]) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session:
        crew = CrewAIEnterprise(endpoint=url, auth_token=token, session=session)
        async with crew.client:
            kickoff_id = await crew.kickoff(inputs=inputs)
            first = await crew.get_crew_kickoff_status(kickoff_id)
            result = await crew.wait_for_crew_completion(kickoff_id)
            parameters = [KernelParameterMetadata(name=name, type="str", is_required=True) for name in inputs]
            plugin = crew.create_kernel_plugin("research", "Runs a crew", parameters=parameters)
            kernel = Kernel()
            kernel.add_plugin(plugin)
            answer = await kernel.invoke(plugin["kickoff_and_wait"], **inputs)
            return {"first": first.state.value, "result": result, "of_the_kernel": str(answer)}


url, token, inputs = sys.argv[1:4]
print(json.dumps({"version": version("semantic-kernel")} | asyncio.run(main(url, token, json.loads(inputs)))))
