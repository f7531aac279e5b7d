"""Environment variables for every process that runs crews, to be set before CrewAI is imported."""

CREW_ENVIRONMENT = {
    "CREWAI_TRACING_ENABLED": "false",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_VERSION_CHECK": "true",
    "HAYSTACK_TELEMETRY_ENABLED": "false",
    "LITELLM_LOCAL_MODEL_COST_MAP": "true",  # else it is fetched from the network at the first import
}
