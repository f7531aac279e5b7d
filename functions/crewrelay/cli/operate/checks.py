"""The checks of `crewrelay doctor`: each part that a job needs, separately."""

import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from crewrelay.cli.api.client import Client, Refused
from crewrelay.health import Check
from crewrelay.jobs.errors import CrewrelayError, Misconfigured


class Finding(NamedTuple):
    what: str
    ok: bool
    detail: str


def diagnose(checks: Iterable[Check]) -> Iterator[Finding]:
    """One finding per check; an error in one does not stop the others."""
    for what, check in checks:
        try:
            yield Finding(what, True, check())
        except (Misconfigured, Refused) as error:  # the message is the remedy
            yield Finding(what, False, str(error))
        except CrewrelayError as error:
            yield Finding(what, False, f"{str(error).rstrip('.')}. {error.remedy}")
        except Exception as error:
            yield Finding(what, False, f"{type(error).__name__}: {error}")


def api_checks(deployment: Client) -> Iterator[Check]:
    yield "API", lambda: f"runs version {deployment.health()['version']}"
    yield "crews", lambda: ", ".join(crew["name"] for crew in deployment.crews())


def crew_checks() -> Iterator[Check]:
    """Checks of model, crews and collection, by the settings in this environment."""
    yield "model", _model
    yield "own crews", _own_crews
    yield "collection", _collection


def _model() -> str:
    from crewrelay.crews.models.failures import explain
    from crewrelay.wiring.crews import models
    from crewrelay.wiring.secrets import model_settings

    model = models(model_settings())()
    started = time.monotonic()
    try:
        model.call("Reply with OK.")
    except Exception as error:
        raise Misconfigured(explain(error).message) from error
    return f"{model.model} answered in {time.monotonic() - started:.1f} s"


def _own_crews() -> str:
    from crewrelay.catalogue.catalogue import catalogue
    from crewrelay.crews.running.checks import refuse_broken
    from crewrelay.jobs.errors import InvalidCrew
    from crewrelay.wiring.crews import models
    from crewrelay.wiring.secrets import model_settings

    if faults := refuse_broken(catalogue(), models(model_settings())):
        raise InvalidCrew("\n".join(faults))
    return f"{', '.join(catalogue().names())}: no faults"


def _collection() -> str:
    from contextlib import closing

    from crewrelay.wiring import retrieval
    from crewrelay.wiring.secrets import embedder_settings, retrieval_settings

    settings, embedder = retrieval_settings(), retrieval.embedder(embedder_settings())
    with closing(retrieval.collections(settings)) as stores:
        found = retrieval.retriever(stores, settings, embedder).retrieve("Is anything here?", 1)
        names, there = retrieval.searched(settings), stores.names()
        where = f"{next((name for name in names if name in there), names[0])} in {stores.place}"
    if not found:
        raise Misconfigured(f"The collection {where} is empty: fill it with `crewrelay ingest`")
    return f"{where}, by {embedder.name}, finds {found[0].id}"
