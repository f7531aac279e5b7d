from collections.abc import Iterator

import pytest

from tests.weaviate import WeaviateDouble, weaviate_double


@pytest.fixture(scope="session")
def weaviate() -> Iterator[WeaviateDouble]:
    """A double of Weaviate that this test process has for itself."""
    with weaviate_double() as double:
        yield double
