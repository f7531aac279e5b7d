"""CrewAI's options that a crew can't use here, and why."""

from collections.abc import Collection

from crewrelay.catalogue.yaml_file import nearest

_ANOTHER_PROMPT = "makes other prompts in every run"
_PAST_THE_JOURNAL = "asks services that are not journaled"

# With these a resumed run would ask something else than the first.
NOT_TO_BE_RESUMED = {
    "planning": _ANOTHER_PROMPT,
    "planning_config": _ANOTHER_PROMPT,
    "reasoning": _ANOTHER_PROMPT,
    "inject_date": "puts another date into every run",
    "memory": "is not the same in the next run",
    "knowledge": _PAST_THE_JOURNAL,
    "knowledge_sources": _PAST_THE_JOURNAL,
    "mcps": _PAST_THE_JOURNAL,
    "apps": _PAST_THE_JOURNAL,
    "a2a": _PAST_THE_JOURNAL,
    "multimodal": _PAST_THE_JOURNAL,
    "allow_code_execution": _PAST_THE_JOURNAL,
}

# Also those that are of no use here, that belong into code, or that crewrelay does itself.
REFUSED = NOT_TO_BE_RESUMED | {
    "output_file": "writes to a disk that is gone after the run",
    "max_execution_time": "hides what went wrong; CREWRELAY_MAX_RUNTIME_SECONDS bounds a job",
    "max_rpm": "has a worker sleep; a throttled job is tried again later",
    "max_retry_limit": "would pay for calls again; the job is tried again, and replays what it has",
    "tool_failure_policy": "would end the job over a tool that the model made up",
    "function_calling_llm": "is not supported",
    "step_callback": "is not supported",
    "callback": "is not supported",
    "callbacks": "is not supported",
    "guardrail": "is not supported in YAML",
    "guardrails": "is not supported in YAML",
    "output_json": "is not supported in YAML",
    "output_pydantic": "is not supported in YAML",
    "stream": "has no reader",
}


def remedy(name: str, known: Collection[str]) -> str:
    """The message for an option that is not a known one."""
    if name in REFUSED:
        return f"{REFUSED[name]}; remove it"
    return f"is unknown here; {nearest(name, known)}"
