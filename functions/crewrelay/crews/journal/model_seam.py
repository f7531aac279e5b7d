"""Sends every call of a model to the journal of its run, whoever built the model: see ambient.py."""

import functools
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from crewai.llms.base_llm import BaseLLM

from crewrelay.crews.journal.ambient import in_a_run, journal_for
from crewrelay.crews.journal.journaled import Asked, journaled_call
from crewrelay.crews.journal.seam import on_a_thread, subclasses, wrap

_wrap_for_crewai: Any = BaseLLM.__dict__["_wrap_call_method"].__func__


def wrap_models() -> None:
    """All subclasses of BaseLLM, now and later."""

    def define(cls: type[BaseLLM], name: str) -> None:
        _wrap_for_crewai(cls, name)
        _wrap_model(cls, name, "get_input_tokens_count")

    BaseLLM._wrap_call_method = classmethod(define)  # type: ignore[method-assign, assignment]
    for known in subclasses(BaseLLM):
        _wrap_model(known, "call", "acall", "get_input_tokens_count")


def _wrap_model(cls: type[BaseLLM], *names: str) -> None:
    if not getattr(cls, "JOURNALS_ITSELF", False):
        for name in names:
            wrap(cls, name, _estimating if name == "get_input_tokens_count" else _journaled_model)


def _journaled_model(method: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(method):

        @functools.wraps(method)
        async def acall(model: BaseLLM, *args: Any, **kwargs: Any) -> Any:
            journal = journal_for(f"the model {model.model}")
            if journal is None:
                return await method(model, *args, **kwargs)
            return await on_a_thread(
                lambda here: journaled_call(
                    model, _asked(args, kwargs), journal, lambda copy: here(method(copy, *args, **kwargs))
                )
            )

        return acall

    @functools.wraps(method)
    def call(model: BaseLLM, *args: Any, **kwargs: Any) -> Any:
        journal = journal_for(f"the model {model.model}")
        if journal is None:
            return method(model, *args, **kwargs)
        return journaled_call(model, _asked(args, kwargs), journal, lambda copy: method(copy, *args, **kwargs))

    return call


def _asked(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Asked:
    """A model of the project's own may take more than CrewAI gives it."""
    return Asked(*args[: len(Asked._fields)], **{name: kwargs[name] for name in Asked._fields if name in kwargs})


def _estimating(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def get_input_tokens_count(model: BaseLLM, *args: Any, **kwargs: Any) -> Any:
        """Of OpenAI's and Bedrock's models it would be a request past the journal."""
        return (BaseLLM.get_input_tokens_count if in_a_run() else method)(model, *args, **kwargs)

    return get_input_tokens_count
