"""Text that can always be written down: half a surrogate pair is no character, and nothing can encode it."""

from typing import Annotated, Any

from pydantic import BeforeValidator


def _well_formed(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_well_formed)]
