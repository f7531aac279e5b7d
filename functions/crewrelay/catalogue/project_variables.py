"""The environment variables that a project reads: `env` of its [tool.crewrelay] names them."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from crewrelay.catalogue.project_files import line_of
from crewrelay.catalogue.yaml_file import Fault

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What crewrelay, its libraries, Lambda, Python and the loader read. In any case: pydantic-settings ignores it.
_RESERVED = re.compile(
    r"(CREWRELAY|CREWAI|AWS|LAMBDA|POWERTOOLS|WEAVIATE|HAYSTACK|LD|DYLD|SSL)_.*|PYTHON.*|_.*|.*_PROXY"
    r"|PATH|HOME|TMPDIR|TEMP|TMP|TZ|LITELLM_LOCAL_MODEL_COST_MAP",
    re.IGNORECASE,
)


def is_reserved(name: str) -> bool:
    return _RESERVED.fullmatch(name) is not None


def faults_of_names(path: Path, names: Iterable[str]) -> Iterator[Fault]:
    """`path` is the pyproject.toml that has them."""
    for name in names:
        line = line_of(path, rf"""(?m)^[^#\n]*?["']{re.escape(name)}["']""")
        if not _NAME.fullmatch(name):
            yield Fault(path, line, f"tool.crewrelay.env: {name!r} is no name of a variable; correct it")
        elif is_reserved(name):
            what = f"{name} would change crewrelay itself; remove it, and set it for the whole process if you mean that"
            yield Fault(path, line, f"tool.crewrelay.env: {what}")
