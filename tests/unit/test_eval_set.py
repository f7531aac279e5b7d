"""The evaluation sets are well formed, and the texts hold what they ask for."""

import re
from collections import Counter
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "functions/crewrelay/retrieval/embedded/corpus"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Questions(Strict):
    en: str
    es: str
    de: str


class Question(Strict):
    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)+$")
    half: Literal["tune", "report"]
    questions: Questions

    @property
    def texts(self) -> tuple[str, str, str]:
        return self.questions.en, self.questions.es, self.questions.de


class Answerable(Question):
    kind: Literal["answerable"]
    page: str
    span: str
    sentence: str


class Unanswerable(Question):
    kind: Literal["unanswerable"]
    id: str = Field(pattern=r"^(near|far)(-[a-z0-9]+)+$")


@pytest.fixture(scope="module")
def items() -> list[Answerable | Unanswerable]:
    item: TypeAdapter[Answerable | Unanswerable] = TypeAdapter(
        Annotated[Answerable | Unanswerable, Field(discriminator="kind")]
    )
    lines = (ROOT / "tests/eval/questions.jsonl").read_text("utf-8").splitlines()
    return [item.validate_json(line) for line in lines]


@pytest.fixture(scope="module")
def answerable(items: list[Answerable | Unanswerable]) -> list[Answerable]:
    return [item for item in items if isinstance(item, Answerable)]


@pytest.fixture(scope="module")
def unanswerable(items: list[Answerable | Unanswerable]) -> list[Unanswerable]:
    return [item for item in items if isinstance(item, Unanswerable)]


def collapsed(text: str) -> str:
    return " ".join(text.split())


def test_ids_are_unique(items: list[Answerable | Unanswerable]) -> None:
    assert [name for name, n in Counter(item.id for item in items).items() if n > 1] == []


def test_there_are_enough_of_each_kind(answerable: list[Answerable], unanswerable: list[Unanswerable]) -> None:
    assert len(answerable) >= 100
    assert len(unanswerable) >= 30


def test_every_span_is_in_its_sentence_and_every_sentence_in_its_page(answerable: list[Answerable]) -> None:
    pages = {page: collapsed((CORPUS / f"{page}.txt").read_text("utf-8")) for page in {i.page for i in answerable}}
    for item in answerable:
        assert item.span == collapsed(item.span), item.id
        assert item.sentence == collapsed(item.sentence), item.id
        assert 1 <= len(item.span.split()) <= 12, item.id
        assert item.span in item.sentence, item.id
        assert item.sentence in pages[item.page], item.id


def test_no_sentence_is_asked_for_twice(answerable: list[Answerable]) -> None:
    sentences = Counter((item.page, item.sentence) for item in answerable)
    assert [sentence for sentence, n in sentences.items() if n > 1] == []


def test_the_facts_are_spread_over_the_pages(answerable: list[Answerable]) -> None:
    pages = Counter(item.page for item in answerable)
    assert max(pages.values()) <= 4
    assert len(pages) >= 0.9 * len(list(CORPUS.rglob("*.txt")))


def test_the_halves_have_the_same_mix(answerable: list[Answerable], unanswerable: list[Unanswerable]) -> None:
    sizes = Counter(("answerable", item.half) for item in answerable)
    sizes += Counter((item.page, item.half) for item in answerable)
    sizes += Counter((item.id.split("-")[0], item.half) for item in unanswerable)
    uneven = [group for group, _ in sizes if abs(sizes[group, "tune"] - sizes[group, "report"]) > 1]
    assert uneven == []


def test_near_misses_and_far_questions_are_as_many(unanswerable: list[Unanswerable]) -> None:
    sizes = Counter(item.id.split("-")[0] for item in unanswerable)
    assert sizes["near"] == sizes["far"]


def test_no_question_is_asked_twice_or_in_the_words_of_another_language(
    items: list[Answerable | Unanswerable],
) -> None:
    questions = Counter(re.sub(r"\W+", " ", text.casefold()).strip() for item in items for text in item.texts)
    assert [question for question, n in questions.items() if n > 1] == []


def test_questions_are_written_as_their_language_writes_them(items: list[Answerable | Unanswerable]) -> None:
    for item in items:
        assert all(text == collapsed(text) and text.endswith("?") for text in item.texts), item.id
        assert item.questions.es.count("¿") == item.questions.es.count("?"), item.id
        assert "¿" not in item.questions.en + item.questions.de, item.id


# ---- the reading set


class InEach(Strict):
    en: str
    es: str
    de: str


class AskedOfParagraph(Strict):
    span: InEach
    questions: Questions


class Paragraph(Strict):
    id: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    texts: InEach
    asked: list[AskedOfParagraph]


class AskedOfNone(Strict):
    questions: Questions


class Nowhere(Strict):
    id: Literal["nowhere"]
    texts: dict[str, str] = Field(max_length=0)
    asked: list[AskedOfNone]


@pytest.fixture(scope="module")
def reading() -> list[Paragraph | Nowhere]:
    item: TypeAdapter[Paragraph | Nowhere] = TypeAdapter(Paragraph | Nowhere)
    return [item.validate_json(line) for line in (ROOT / "tests/eval/reading.jsonl").read_text("utf-8").splitlines()]


def test_every_span_is_in_its_paragraph(reading: list[Paragraph | Nowhere]) -> None:
    for one in reading:
        if isinstance(one, Paragraph):
            for language, text in one.texts.model_dump().items():
                assert text == collapsed(text), one.id
                for asked in one.asked:
                    assert asked.span.model_dump()[language].lower() in text.lower(), (one.id, language, asked.span)


def test_the_reading_set_is_large_enough_and_repeats_nothing(reading: list[Paragraph | Nowhere]) -> None:
    answerable = sum(len(one.asked) for one in reading if isinstance(one, Paragraph))
    questions = Counter(
        question for one in reading for asked in one.asked for question in asked.questions.model_dump().values()
    )
    assert (answerable >= 90, sum(questions.values()) - 3 * answerable >= 3 * 40) == (True, True)
    assert [question for question, times in questions.items() if times > 1] == []
    assert len({one.id for one in reading}) == len(reading)
