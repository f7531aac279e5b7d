"""The composition root: chooses the adapters of the ports by settings. No adapter imports it.

`jobs` and `tokens` import quickly; `crews` and `retrieval` import CrewAI, Haystack and, if configured, Weaviate.
"""
