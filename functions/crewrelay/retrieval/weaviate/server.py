"""Where a Weaviate server is: its two addresses, its key, and the authority that vouches for it."""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from grpc import ChannelCredentials, ssl_channel_credentials
from weaviate.connect import ConnectionParams

from crewrelay.jobs.errors import RetrievalMisconfigured

GRPC_PORT = 50051
CLOUD = ".weaviate.cloud"


@dataclass(frozen=True)
class WeaviateServer:
    """Its address over HTTP and over gRPC, and its key.

    `certificates` are of the authorities that are trusted; the HTTP client reads them from SSL_CERT_FILE.
    `replication_factor` is of collections that are created; by default the server decides.
    """

    url: str
    grpc_url: str = ""  # default: on the same host, as Weaviate Cloud has it or at port 50051
    api_key: str = field(default="", repr=False)
    timeout: timedelta = timedelta(seconds=30)  # of all calls but searches
    certificates: Path | None = None
    replication_factor: int | None = None

    def addresses(self) -> ConnectionParams:
        """Raises RetrievalMisconfigured."""
        http = _split("WEAVIATE_URL", self.url)
        grpc = _split("WEAVIATE_GRPC_URL", self.grpc_url or _default_grpc(http))
        try:
            return ConnectionParams.from_params(
                http_host=http.hostname or "",
                http_port=_port(http),
                http_secure=http.scheme == "https",
                grpc_host=grpc.hostname or "",
                grpc_port=_port(grpc),
                grpc_secure=grpc.scheme == "https",
            )
        except ValueError as error:
            raise RetrievalMisconfigured(
                f"WEAVIATE_GRPC_URL must be another port than that of WEAVIATE_URL, if on the same host: {http.netloc}"
            ) from error

    def authorities(self) -> ChannelCredentials | None:
        """What gRPC trusts; None: its own list."""
        return ssl_channel_credentials(self.certificates.read_bytes()) if self.certificates else None


def _default_grpc(http: SplitResult) -> str:
    if (http.hostname or "").endswith(CLOUD):
        return f"https://grpc-{http.hostname}:443"
    host = f"[{http.hostname}]" if ":" in (http.hostname or "") else http.hostname
    return f"{http.scheme}://{host}:{GRPC_PORT}"


def _split(variable: str, url: str) -> SplitResult:
    """Never repeats the URL: there may be a password in it."""
    rule = f"{variable} must be http(s)://HOST[:PORT]"
    try:
        split = urlsplit(url)
        _port(split)
    except ValueError as error:
        raise RetrievalMisconfigured(f"{rule}: {error}") from error
    if split.scheme not in ("http", "https") or not split.hostname:
        raise RetrievalMisconfigured(rule)
    if split.username is not None:
        raise RetrievalMisconfigured(f"{rule}, without a user: the key belongs into WEAVIATE_API_KEY")
    if split.path not in ("", "/") or split.query or split.fragment:
        raise RetrievalMisconfigured(f"{rule}, without a path: Weaviate can't be below one")
    return split


def _port(split: SplitResult) -> int:
    return split.port or (443 if split.scheme == "https" else 80)
