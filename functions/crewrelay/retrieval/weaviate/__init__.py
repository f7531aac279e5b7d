"""The passage store on Weaviate."""

import warnings

# The client's import switches on warnings for the whole process, which would then appear in its log.
with warnings.catch_warnings():
    import weaviate as _weaviate  # noqa: F401
