"""OpenAI's SDKs and the AI SDK against the stack; what they check is in the programs."""

from tests.clients.matrix import RunClient
from tests.support.models import ScriptedModel


def test_openai_python(run_client: RunClient, model: ScriptedModel) -> None:
    did = run_client("openai_python.py")
    assert {"error classes", "a lost answer, repeated by the client: one job"} <= {*did}
    # A request that was repeated until the crew was done was one job.
    assert 1 <= model.calls_by("topic")["created at once"] <= 3


def test_openai_node(run_client: RunClient) -> None:
    assert "stream, continued in windows" in run_client("node/openai_node.mjs")


def test_the_ai_sdk(run_client: RunClient) -> None:
    assert "streamText" in run_client("node/ai_sdk.mjs")
