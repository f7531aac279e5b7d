"""docs/http-reference.md is what the OpenAPI document says."""

from tests.support.http_reference import PAGE, reference


def test_the_page_is_as_the_api_describes_itself() -> None:
    assert PAGE.read_text() == reference(), "write it again: .venv/bin/python -m tests.support.http_reference"
