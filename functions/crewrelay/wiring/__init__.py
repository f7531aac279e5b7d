"""The composition root: the ports' adapters, as the settings choose them. No adapter imports it.

`jobs` and `tokens` are light. CrewAI, Haystack and Weaviate are behind `crews` and `retrieval`.
"""
