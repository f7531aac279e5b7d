"""What a crew returns: the answer, the passages it cites, the files it wrote, its model usage."""

from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from crewrelay.jobs.money import Usd
from crewrelay.jobs.text import Line, Link, Name, Text

FILE_TYPE = "application/octet-stream"  # of every file: a browser must not run what a crew wrote


class Excerpt(BaseModel):
    """A part of a passage that a search found, and its cosine similarity to the query."""

    model_config = ConfigDict(frozen=True)

    text: Text
    similarity: float


class Passage(BaseModel):
    """A retrieved piece of a document. `text` is verbatim without invisible characters, sections under their headings;
    `url` leads to the whole document, "" if there is no safe link; `number` is what agents cite it by, 0 until shown.

    `excerpt` is the part of the text that fits the query best. `similarity` is their cosine similarity, None for an
    embedder whose scale is unknown. `also_found` are other parts of the text, none for such an embedder.
    `sentences` are the nearest of it to the query, none from a store without vectors of sentences.
    """

    model_config = ConfigDict(frozen=True)

    id: Name
    title: Line
    url: Link
    text: Text
    excerpt: Text
    score: float = 0.0
    similarity: float | None = None
    also_found: tuple[Excerpt, ...] = ()
    sentences: tuple[Excerpt, ...] = ()
    number: int = 0


class Source(BaseModel):
    """A passage that the answer cites as `[number]`; `excerpt` is the part of its text that matched."""

    model_config = ConfigDict(frozen=True)

    number: int
    id: Name
    title: Line
    url: Link
    text: Text
    excerpt: Text = ""  # "" in answers stored before this field existed


class _Spent(BaseModel):
    """Tokens are 0 if the model reports none; `cost_usd` is None if the cost of any call is unknown."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Usd | None = None


class ModelUsage(_Spent):
    """Usage of one model, named provider/model. Tokens are 0 if the model reports none; `cost_usd` is None if the cost
    of any call is unknown.
    """

    model: str


class Usage(_Spent):
    """A run's model usage, each call counted once; `model` is the first one called, None if there was no call."""

    model: str | None = None
    by_model: tuple[ModelUsage, ...] = ()


class File(BaseModel):
    """A file that the crew wrote. `name` is its path, `digest` the SHA-256 of its content, which is stored beside the
    answer; None if it is too large to be kept.
    """

    model_config = ConfigDict(frozen=True)

    name: Name
    size: int
    digest: str | None = None
    content: bytes = Field(default=b"", exclude=True, repr=False)

    @property
    def disposition(self) -> str:
        """The Content-Disposition to serve it with: a browser saves it, and never shows it (RFC 6266)."""
        return f"attachment; filename*=UTF-8''{quote(self.name.rpartition('/')[2], safe='')}"


class Answer(BaseModel):
    """The result of a completed job.

    `answerable`: whether it cites retrieved passages and did not decline; None if the crew retrieved nothing.
    `unknown_citations`: cited numbers without a passage; they were removed from the text.
    """

    model_config = ConfigDict(frozen=True)

    text: Text
    sources: tuple[Source, ...] = ()
    answerable: bool | None = None
    unknown_citations: tuple[int, ...] = ()
    usage: Usage
    files: tuple[File, ...] = ()
