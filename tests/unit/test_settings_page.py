"""docs/settings.md has each setting with its default, and no other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings

from crewrelay import settings
from tests.support.processes import ROOT

ROWS = re.findall(r"^\| (.+?) \| (.+?) \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)[1:]
DOCUMENTED = {name: default for names, default in ROWS for name in re.findall(r"`(\w+)`", names)}


def variables() -> Iterator[tuple[str, Any]]:
    """Each setting's variable and default."""
    for kind in vars(settings).values():
        if isinstance(kind, type) and issubclass(kind, BaseSettings):
            for name, field in kind.model_fields.items():
                prefix = kind.model_config.get("env_prefix", "")
                yield str(field.validation_alias or f"{prefix}{name}".upper()), field.default


def shown(default: Any) -> str:
    """As the page writes it."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`" if isinstance(default, str | Path) else f"{default:g}" if default < 1000 else str(default)


def test_every_setting_is_there_with_its_default() -> None:
    settings_ = dict(variables())
    assert len(settings_) > 30
    for name, default in settings_.items():
        assert name in DOCUMENTED, name
        if default not in (None, ""):
            assert DOCUMENTED[name].startswith(shown(default)), name


def test_no_other_is_there() -> None:
    ours = {name for name in DOCUMENTED if name.startswith(("CREWRELAY_", "WEAVIATE_"))}
    assert ours - dict(variables()).keys() == set()
