"""The models that crews ask: providers, replies, usage, failures."""
