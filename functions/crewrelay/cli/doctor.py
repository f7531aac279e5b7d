"""What `crewrelay doctor` looks at: each part that a job needs, by itself."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from crewrelay.cli.client import Deployment, Refused
from crewrelay.jobs.errors import CrewrelayError, Misconfigured

Check = tuple[str, Callable[[], str]]  # what is looked at; says what was found, or raises


class Finding(NamedTuple):
    what: str
    is_well: bool
    told: str


def diagnose(checks: Iterable[Check]) -> Iterator[Finding]:
    """One finding a check, whatever it raises: the next part is looked at all the same."""
    for what, check in checks:
        try:
            yield Finding(what, True, check())
        except (Misconfigured, Refused) as error:  # the message is the remedy
            yield Finding(what, False, str(error))
        except CrewrelayError as error:
            yield Finding(what, False, f"{str(error).rstrip('.')}. {error.remedy}")
        except Exception as error:
            yield Finding(what, False, f"{type(error).__name__}: {error}")


def of_api(deployment: Deployment) -> Iterator[Check]:
    yield "API", lambda: f"runs version {deployment.health()['version']}"
    yield "crews", lambda: ", ".join(crew["name"] for crew in deployment.crews())


def of_crews() -> Iterator[Check]:
    """The model, the crews and the collection of the settings in this environment."""
    yield "model", _model
    yield "own crews", _own_crews
    yield "collection", _collection


def _model() -> str:
    from crewrelay import composition
    from crewrelay.crews.failures import explain
    from crewrelay.crews.models import Models

    model = Models(composition.model_settings())()
    started = time.monotonic()
    try:
        model.call("Reply with OK.")
    except Exception as error:
        raise Misconfigured(explain(error).message) from error
    return f"{model.model} answered in {time.monotonic() - started:.1f} s"


def _own_crews() -> str:
    from crewrelay import composition
    from crewrelay.catalogue.catalogue import catalogue
    from crewrelay.crews.checks import refuse_broken
    from crewrelay.crews.models import Models

    refuse_broken(catalogue(), Models(composition.model_settings()))
    return f"{', '.join(catalogue().names())}: nothing is wrong with them"


def _collection() -> str:
    from contextlib import closing

    from crewrelay import composition
    from crewrelay.retrieval.embedded.shipped import SHIPPED

    settings = composition.retrieval_settings()
    embedder = composition.embedder(composition.embedder_settings())
    with closing(composition.collections(settings)) as stores:
        found = composition.retriever(stores, settings, embedder).retrieve("Is anything here?", 1)
        name = settings.collection or composition.DOCUMENTS
        if not settings.weaviate_url and name not in stores.names():
            name = SHIPPED  # stands in until there are documents
    where = f"Weaviate at {settings.weaviate_url}" if settings.weaviate_url else f"the folder {settings.collections}"
    if not found:
        raise Misconfigured(f"The collection {name} in {where} is empty: fill it with `crewrelay ingest`")
    return f"{name} in {where}, by {embedder.name}, gives {found[0].id} first"
