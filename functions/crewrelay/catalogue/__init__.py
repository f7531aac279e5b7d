"""A crew of its author's: a folder of YAML, read with its lines, checked, and built."""
