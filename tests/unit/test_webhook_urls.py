"""Which URLs a webhook may have: 0 of those that lead to what only this network can reach may pass."""

from collections.abc import Sequence

import pytest

from crewrelay.jobs.errors import InvalidRequest
from crewrelay.outbound.guard import Guard, networks_of
from crewrelay.outbound.post import HttpPost
from tests.support.fixtures import HandSetClock

PUBLIC = "93.184.215.14"

# Refused as they stand.
BY_SYNTAX = """
/crewai/run
//example.org/hook
example.org/hook
https:example.org
https:/example.org
https:///hook
https://
http://example.org/hook
ftp://example.org/
file:///etc/passwd
gopher://example.org/
javascript:alert(1)
https://user@example.org/
https://user:password@example.org/
https://example.org@127.0.0.1/
https://127.0.0.1\\@example.org/
https://example.org\\.evil.example/
https://example.org:0/
https://example.org:/
https://example.org:65536/
https://example.org:port/
https://example.org/#fragment
https://example.org./
https://127.0.0.1./
https://localhost./
https://.example.org/
https://example..org/
https://exa%6dple.org/
https://%31%32%37.0.0.1/
https://-example.org/
https://[::1
https://[::1]x/
https://[fe80::1%25eth0]/
https://[v1.fe80]/
https://127.1/
https://127.0.1/
https://2130706433/
https://0x7f000001/
https://0x7f.0.0.1/
https://0177.0.0.1/
https://017700000001/
https://127.0.0.01/
https://0/
https://1.2.3.4.5/
https://256.1.1.1/
https://example.0x/
https://１２７.０.０.１/
https://①②⑦.0.0.1/
https://ⓛocalhost/
https://bücher.example/
https://127。0。0。1/
""".split()
BY_SYNTAX += [
    "https://exam ple.org/",
    "https://example.org/\r\nX: y",
    "https://example.org/\t",
    " https://example.org/",
    "",
]
BY_SYNTAX += ["https://" + "a" * 64 + ".org/", "https://example.org/" + "a" * 2048, "https://exam\0ple.org/"]

PRIVATE = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 169.254.169.254
169.254.170.2 169.254.0.1 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:93.184.215.14 ::127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1:: 2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe::1 3fff::1 fc00::1 fd00:ec2::254
fe80::1 fec0::1 ff02::1 5f00::1
""".split()


def of(address: str) -> str:
    return f"https://[{address}]/hook" if ":" in address else f"https://{address}/hook"


@pytest.mark.parametrize("url", [*BY_SYNTAX, *map(of, PRIVATE)])
def test_a_url_that_must_not_be_called_is_refused_when_it_is_submitted(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Guard().target(url)


def test_the_corpus_is_large() -> None:
    assert len(BY_SYNTAX) + len(PRIVATE) >= 100


@pytest.mark.parametrize("address", PRIVATE)
@pytest.mark.parametrize("others", [[], [PUBLIC]], ids=["alone", "beside a public one"])
def test_a_name_with_such_an_address_is_refused_when_it_is_called(address: str, others: list[str]) -> None:
    guard = Guard()
    target = guard.target("https://inner.example.org/")
    for found in ([address, *others], [*others, address]):
        with pytest.raises(InvalidRequest):
            guard.addresses(target, lambda host, port, found=found: found)  # type: ignore[misc]


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://EXAMPLE.org/hook?a=b&c=%20d",
        "HTTPS://example.org:8443/",
        f"https://{PUBLIC}/",
        "https://[2606:4700::1111]/",
        "https://xn--bcher-kva.example/",
        "https://my_host.example.org/",
        "https://1password.example/",
    ],
)
def test_public_addresses_pass(url: str) -> None:
    guard = Guard()
    target = guard.target(url)
    assert guard.addresses(target, lambda host, port: [PUBLIC, "2606:4700::1111"])


def test_networks_that_the_operator_names_pass_over_http_too() -> None:
    guard = Guard(networks_of("127.0.0.0/8, ::1/128"))
    for url in ("http://127.0.0.1:5678/hook", "http://localhost/", "https://[::1]/"):
        assert guard.addresses(guard.target(url), lambda host, port: ["127.0.0.1", "::1"])
    for url in ("http://10.0.0.1/", f"http://{PUBLIC}/", "https://192.168.0.1/", "http://[::ffff:127.0.0.1]/"):
        with pytest.raises(InvalidRequest):
            guard.target(url)
    with pytest.raises(InvalidRequest, match="https"):  # a public address over http
        guard.addresses(guard.target("http://example.org/"), lambda host, port: [PUBLIC])


@pytest.mark.parametrize("text", ["127.0.0.1/8", "nonsense", "10.0.0.0/33"])
def test_networks_are_cidrs(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        networks_of(text)


def test_a_name_that_changes_its_address_between_submission_and_delivery_is_refused(clock: HandSetClock) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    guard = Guard()
    target = guard.target("https://rebinding.example.org/")
    assert guard.addresses(target, rebinding) == [PUBLIC]
    outcome = HttpPost(guard, clock, rebinding)("https://rebinding.example.org/", {}, b"{}")
    assert outcome.status is None
    assert outcome.error == "refused: the URL must not lead to a private or reserved address"
    assert len(asked) == 2  # once for each delivery: the connection goes to what was checked
