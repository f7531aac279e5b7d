"""The double of Weaviate in a process of its own, and what is put into collections."""

import math
import ssl
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np

from crewrelay.retrieval.chunks import Chunk
from crewrelay.retrieval.collection import Embedding, Vector
from crewrelay.retrieval.weaviate.server import WeaviateServer
from tests.support.certificates import certified
from tests.support.processes import listening

STACK = "tests"
EMBEDDING = Embedding("tests/four", 4)
TIMEOUT = timedelta(seconds=10)


class WeaviateDouble(NamedTuple):
    """See tests/support/doubles/weaviate_server.py."""

    port: int
    grpc_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def server(self) -> WeaviateServer:
        return WeaviateServer(self.url, f"http://127.0.0.1:{self.grpc_port}")

    def set_faults(self, **faults: Any) -> None:
        """Without any, it is well again."""
        httpx.post(f"{self.url}/faults", json=faults).raise_for_status()

    def calls(self) -> Counter[str]:
        """What has reached it, by path or gRPC method."""
        return Counter(httpx.get(f"{self.url}/calls").json())


@contextmanager
def weaviate_double() -> Iterator[WeaviateDouble]:
    with listening("tests.support.doubles.weaviate_server") as port:
        yield WeaviateDouble(port, httpx.get(f"http://127.0.0.1:{port}/grpc").json())


@contextmanager
def secure_weaviate_double(folder: Path) -> Iterator[WeaviateServer]:
    """One that speaks TLS, with a certificate of the authority in `folder/ca.pem`."""
    key, certificate = certified(folder)
    trusted = ssl.create_default_context(cafile=folder / "ca.pem")
    with listening("tests.support.doubles.weaviate_server", str(key), str(certificate)) as port:
        url = f"https://127.0.0.1:{port}"
        yield WeaviateServer(url, f"https://127.0.0.1:{httpx.get(f'{url}/grpc', verify=trusted).json()}")


def vector(*numbers: float) -> Vector:
    """Of length 1."""
    array = np.array(numbers, dtype=np.float32)
    return array / np.float32(np.linalg.norm(array))


def chunks_of(page: str, *texts: str, title: str = "A title", heading: str = "A heading") -> list[Chunk]:
    return [
        Chunk(f"{page}#{number}", title, f"https://example.org/{page}", heading, text, f"Before it. {text} After it.")
        for number, text in enumerate(texts, start=1)
    ]


def alike(chunks: Sequence[Chunk]) -> list[Vector]:
    """The same vector for each: only keywords tell them apart."""
    return [vector(1, 1, 1, 1)] * len(chunks)


def apart(chunks: Sequence[Chunk]) -> list[Vector]:
    """Another vector for each. An approximate index need not find all of many that are equal."""
    return [vector(1, math.cos(number), math.sin(number), 1) for number in range(len(chunks))]
