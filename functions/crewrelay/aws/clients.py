"""One client per service and process: low-level clients are thread-safe, resources are not."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoRegionError
from botocore.handlers import add_recursion_detection_header

from crewrelay import __version__
from crewrelay.jobs.errors import CrewrelayError, Misconfigured, ServiceRefused, Unavailable

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sqs import SQSClient

# Slow reads are retried: the default timeout of 60 s is as long as a lease. Three tries of 3 s take 9 s at most.
_CONFIG = Config(
    connect_timeout=1,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=64,
    user_agent=f"crewrelay/{__version__}",  # fixed: building the default one takes a sixth of a request's CPU time
)

# Prefix of AWS credential variables for Bedrock only, for when the plain ones belong to an emulator.
FOR_BEDROCK = "BEDROCK_"

# Errors that the operator must fix: a role, credentials, a resource.
_REFUSALS = frozenset(
    """
    AccessDenied AccessDeniedException ExpiredToken ExpiredTokenException InvalidAccessKeyId InvalidClientTokenId
    InvalidSignatureException ResourceNotFoundException SignatureDoesNotMatch NoSuchBucket UnrecognizedClientException
    AWS.SimpleQueueService.NonExistentQueue QueueDoesNotExist DecryptionFailure InvalidRequestException
    """.split()
)
_FAULTS = frozenset({"ValidationException", "ValidationError"})  # bugs of ours: a retry does not help


@cache
def dynamodb() -> "DynamoDBClient":
    return boto3.client("dynamodb", config=_CONFIG)


@cache
def sqs() -> "SQSClient":
    """Without the trace header by which Lambda's loop detection stops a function after 16 messages to itself."""
    client = boto3.client("sqs", config=_CONFIG)
    client.meta.events.unregister("before-call", add_recursion_detection_header)
    return client


@cache
def s3() -> "S3Client":
    # By default boto3 presigns URLs of some regions with version 2, which newer buckets refuse.
    return boto3.client("s3", config=_CONFIG.merge(Config(signature_version="s3v4")))


@cache
def secrets_manager() -> "BaseClient":
    client: BaseClient = boto3.client("secretsmanager", config=_CONFIG)
    return client


@cache
def bedrock(read_timeout: float = 30) -> "BaseClient":
    """For models and embeddings, which take longer than a write; retries are up to the caller.

    Raises Misconfigured without a region or credentials, so that it shows at start and not in the first job.
    """
    config = Config(
        connect_timeout=2, read_timeout=read_timeout, retries={"total_max_attempts": 1}, max_pool_connections=64
    )
    if "AWS_ENDPOINT_URL" in os.environ and "AWS_ENDPOINT_URL_BEDROCK_RUNTIME" not in os.environ:
        raise Misconfigured(
            "AWS_ENDPOINT_URL sends Bedrock's requests to an AWS emulator too: set AWS_ENDPOINT_URL_BEDROCK_RUNTIME, "
            "such as https://bedrock-runtime.us-east-1.amazonaws.com, and AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    try:
        session = _session()
        client: BaseClient = session.client("bedrock-runtime", config=config, region_name=os.environ.get("AWS_REGION"))
    except NoRegionError as error:
        raise Misconfigured("Bedrock needs a region: set AWS_REGION") from error
    if "AWS_BEARER_TOKEN_BEDROCK" not in os.environ and session.get_credentials() is None:
        raise Misconfigured("Bedrock needs AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return client


@cache
def _session() -> boto3.Session:
    """One session, which caches service descriptions: its first client takes 160 ms, each other one 9."""
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    own: dict[str, Any] = {name: os.environ.get(FOR_BEDROCK + name.upper()) for name in names}
    return boto3.Session(**own)


def resource(stack: str, logical_id: str) -> str:
    """The physical name or URL of a deployed stack's resource. Raises Misconfigured, Unavailable."""
    with unavailable_if_it_fails(f"stack {stack}", refused=Misconfigured):
        client = boto3.client("cloudformation", config=_CONFIG)
        found = client.describe_stack_resource(StackName=stack, LogicalResourceId=logical_id)
    return found["StackResourceDetail"]["PhysicalResourceId"]


def output(stack: str, name: str) -> str:
    """An output of a deployed stack. Raises Misconfigured, Unavailable."""
    with unavailable_if_it_fails(f"stack {stack}", refused=Misconfigured):
        [described] = boto3.client("cloudformation", config=_CONFIG).describe_stacks(StackName=stack)["Stacks"]
    for one in described.get("Outputs", []):
        if one.get("OutputKey") == name:
            return one.get("OutputValue", "")
    raise Misconfigured(f"The stack {stack} has no output {name}: is it crewrelay's? Name another with --stack.")


def error_code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


@contextmanager
def unavailable_if_it_fails(what: str, refused: type[CrewrelayError] = ServiceRefused) -> Iterator[None]:
    """Translate botocore's errors: transient ones to Unavailable, refusals to `refused`, invalid requests to
    Misconfigured. At start and in the command, where no job has been accepted yet, pass refused=Misconfigured.
    """
    try:
        yield
    except ClientError as error:
        code = error_code(error)
        if code in _FAULTS:
            raise Misconfigured(f"The {what} rejected the request as invalid: {code}.") from error
        if code in _REFUSALS:
            raise refused(f"The {what} refused the request: {code}.") from error
        raise Unavailable(f"The {what} did not answer: {code}.") from error
    except BotoCoreError as error:
        raise Unavailable(f"The {what} did not answer.") from error
