"""Refuses YAML that could exhaust memory or the stack: aliases and deep nesting."""

from collections.abc import Iterator
from typing import NamedTuple

DEEPEST = 100


class Refusal(NamedTuple):
    line: int
    what: str


def refusals(text: str) -> Iterator[Refusal]:
    """What `text` must not have, to be checked before libyaml composes it recursively. Raises yaml.YAMLError."""
    import yaml  # takes 20 ms: not at a cold start

    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.AliasEvent):
            yield Refusal(line, f"the alias *{event.anchor} is not followed; write out what it stands for")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            yield Refusal(line, f"it is nested more than {DEEPEST} deep; flatten it")
            return
