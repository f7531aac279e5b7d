"""What becomes of text that is written down or shown: character by character."""

import sys
from typing import Annotated

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from crewrelay.jobs.text import Line, Link, Name, Text, _of, in_one_line, link, name, shown


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_each_line_ends_with_a_line_feed(end: str) -> None:
    assert shown(f"one{end}two") == "one\ntwo"


def test_two_ends_of_a_line_are_two() -> None:
    assert shown("one\r\r\n\rtwo") == "one\n\n\ntwo"


def test_half_a_character_is_a_question_mark() -> None:
    assert shown("half a pair: \ud83d") == "half a pair: ?"
    assert name("half\ud83d") == "half?"


@pytest.mark.parametrize("kept", ["a\tb", "a  b", "é", "漢", "🌧", "<b>&amp;</b>", " a ", "\u200c\u200d"])
def test_what_is_seen_or_shapes_letters_is_kept(kept: str) -> None:
    assert shown(kept) == kept


def test_text_that_can_be_printed_is_as_it_is_beside_text_that_cannot() -> None:
    printable = filter(str.isprintable, map(chr, range(sys.maxunicode + 1)))
    assert [one for one in printable if shown(one) != shown(f"{one}\0")] == []


def test_names_that_differ_in_what_is_not_seen_still_differ() -> None:
    assert name("a\tb\nc\u200bd\r\ne") == "a%09b%0Ac%E2%80%8Bd%0D%0Ae"
    assert name("a b/ü.md") == "a b/ü.md"


def test_one_line_has_single_blanks_between_its_words() -> None:
    assert in_one_line("  one\r\ntwo\t three\u200b \u2028four ") == "one two three four"


@pytest.mark.parametrize(
    "kept",
    [
        "https://example.org",
        "HTTP://Example.ORG:8080/a?b#c",
        "https://[2001:db8::1]:443/a",
        "https://example.org?q=a:b",
        "a/b.html#part",
        "../a.html?at=10:30",
        "a.html",
        "/a//b",
        "#part",
        "",
    ],
)
def test_an_address_that_may_be_followed_is_kept(kept: str) -> None:
    assert link(kept) == kept


@pytest.mark.parametrize(
    "refused",
    [
        "javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "ftp://example.org",
        "//example.org/a",
        "https:example.org",
        "https://user@example.org/",
        "https://example.org:80@evil.example/",
        "https://example.org:123456/",
        "https://example.org\\a",
        "a\\b",
        "https://",
        "C:/a.html",
    ],
)
def test_another_address_is_none(refused: str) -> None:
    assert link(refused) == ""


def test_what_would_end_a_link_in_a_page_is_encoded_behind_the_site() -> None:
    assert link("https://[2001:db8::1]/a \"'()<>[]^`{|}z") == (
        "https://[2001:db8::1]/a%20%22%27%28%29%3C%3E%5B%5D%5E%60%7B%7C%7Dz"
    )
    assert link("a (b).html") == "a%20%28b%29.html"
    assert link("(b).html") == "%28b%29.html"
    assert link("  a\n b ") == "a%20b"


class Shown(BaseModel):
    text: Text = ""
    name: Name = ""
    line: Line = ""
    link: Link = ""


def test_a_field_of_each_kind_is_changed_when_it_is_set() -> None:
    dirty = "a\r\n b\u200b"
    fields = Shown(text=dirty, name=dirty, line=dirty, link=dirty)
    assert fields == Shown.model_construct(text="a\n b", name="a%0D%0A b%E2%80%8B", line="a b", link="a%20b")


def test_a_kind_of_text_is_made_by_what_changes_it() -> None:
    loud: TypeAdapter[str] = TypeAdapter(Annotated[str, _of(str.upper)])
    assert loud.validate_python("a text") == "A TEXT"


@pytest.mark.parametrize("field", ["text", "name", "line", "link"])
def test_what_is_no_text_is_refused_and_not_turned_into_some(field: str) -> None:
    with pytest.raises(ValidationError):
        Shown.model_validate({field: 1})
