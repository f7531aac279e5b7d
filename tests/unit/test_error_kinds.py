"""Which errors are outages, and what an error has with it."""

from crewrelay.jobs import errors
from crewrelay.jobs.errors import CrewrelayError, MissingScope, RetrievalUnavailable, ServiceRefused, Unavailable


def below(root: type[CrewrelayError]) -> set[type[CrewrelayError]]:
    own = {each for each in root.__subclasses__() if each.__module__ == errors.__name__}
    return own | {each for one in own for each in below(one)}


def test_a_service_that_did_not_serve_is_an_outage_and_nothing_else_is() -> None:
    every = {CrewrelayError} | below(CrewrelayError)
    assert {each for each in every if each.outage} == {Unavailable, ServiceRefused, RetrievalUnavailable}


def test_an_error_of_no_kind_is_a_fault_of_the_service_that_will_not_pass() -> None:
    assert (CrewrelayError.http, CrewrelayError.retryable, CrewrelayError.outage) == (500, False, False)


def test_a_scope_that_is_missing_is_named() -> None:
    error = MissingScope("jobs:write")
    assert error.scope == "jobs:write"
    assert str(error) == "This needs a token with the scope jobs:write."
