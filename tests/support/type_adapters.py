"""The validators of FastAPI's fields, built once in this process: each app has 200, and most tests make an app."""

from typing import Any

from fastapi._compat.v2 import ModelField, asdict


def share_type_adapters() -> None:
    """Those of the same annotation and options: a validator keeps nothing of what it validates."""
    build = ModelField.__post_init__
    known: dict[Any, Any] = {}

    def build_once(field: ModelField) -> None:
        key = (field.field_info.annotation, repr(asdict(field.field_info)), repr(field.config))
        if key in known:
            field._type_adapter = known[key]
        else:
            build(field)
            known[key] = field._type_adapter

    setattr(ModelField, "__post_init__", build_once)  # noqa: B010
