"""The API of crews on CrewAI's platform, AMP, at /amp/{crew} for each crew. docs/clients.md says what differs.

Its document: https://docs.crewai.com/en/api-reference/introduction; its clients also read `state` and other fields.
"""

from crewrelay.http.protocols.amp.resource import refusal, routes

__all__ = ["refusal", "routes"]
