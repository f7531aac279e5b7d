"""What a call costs: by the table that ships, by a file of one's own, or unknown."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from crewrelay.crews.journal import durable
from crewrelay.crews.keyless.extractive import ExtractiveLLM
from crewrelay.crews.models.providers import split_model_name
from crewrelay.jobs.errors import Misconfigured
from crewrelay.prices import SHIPPED, PriceList, Prices, Tokens

OPENAI = "api.openai.com"


@pytest.fixture
def prices() -> Prices:
    return Prices.read(None)


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., Path]:
    """A file of one's own with these lines as its entries."""

    def written(*entries: str, head: str = "as_of: 2026-01-02") -> Path:
        path = tmp_path / "own.yaml"
        path.write_text("\n  ".join([f"{head}\nusd_per_million_tokens:", *entries]))
        return path

    return written


@pytest.mark.parametrize(
    ("model", "host", "tokens", "cost"),
    [
        ("openai/gpt-4o", OPENAI, Tokens(1_000_000, 0), "2.5"),
        ("openai/gpt-4o", OPENAI, Tokens(0 + 1, 1_000_000), "10.0000025"),
        ("openai/gpt-4o", OPENAI, Tokens(1_000_000, 0, cached=400_000), "2"),
        ("openai/gpt-4o-mini", OPENAI, Tokens(1200, 350), "0.00039"),
        ("openai/gpt-5-nano", OPENAI, Tokens(1, 0), "0.00000005"),
        ("anthropic/claude-haiku-4-5", "api.anthropic.com", Tokens(10_000, 100, 4_000, 2_000), "0.0074"),
        ("bedrock/amazon.nova-micro-v1:0", "bedrock-runtime.us-east-1.amazonaws.com", Tokens(1000, 100), "0.000049"),
        ("gemini/gemini-2.5-flash", None, Tokens(1000, 1000), "0.0028"),
        ("crewrelay/extractive", None, Tokens(0, 0), "0"),
    ],
)
def test_a_call_costs_what_its_tokens_do(
    prices: Prices, model: str, host: str | None, tokens: Tokens, cost: str
) -> None:
    assert prices.cost(model, tokens, host) == Decimal(cost)


@pytest.mark.parametrize(
    ("model", "host", "tokens"),
    [
        ("openai/no-such-model", OPENAI, Tokens(10, 5)),
        ("openai/gpt-4o", "127.0.0.1", Tokens(10, 5)),  # a server of one's own, which calls its model so
        ("openai/gpt-4o", "eu.api.openai.com", Tokens(10, 5)),
        ("bedrock/amazon.nova-lite-v1:0", "bedrock-runtime.eu-central-1.amazonaws.com", Tokens(10, 5)),
        ("ollama/llama3.2", "localhost", Tokens(10, 5)),
        ("openai/gpt-4o", OPENAI, Tokens(0, 0)),  # nobody counted
        ("openai/gpt-4o", OPENAI, Tokens(0, 5)),
        ("gemini/gemini-2.5-pro", None, Tokens(200_001, 5)),
    ],
)
def test_what_is_not_known_is_not_guessed(prices: Prices, model: str, host: str | None, tokens: Tokens) -> None:
    assert prices.cost(model, tokens, host) is None


def test_a_cost_has_no_more_digits_than_it_needs(prices: Prices) -> None:
    cost = prices.cost("openai/gpt-4o", Tokens(4, 0), OPENAI)
    assert repr(float(str(cost))) == "1e-05"
    third = PriceList.model_validate(
        {"as_of": "2026-01-02", "usd_per_million_tokens": {"a/b": {"input": 0.3333333, "output": 1}}}
    )
    assert Prices(own=third).cost("a/b", Tokens(1, 0)) == Decimal("0.00000033")


def test_ones_own_price_goes_first_at_any_address_and_the_others_stay(own: Callable[..., Path]) -> None:
    prices = Prices.read(own("openai/gpt-4o: {input: 1, output: 2}", "ollama/llama3.2: {input: 0, output: 0}"))
    for host in (OPENAI, "127.0.0.1", None):
        assert prices.cost("openai/gpt-4o", Tokens(1_000_000, 0), host) == 1
    assert prices.cost("ollama/llama3.2", Tokens(10, 5), "localhost") == 0
    assert prices.cost("openai/gpt-4o-mini", Tokens(1_000_000, 0), OPENAI) == Decimal("0.15")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("openai/x: {input: -1, output: 1}", "usd_per_million_tokens: openai/x: input: .*greater than or equal to 0"),
        ("openai/x: {input: .nan, output: 1}", "openai/x: input: .*finite"),
        ("openai/x: {input: dear, output: 1}", "openai/x: input: .*valid decimal"),
        ("openai/x: {input: 1}", "openai/x: output: Field required"),
        ("openai/x: {input: 1, output: 1, outptu: 1}", "openai/x: outptu: Extra inputs"),
        ("openai/x: 7", "openai/x: Input should be a valid dictionary"),
        ("gpt-4o: {input: 1, output: 1}", "gpt-4o: .*pattern"),
    ],
)
def test_a_wrong_entry_is_named_with_its_file_and_the_form(own: Callable[..., Path], entry: str, said: str) -> None:
    path = own(entry)
    with pytest.raises(Misconfigured, match=said) as caught:
        Prices.read(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).startswith("CREWRELAY_MODEL_PRICES: ")
    assert str(SHIPPED) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"usd_per_million_tokens: {}", "as_of: Field required"),
        (b"as_of: yesterday\nusd_per_million_tokens: {}", "as_of: .*valid date"),
        (b"as_of: 2026-01-02", "usd_per_million_tokens: Field required"),
        (b"", "own.yaml: Input should be"),
        (b"- openai/x", "own.yaml: Input should be"),
        (b"a: [", "is not YAML"),
        (b"\xff\xfe\x00", "is not YAML"),
        (None, "can't be read: No such file"),
    ],
)
def test_a_file_that_is_none_of_prices_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "own.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Misconfigured, match=said) as caught:
        Prices.read(path)
    assert len(str(caught.value).splitlines()) == 1


def test_the_table_that_ships_has_its_date_and_a_source_and_host_for_every_provider() -> None:
    shipped = PriceList.read(SHIPPED)
    providers = {split_model_name(name)[0] for name in shipped.usd_per_million_tokens if name != ExtractiveLLM.NAME}
    assert providers == shipped.sources.keys() == shipped.hosts.keys()
    assert all(re.match("https://", url) for url in shipped.sources.values())
    for name, price in shipped.usd_per_million_tokens.items():
        assert price.input <= price.output, name
        assert (price.cached_input or price.input) <= price.input <= (price.cache_write or price.input), name


def test_a_new_price_is_no_new_crew() -> None:
    """Or its jobs would start afresh, and pay again."""
    assert not SHIPPED.is_relative_to(Path(durable.__file__).parent)
