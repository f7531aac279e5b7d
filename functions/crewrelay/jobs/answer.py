"""What a crew gives back: the answer, the passages it cites, what it used."""

from pydantic import BaseModel, ConfigDict

from crewrelay.jobs.money import Usd
from crewrelay.jobs.text import Line, Link, Name, Text


class Passage(BaseModel):
    """A piece of a document that was retrieved: `text` is verbatim but for characters that are not seen, sections under
    their headings; `url` is where a reader finds the whole, "" if that is no link to follow; `number` is what an agent
    cites it by, 0 until it was shown to one.

    `excerpt` is the part of the text that fits the query best. `similarity` is the cosine of the two where it is known
    how near is near, else None.
    """

    model_config = ConfigDict(frozen=True)

    id: Name
    title: Line
    url: Link
    text: Text
    excerpt: Text
    score: float = 0.0
    similarity: float | None = None
    number: int = 0


class Source(BaseModel):
    """A passage that the answer cites as `[number]`; `excerpt` is the part of its text that was found."""

    model_config = ConfigDict(frozen=True)

    number: int
    id: Name
    title: Line
    url: Link
    text: Text
    excerpt: Text = ""  # in answers that were stored before there was one


class ModelUsage(BaseModel):
    """What was asked of a model, provider/model. Tokens are zero for a model that counts none; `cost_usd` is None as
    soon as one call's cost is unknown.
    """

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    model: str
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: Usd | None = None


class Usage(ModelUsage):
    """What the run asked of its models, each call once: `model` is the first that it asked."""

    by_model: tuple[ModelUsage, ...] = ()


class Answer(BaseModel):
    """The outcome of a completed job.

    `answerable`: it cites passages that were retrieved, and did not decline; None if the crew searched for none.
    `unknown_citations` are numbers that the crew cited and no passage has: they were taken out of the text.
    """

    model_config = ConfigDict(frozen=True)

    text: Text
    sources: tuple[Source, ...] = ()
    answerable: bool | None = None
    unknown_citations: tuple[int, ...] = ()
    usage: Usage
