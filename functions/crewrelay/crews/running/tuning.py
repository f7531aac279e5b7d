"""The parts of CrewAI and its libraries that are replaced, for a process that runs many crews at once: one table.

It holds for the pinned version. docs/crewai.md shows it; tests/unit/test_replacements.py leaves out one row after the
other and sees that row's test fail.
"""

import logging
import pkgutil
from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import crewai.llms.base_llm as base_llm
from crewai.knowledge.storage.factory import set_knowledge_storage_factory
from crewai.memory.storage.factory import set_memory_storage_factory
from crewai.tools import BaseTool
from crewai_core.lock_store import set_lock_backend
from pydantic import BaseModel

from crewrelay import journal_by
from crewrelay.crews.journal import humans, mcp_seam, mcp_servers, memory, model_seam, seam, steps, task_seam, tool_seam
from crewrelay.crews.journal.knowledge import storage_of_run
from crewrelay.crews.models import reading
from crewrelay.crews.projects import kickoff_seam
from crewrelay.crews.running import parts

_NONE_FILED = "none filed"
# Rebuilding all of OpenAI's models takes 2.5 s; these, which every answer is read with, take 0.05 s.
_INCOMPLETE = ("crewai.", "openai._base_client", "openai.types.chat", "openai.types.completion_usage")


class Replacement(NamedTuple):
    """`put` replaces the part for the whole process; without it, our code sets an attribute of single objects."""

    what: str
    why: str
    upstream: str
    goes_when: str
    test: str  # fails without it
    put: Callable[[], object] | None = None


def _attribute(what: str, value: Any, why: str, goes_when: str, test: str, upstream: str = _NONE_FILED) -> Replacement:
    return Replacement(what, why, upstream, goes_when, test, lambda: _set(what, value))


REPLACEMENTS = (
    Replacement(
        "crewai_core.lock_store, by set_lock_backend",
        "Its locks are files, or Redis where REDIS_URL is set: crews of one process wait for each other.",
        "https://github.com/crewAIInc/crewAI/pull/6015",
        "Never: this is the public way to replace it.",
        "test_tuning.py::test_a_lock_is_no_file",
        partial(set_lock_backend, parts.in_process_locks()),
    ),
    Replacement(
        "crewai.knowledge.storage.factory, by set_knowledge_storage_factory",
        "It keeps knowledge in one folder for all crews of a process, searches past the journal, and fails silently.",
        _NONE_FILED,
        "Never: this is the public way to replace it.",
        "test_knowledge.py::test_a_resumed_run_embeds_nothing_and_finds_the_same",
        partial(set_knowledge_storage_factory, storage_of_run),
    ),
    Replacement(
        "crewai.memory.storage.factory, by set_memory_storage_factory",
        "It keeps the memories of all crews of a process in one folder. Those of a run are the run's.",
        _NONE_FILED,
        "Never: this is the public way to replace it.",
        "test_memory.py::test_runs_share_no_memories_and_write_none_to_the_disk",
        partial(set_memory_storage_factory, memory.storage_of_run),
    ),
    _attribute(
        "crewai.memory.unified_memory.Memory._encode_batch",
        memory.encode_batch,
        "It saves under a random id and the time of day, which later prompts have in them. In a run, it is journaled.",
        "A save can be replayed.",
        "test_memory.py::test_a_resumed_run_remembers_under_the_same_ids",
    ),
    _attribute(
        "crewai.memory.unified_memory.Memory.recall",
        memory.recall,
        "It scores by the time of day and in the order in which threads end. In a run, it is journaled.",
        "The clock and the order are given to it.",
        "test_memory.py::test_a_resumed_run_recalls_the_same_however_old_it_is",
    ),
    _attribute(
        "crewai.memory.unified_memory.Memory._submit_save",
        memory.submit_save,
        "It saves in the background; another memory of the run finds it or not.",
        "A recall waits for the saves of all memories of its storage.",
        "test_memory.py::test_what_is_saved_is_known_at_once",
    ),
    _attribute(
        "crewai.memory.unified_memory.Memory._embedder",
        property(memory.embedder),
        "It embeds past the journal, and without a key for OpenAI it remembers nothing, in silence.",
        "The embedder can be set.",
        "test_memory.py::test_an_embedding_is_paid_once",
    ),
    _attribute(
        "crewai.memory.unified_memory.Memory._llm",
        property(memory.llm),
        "It asks a model of OpenAI if it names none, whatever model the agents get.",
        "The default can be set.",
        "test_memory.py::test_a_memory_without_a_model_gets_that_of_the_settings",
    ),
    _attribute(
        "crewai.utilities.task_output_storage_handler.KickoffTaskOutputsSQLiteStorage",
        parts.NoTaskOutputs,
        "Every run wipes and rewrites one SQLite file that all crews share, for `crewai replay`.",
        "A crew can be built without a store of task outputs.",
        "test_tuning.py::test_no_task_output_is_stored",
        "https://github.com/crewAIInc/crewAI/pull/4804",
    ),
    _attribute(
        "crewai.utilities.file_store._run_sync",
        parts.no_files,
        "It looks for input files nine times a run, each time on a new event loop: a fifth of a run's CPU.",
        "Nothing is looked up where there is no store of files.",
        "test_tuning.py::test_a_look_for_input_files_makes_no_event_loop",
    ),
    _attribute(
        "crewai.agents.agent_executor.AgentExecutor._initial_state_t",
        parts.ExecutorState,
        "An agent's executor makes the class of its state anew in every run: a sixth of a run's CPU.",
        "The class is made once.",
        "test_tuning.py::test_every_executors_state_is_of_one_class",
    ),
    _attribute(
        "crewai.agents.agent_executor.AgentExecutor._format_prompt",
        staticmethod(parts.format_prompt),
        "It fills in one placeholder after the other, and so also those that a caller wrote in an input.",
        "It fills them in at once.",
        "test_building.py::test_what_a_caller_wrote_reaches_the_model_as_it_is",
    ),
    _attribute(
        "crewai.llms.base_llm.run_with_rate_limit_retry",
        parts.call_once,
        "It sleeps and repeats a throttled call. Here the job is given back and tried again later.",
        "The retries can be switched off.",
        "test_tuning.py::test_a_throttled_call_is_not_repeated",
        "https://github.com/crewAIInc/crewAI/pull/7677",
    ),
    _attribute(
        "crewai.llms.base_llm.arun_with_rate_limit_retry",
        parts.acall_once,
        "The same, for an asynchronous call.",
        "The retries can be switched off.",
        "test_ambient.py::test_an_asynchronous_call_that_is_throttled_is_not_repeated",
        "https://github.com/crewAIInc/crewAI/pull/7677",
    ),
    Replacement(
        "call, acall and get_input_tokens_count of BaseLLM's subclasses, by wrap_models",
        "A project builds its models itself. In a run, every call goes to the run's journal; tokens are estimated.",
        _NONE_FILED,
        "A hook can answer in a model's place.",
        "test_ambient.py::test_a_model_is_asked_once_and_never_past_the_journal",
        model_seam.wrap_models,
    ),
    Replacement(
        "_run and _arun of BaseTool's subclasses, by wrap_tools",
        "A project builds its tools itself. In a run, every result goes to the run's journal.",
        _NONE_FILED,
        "A hook can answer in a tool's place.",
        "test_ambient.py::test_a_tool_runs_once_and_never_past_the_journal",
        tool_seam.wrap_tools,
    ),
    _attribute(
        "crewai.tools.base_tool.Tool.run",
        BaseTool.run,
        "It calls the function of a tool that @tool made past `_run`, where the journal is.",
        "It calls `_run`, as that of other tools does.",
        "test_ambient.py::test_a_tool_runs_once_and_never_past_the_journal",
    ),
    _attribute(
        "crewai.tools.structured_tool.CrewStructuredTool.ainvoke",
        tool_seam.ainvoke,
        "It runs a tool on a thread without the context, and so without the run's journal and log keys.",
        "It uses asyncio.to_thread.",
        "test_ambient.py::test_a_tool_that_is_invoked_asynchronously_knows_its_run",
    ),
    _attribute(
        "crewai.mcp.tool_resolver.MCPClient",
        mcp_seam.RunClient,
        "It lists a server's tools past the journal, and repeats a call of a tool that may have been made.",
        "A hook can answer in a server's place.",
        "test_mcps.py::test_a_server_is_asked_once_though_the_run_dies_after_each_call",
    ),
    _attribute(
        "crewai.mcp.tool_resolver.MCPToolResolver.resolve",
        mcp_seam.resolve,
        "It takes an address that does not answer for a server without tools, and shares its list with all jobs.",
        "It raises an error.",
        "test_mcps.py::test_a_server_that_is_down_ends_the_run_instead_of_offering_no_tools",
    ),
    _attribute(
        "crewai.mcp.tool_resolver.StdioTransport",
        mcp_servers.StdioServer,
        "It prints what a server's process writes, past the log, and does not find our Python on Lambda.",
        "It takes a place for what is written.",
        "test_mcps.py::test_what_a_process_writes_is_not_printed",
    ),
    _attribute(
        "mcp.client.stdio._create_platform_compatible_process",
        mcp_servers.start,
        "The SDK leaves what a server's process has started, if the process itself ends when it is told to.",
        "It ends the process's group.",
        "test_hostile_mcp_servers.py::test_what_a_process_has_started_ends_with_it",
    ),
    _attribute(
        "crewai.agents.agent_executor.AgentExecutor._prepare_tool_result_for_context",
        tool_seam.prepare_tool_result,
        "It puts a long result of a tool into a file of a random name, and names it in the next prompt.",
        "The name is the same in a resumed run, and the file is there.",
        "test_ambient.py::test_a_long_result_of_a_tool_is_cut",
    ),
    _attribute(
        "crewai.agents.agent_executor.get_provider",
        humans.review_provider,
        "It asks for human input in the terminal. In a run, the job waits for the answer.",
        "Never: a provider in the context would be the public way, but CrewAI makes its own wherever it finds none.",
        "test_humans.py::test_a_task_is_reviewed_until_the_human_is_content",
    ),
    _attribute(
        "crewai.flow.flow.Flow._resolve_feedback_provider",
        humans.feedback_provider,
        "It asks for feedback in the terminal, or has a project's provider suspend the flow in a database of its own.",
        "Never: a default provider can be set, but not that a project's own is not asked.",
        "test_humans.py::test_a_step_of_a_flow_is_reviewed",
    ),
    _attribute(
        "crewai.flow.flow.Flow._collapse_to_outcome",
        humans.outcome,
        "It asks a model which outcome a feedback means, also if the human has chosen one.",
        "A provider can return the outcome.",
        "test_humans.py::test_an_option_that_was_chosen_is_asked_of_no_model",
    ),
    _attribute(
        "crewai.flow.flow.Flow.ask",
        humans.ask,
        "It asks in the terminal, and takes every error for no answer. In a run, the job waits for the answer.",
        "It passes an error of its provider on.",
        "test_humans.py::test_a_flow_asks_for_input",
    ),
    _attribute(
        "builtins.input",
        humans.typed,
        "A flow of CrewAI's own guide asks in the terminal. In a run, the job waits for the answer.",
        "Never: it is Python's.",
        "test_humans.py::test_what_is_to_be_typed_is_asked",
    ),
    _attribute(
        "crewai.crew.prepare_kickoff",
        kickoff_seam.prepare_kickoff,
        "A flow builds its crews while it runs: only then is it known what they are, such as a multimodal one.",
        "Never: it is a check.",
        "test_flows.py::test_a_crew_that_a_flow_builds_is_checked_when_it_starts",
    ),
    _attribute(
        "crewai.agent.core.Agent._prepare_kickoff",
        kickoff_seam.prepare_agent_kickoff,
        "The same, for an agent without a crew.",
        "Never: it is a check.",
        "test_flows.py::test_an_agent_that_a_flow_builds_is_checked_when_it_starts",
    ),
    _attribute(
        "crewai.task.Task._execute_core",
        task_seam.execute,
        "It tells of its beginning and end by events, in no certain order and after the fact.",
        "Its events come in order, before what they tell of.",
        "test_task_events.py::test_a_run_tells_of_its_tasks",
    ),
    _attribute(
        "crewai.task.Task._aexecute_core",
        task_seam.aexecute,
        "The same, for an asynchronous task.",
        "Its events come in order, before what they tell of.",
        "test_task_events.py::test_a_run_tells_of_its_tasks",
    ),
    _attribute(
        "crewai.task.Task._save_file",
        parts.save_file,
        "It writes into the working directory, which other jobs share, or wherever an input in its name leads.",
        "A task can be given a folder.",
        "test_workplace.py::test_an_output_file_is_written_into_the_runs_folder",
    ),
    Replacement(
        "init_db, save_state and load_state of SQLiteFlowPersistence, by keep_no_states",
        "@persist writes a SQLite file that all flows share. The journal restores a run's state.",
        _NONE_FILED,
        "A persistence can be set that also replaces an explicit one.",
        "test_flows.py::test_persist_writes_no_file",
        parts.keep_no_states,
    ),
    _attribute(
        "crewai.utilities.llm_utils._llm_via_environment_or_fallback",
        parts.default_model,
        "An agent of a project for which no model is named gets CrewAI's default, not that of CREWRELAY_MODEL.",
        "The default can be set.",
        "test_projects.py::test_an_agent_without_a_model_gets_that_of_the_settings",
    ),
    _attribute(
        "crewai.events.event_listener.event_listener.formatter.console.quiet",
        True,
        "With verbose=True of a project it prints prompts and answers, past the log.",
        "It is logged.",
        "test_projects.py::test_a_verbose_project_prints_nothing",
    ),
    _attribute(
        "crewai.utilities.planning_handler.CrewPlanner._create_tasks_summary",
        parts.tasks_summary,
        "It puts the addresses of tools' functions into the planner's prompt.",
        "It names the tools only.",
        "test_ambient.py::test_a_planners_prompt_has_no_addresses",
    ),
    _attribute(
        "crewai.utilities.converter.Converter._create_instructor",
        parts.through_the_model,
        "For `output_json` it asks the provider with a client of its own: past the journal, and past our settings.",
        "It asks the agent's model.",
        "test_tuning.py::test_output_json_is_asked_of_the_agents_model",
        "https://github.com/crewAIInc/crewAI/issues/5204",
    ),
    _attribute(
        "crewai.events.event_bus.crewai_event_bus._console.console.quiet",
        True,
        "A listener that fails is printed, with what it raised: a caller's text, past the log.",
        "It is logged.",
        "test_tuning.py::test_a_failing_listener_prints_nothing",
    ),
    _attribute(
        "crewai.events.event_context._console.console.quiet",
        True,
        "Events that don't pair, as those of a run that is stopped, are printed, past the log.",
        "They are logged.",
        "test_tuning.py::test_unpaired_events_print_nothing",
    ),
    Replacement(
        "the level of the logger crewai.llms.base_llm",
        "It warns at every call that it estimates the tokens of a model that it doesn't know by name.",
        _NONE_FILED,
        "It warns once.",
        "test_tuning.py::test_an_estimate_of_tokens_warns_of_nothing",
        partial(logging.getLogger(base_llm.__name__).setLevel, logging.ERROR),
    ),
    *(
        _attribute(
            f"crewai.agents.parser.{name}",
            pattern,
            "It takes the square or the cube of a reply's length: 60 KB kept a process busy for minutes.",
            "It takes linear time.",
            f"test_reading.py::test_a_reply_is_searched_in_linear_time[{name}]",
            "none filed; https://github.com/langchain-ai/langchain/issues/6898 is of the same pattern",
        )
        for name, pattern in reading.PATTERNS.items()
    ),
    *(
        _attribute(
            what,
            reading.Braces(),
            "It takes the square of the length of a reply with braces that don't close.",
            "It takes linear time.",
            f"test_reading.py::test_a_reply_is_searched_in_linear_time[{what.rpartition('.')[2]}]",
        )
        for what in ("crewai.utilities.converter._JSON_PATTERN", "crewai.llms.base_llm._JSON_EXTRACTION_PATTERN")
    ),
    _attribute(
        "crewai.agents.parser.repair_json",
        reading.repair_if_short,
        "Repairing broken JSON takes the square of its length.",
        "It can be given a limit.",
        "test_reading.py::test_long_arguments_are_not_repaired_by_the_parser",
        "https://github.com/mangiucugna/json_repair/issues/203",
    ),
    _attribute(
        "crewai.tools.tool_usage.ToolUsage._validate_tool_input",
        reading.validated_if_short,
        "The same, for a tool's arguments.",
        "It can be given a limit.",
        "test_reading.py::test_long_arguments_are_not_repaired_for_a_tool",
        "https://github.com/mangiucugna/json_repair/issues/203",
    ),
    Replacement(
        "incomplete pydantic models of CrewAI and OpenAI's SDK, by complete_models",
        "Pydantic completes them at their first use; two threads at once, and one fails: a job in some hundred.",
        "https://github.com/pydantic/pydantic/issues/11849",
        "Pydantic has https://github.com/pydantic/pydantic/pull/13438.",
        "test_tuning.py::test_the_models_that_answers_are_read_with_are_complete",
    ),
    Replacement(
        "_flow_listener_logged, of the exceptions that end a run which is relayed or cancelled",
        "It logs every exception that passes through an executor as an error.",
        _NONE_FILED,
        "An exception can be declared as expected.",
        "test_quiet.py::test_a_run_that_goes_well_warns_of_nothing",
    ),
    Replacement(
        "_token_usage, of a model's copies",
        "A model counts tokens from its beginning on; each call's copy counts from zero.",
        _NONE_FILED,
        "A call returns its usage.",
        "test_models.py::test_a_model_is_built_once_and_every_caller_counts_for_itself",
    ),
    Replacement(
        "_client, of a model's copies",
        "A client has one timeout; a call may last no longer than its run.",
        _NONE_FILED,
        "A call takes a timeout.",
        "test_models.py::test_one_call_waits_no_longer_than_it_may",
    ),
    Replacement(
        "_client, of Bedrock's and Azure's models",
        "CrewAI builds them with ten retries and minutes of timeout, or takes no settings for them.",
        _NONE_FILED,
        "Both take `timeout` and `max_retries`.",
        "test_models.py::test_a_model_of_bedrock_is_asked_where_and_as_whom_aws_says",
    ),
)


@cache
def tune_crewai() -> None:
    """Call before the first crew is built; only the first call does anything."""
    for replacement in REPLACEMENTS:
        if replacement.put:
            replacement.put()
    journal_by(steps.step, humans.answered)


def complete_models() -> None:
    """Call before the first crew runs, when the models have been built: that imports OpenAI's SDK."""
    for model in set(seam.subclasses(BaseModel)):
        if model.__module__.startswith(_INCOMPLETE) and not model.__pydantic_complete__:
            model.model_rebuild(raise_errors=False)


def _set(what: str, value: Any) -> None:
    """Raises AttributeError or ImportError if there is no such part in this version."""
    path, _, name = what.rpartition(".")
    owner = pkgutil.resolve_name(path)
    getattr(owner, name)
    setattr(owner, name, value)
