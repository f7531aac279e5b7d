"""Receivers that do everything wrong, on real sockets. Once such a receiver recovers it gets every event, in order,
each under its own id; and no delivery takes longer than it may.
"""

import gzip
import ssl
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from crewrelay.jobs.records.events import EventType
from crewrelay.jobs.records.subscription import Outcome, State
from crewrelay.outbound.guard import Guard, networks_of
from crewrelay.outbound.post import HttpPost
from tests.support.certificates import certified
from tests.support.doubles.receiver import (
    Behaviour,
    Receiver,
    answering,
    answers_unread,
    closes_at_once,
    closes_its_half,
    resets,
    says_nothing,
    speaks_no_tls,
    status,
    trickles_a_handshake,
    trickling,
)
from tests.support.fixtures import Figure, HandSetClock
from tests.support.subscribed import World, asking

TIMEOUT = 0.5  # seconds
LOOPBACK = Guard(networks_of("127.0.0.0/8"))
FINE = "HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(bytes(10**7))

FAILING: dict[str, Behaviour] = {
    "closes at once": closes_at_once,
    "reads and closes": answering(b""),
    "reads and resets": resets,
    "closes its half": closes_its_half,
    "says nothing": says_nothing,
    "trickles a status line": trickling(b"", b"H"),
    "trickles headers": trickling(FINE.encode(), b"X: y\r\n", 0.02),
    "sends a header without end": trickling(f"{FINE}X: ".encode(), b"y" * 5000, 0.001),
    "sends a huge header": answering(f"{FINE}X: {'y' * 70_000}\r\n\r\n"),
    "sends too many headers": answering(FINE + "X: y\r\n" * 200 + "\r\n"),
    "says continue without end": trickling(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    "switches protocols": status(101),
    "speaks HTTP/0.9": answering("<html>fine</html>"),
    "speaks no HTTP": answering(bytes(range(256)) * 10),
    "breaks off in its status": answering("HTTP/1.1 2"),
    "has a status that is none": answering("HTTP/1.1 fine\r\n\r\n"),
    "has a status of five digits": answering("HTTP/1.1 20000 OK\r\n\r\n"),
    "redirects for good": status(301, "Location: http://127.0.0.1:1/"),
    "redirects to the metadata": status(302, "Location: http://169.254.169.254/latest/meta-data/"),
    "redirects the method too": status(307, "Location: http://127.0.0.1:1/"),
    "redirects without a place": status(308),
    "does not understand": status(400),
    "wants to know who it is": status(401, "WWW-Authenticate: Basic"),
    "forbids": status(403),
    "is not there yet": status(404),
    "is busy": status(409),
    "finds it too large": status(413),
    "has too many": status(429, "Retry-After: 7"),
    "has too many for a year": status(429, "Retry-After: 99999999999999999999"),
    "fails": status(500),
    "is a gateway of nothing": status(502),
    "is away until a date": status(503, "Retry-After: Fri, 02 Jan 2026 03:10:00 GMT"),
    "is away until nonsense": status(503, "Retry-After: soon, in \u00fc years"),
    "is away until never": status(503, "Retry-After: Fri, 31 Dec 9999 23:59:59 -0000"),
}
TAKING: dict[str, Behaviour] = {
    "is content": status(204),
    "accepts": status(202),
    "answers without reading": answers_unread,
    "trickles a body": trickling(f"{FINE}Content-Length: 1000000\r\n\r\n".encode(), b"a"),
    "sends a body without end": trickling(f"{FINE}\r\n".encode(), b"a" * 65536, 0.001),
    "sends a bomb": answering(f"{FINE}Content-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n\r\n".encode() + BOMB),
    "breaks off in its body": answering(f"{FINE}Content-Length: 100\r\n\r\nabc"),
    "sends chunks that are none": answering(f"{FINE}Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
    "names a time of no clock": answering(
        f"{FINE}Retry-After: Thu, 01 Jan 2026 00:00:00 +99999999999999999999\r\nContent-Length: 0\r\n\r\n".encode()
    ),
    "has a length that is none": answering(f"{FINE}Content-Length: -5\r\n\r\n"),
}


@pytest.fixture
def receiver() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(*script: Behaviour, **options: object) -> Receiver:
        made.append(Receiver(*script, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def timed(post: HttpPost) -> Callable[..., Outcome]:
    def call(*args: object) -> Outcome:
        start = time.monotonic()
        outcome = post(*args)  # type: ignore[arg-type]
        assert time.monotonic() - start < TIMEOUT + 1.5
        return outcome

    return call


def told(clock: HandSetClock, receiver: Receiver, context: ssl.SSLContext | None = None) -> World:
    """Two events of a job, until everything is settled."""
    world = World(clock, timed(HttpPost(LOOPBACK, clock, timeout=TIMEOUT, context=context)))
    job = world.submitted(asking(EventType.SUBMITTED, EventType.COMPLETED, url=receiver.url), "a-job")
    world.notify(job)
    world.completed(job)
    world.pass_until_settled(job)
    return world


@pytest.mark.parametrize("name", FAILING)
def test_nothing_is_lost_to_a_receiver_that_recovers(
    name: str, clock: HandSetClock, receiver: Callable[..., Receiver], figure: Figure
) -> None:
    hostile = receiver(FAILING[name], FAILING[name])
    world = told(clock, hostile)
    ids = [headers["webhook-id"].rpartition("_")[0] for headers, _ in hostile.requests]
    assert ids == ["msg_a-job_0_1", "msg_a-job_0_3"]
    [kept] = world.subscriptions.of("a-job")
    assert [attempt.event for attempt in kept.attempts] == [1, 1, 1, 3]
    assert (kept.state, kept.due_at) == (State.ACTIVE, None)
    assert kept.attempts[0].error or kept.attempts[0].status
    figure(f"{name}: {kept.attempts[0].error or kept.attempts[0].status}")


@pytest.mark.parametrize("name", TAKING)
def test_a_status_of_success_is_enough(name: str, clock: HandSetClock, receiver: Callable[..., Receiver]) -> None:
    world = told(clock, receiver(TAKING[name]))
    [kept] = world.subscriptions.of("a-job")
    assert [attempt.event for attempt in kept.attempts] == [1, 3]


def test_a_receiver_that_is_not_there_and_then_is(clock: HandSetClock, receiver: Callable[..., Receiver]) -> None:
    late = receiver(listening=False)
    world = World(clock, HttpPost(LOOPBACK, clock, timeout=TIMEOUT))
    job = world.completed(world.submitted(asking(url=late.url)))
    world.notify(job)
    [kept] = world.subscriptions.of(job.id)
    assert kept.attempts[0].error == "connection failed: Connection refused"
    late.listen()
    world.pass_until_settled(job)
    assert len(late.requests) == 1


def test_a_receiver_that_says_it_is_gone_is_not_called_again(
    clock: HandSetClock, receiver: Callable[..., Receiver]
) -> None:
    gone = receiver(status(410))
    world = told(clock, gone)
    assert (gone.connections, world.subscriptions.of("a-job")[0].state) == (1, State.GONE)


def test_no_redirect_is_followed(clock: HandSetClock, receiver: Callable[..., Receiver]) -> None:
    inner = receiver()
    told(clock, receiver(status(302, f"Location: {inner.url}"), status(307, f"Location: {inner.url}")))
    assert inner.connections == 0


def test_the_times_that_a_receiver_asks_for(clock: HandSetClock, receiver: Callable[..., Receiver]) -> None:
    post = HttpPost(LOOPBACK, clock, timeout=TIMEOUT)
    busy = receiver(FAILING["has too many"], FAILING["is away until a date"], FAILING["is away until nonsense"])
    waits = [post(busy.url, {}, b"{}").retry_after for _ in range(3)]
    assert waits == [timedelta(seconds=7), timedelta(minutes=5, seconds=55), None]


# ---- TLS


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server at 127.0.0.1, and of a client that trusts its authority."""
    key, certificate = certified(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize("behaviour", [speaks_no_tls, says_nothing, trickles_a_handshake, closes_at_once, resets])
def test_faults_of_tls_are_attempts_that_failed(
    behaviour: Behaviour,
    clock: HandSetClock,
    receiver: Callable[..., Receiver],
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server, client = tls
    hostile = receiver(behaviour, context=server)
    told(clock, hostile, client)
    ids = [headers["webhook-id"].rpartition("_")[0] for headers, _ in hostile.requests]
    assert ids == ["msg_a-job_0_1", "msg_a-job_0_3"]


def test_a_certificate_by_nobody_or_for_another_name_is_refused(
    clock: HandSetClock, receiver: Callable[..., Receiver], tls: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = tls
    secure = receiver(context=server)
    unknown = HttpPost(LOOPBACK, clock, timeout=TIMEOUT)(secure.url, {}, b"{}")
    assert (unknown.status, unknown.error.partition(":")[0]) == (None, "certificate")
    named = HttpPost(LOOPBACK, clock, lambda host, port: ["127.0.0.1"], TIMEOUT, client)
    other = named(secure.url.replace("127.0.0.1", "other.example.org"), {}, b"{}")
    assert (other.status, other.error.partition(":")[0]) == (None, "certificate")
    assert secure.requests == []


# ---- what is sent


def test_the_connection_goes_to_the_checked_address_and_the_request_to_the_name(
    clock: HandSetClock, receiver: Callable[..., Receiver], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    plain = receiver()
    url = plain.url.replace("127.0.0.1", "inner.example.org")
    headers = {"Authorization": "Bearer it", "host": "evil.example.org", "Content-Length": "9999"}
    outcome = HttpPost(LOOPBACK, clock, lambda host, port: ["127.0.0.1"])(url, headers, b"{}")
    assert outcome.status == 204
    [(sent, body)] = plain.requests
    assert (sent["host"], sent["authorization"], body) == (f"inner.example.org:{plain.port}", "Bearer it", b"{}")


def test_a_header_can_not_bring_another(clock: HandSetClock, receiver: Callable[..., Receiver]) -> None:
    plain = receiver()
    outcome = HttpPost(LOOPBACK, clock)(plain.url, {"X-One": "a\r\nX-Two: b"}, b"{}")
    assert outcome.error
    assert plain.requests == []


def test_a_name_that_resolves_slowly_or_not_at_all(clock: HandSetClock) -> None:
    def slowly(host: str, port: int) -> list[str]:
        time.sleep(0.5)
        return []

    assert HttpPost(LOOPBACK, clock, slowly, 0.1)("https://slow.example.org/", {}, b"{}") == Outcome(error="timeout")
    none = HttpPost(LOOPBACK, clock, lambda host, port: [])("https://none.example.org/", {}, b"{}")
    assert none == Outcome(error="connection failed: the name has no address")


def test_the_suite_is_large() -> None:
    assert len(FAILING) + len(TAKING) >= 40
