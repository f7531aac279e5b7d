"""The cost of a model call by list prices: those of CREWRELAY_MODEL_PRICES, then those of prices.yaml."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from crewrelay.jobs.errors import Misconfigured

SHIPPED = Path(__file__).with_name("prices.yaml")
SETTING = "CREWRELAY_MODEL_PRICES"

_MILLION = 1_000_000
_SMALLEST = Decimal("1e-8")  # dollars; a fifth of what the cheapest model charges per token

_Dollars = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
_ModelName = Annotated[str, StringConstraints(pattern=r"^[^/\s]+/\S+$")]


class Tokens(NamedTuple):
    """Tokens of one call. `prompt` includes `cached` and `cache_writes`."""

    prompt: int
    completion: int
    cached: int = 0
    cache_writes: int = 0


class Price(BaseModel):
    """Dollars per million tokens, valid for prompts of at most `up_to` tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: _Dollars
    output: _Dollars
    cached_input: _Dollars | None = None
    cache_write: _Dollars | None = None
    up_to: Annotated[int, Field(gt=0)] | None = None

    def of(self, tokens: Tokens) -> Decimal | None:
        """Cost of a call; None if unknown, as for a longer prompt or tokens that were not counted."""
        if self.input == self.output == 0:
            return Decimal()
        if tokens.prompt <= 0 or (self.up_to is not None and tokens.prompt > self.up_to):
            return None
        cached_input = self.input if self.cached_input is None else self.cached_input
        cache_write = self.input if self.cache_write is None else self.cache_write
        cost = (
            (tokens.prompt - tokens.cached - tokens.cache_writes) * self.input
            + tokens.cached * cached_input
            + tokens.cache_writes * cache_write
            + tokens.completion * self.output
        )
        return (cost / _MILLION).quantize(_SMALLEST).normalize()


class PriceList(BaseModel):
    """A price file. `hosts`, by provider, are the addresses for which its prices hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    as_of: date
    sources: Mapping[str, str] = {}
    hosts: Mapping[str, tuple[str, ...]] = {}
    usd_per_million_tokens: Mapping[_ModelName, Price]

    @classmethod
    def read(cls, path: Path) -> "PriceList":
        """Raises Misconfigured, naming the file, each wrong entry and what it should be."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_bytes()))
        except OSError as error:
            raise Misconfigured(f"{SETTING}: {path} can't be read: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise Misconfigured(f"{SETTING}: {path} is not YAML: {' '.join(str(error).split())}") from error
        except ValidationError as error:
            faults = "; ".join(
                ": ".join([*(str(part) for part in item["loc"] if part != "[key]"), item["msg"]])
                for item in error.errors(include_input=False)
            )
            raise Misconfigured(f"{SETTING}: {path}: {faults} (see {SHIPPED} for the format)") from error


class Prices:
    """The user's own prices hold at any address; the shipped ones only at the provider's."""

    def __init__(self, shipped: PriceList | None = None, own: PriceList | None = None) -> None:
        self._shipped = shipped
        self._own = own

    @classmethod
    def read(cls, own: Path | None) -> "Prices":
        """Raises Misconfigured if the user's own file is no valid price file."""
        return cls(PriceList.read(SHIPPED), PriceList.read(own) if own else None)

    def cost(self, model: str, tokens: Tokens, host: str | None = None) -> Decimal | None:
        """Dollars, None if unknown. `model` is provider/model; `host` is the address that was called, if known."""
        price = self._own.usd_per_million_tokens.get(model) if self._own else None
        if price is None and self._shipped:
            known = host is None or host in self._shipped.hosts.get(model.partition("/")[0], ())
            price = self._shipped.usd_per_million_tokens.get(model) if known else None
        return price.of(tokens) if price else None
