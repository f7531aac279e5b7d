"""Crews as data: folders of YAML, read and checked without CrewAI."""
