"""What a list says that a job is about."""

from typing import Any

import pytest

from crewrelay.jobs.records.job import JobInput


@pytest.mark.parametrize(
    ("inputs", "title"),
    [
        ({"language": "en", "topic": "tides"}, "tides"),
        ({"count": 3, "question": "Why?", "reader": "experts"}, "Why?"),
        ({"topic": 7, "notes": " \n ", "reader": "experts"}, "experts"),
        ({"topic": "two\n  lines"}, "two lines"),
        ({"topic": "\u202eright to left\x1b[2J"}, "right to left[2J"),
        ({"topic": "x" * 80}, "x" * 80),
        ({"topic": "x" * 81}, "x" * 79 + "…"),
        ({"topic": ["a", "b"]}, ""),
        ({}, ""),
    ],
)
def test_a_title_is_the_topic_or_the_first_text_in_one_short_line(inputs: dict[str, Any], title: str) -> None:
    assert JobInput(crew="research", inputs=inputs).title == title
