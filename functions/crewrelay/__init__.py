"""crewrelay: durable CrewAI crews on AWS Lambda."""

__version__ = "0.1.0"
