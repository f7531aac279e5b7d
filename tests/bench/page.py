"""docs/benchmarks.md and its plots, made of the figures in measured.json."""

from pathlib import Path
from textwrap import fill
from typing import Any

from tests.bench.sections import SECTIONS, Found
from tests.support.processes import ROOT

MEASURED = ROOT / "tests/bench/measured.json"
_DOCS = ROOT / "docs"
_COLUMNS = 130
_WORDS: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}


def files(measured: Found) -> dict[Path, str]:
    parts, pictures = [_beginning(measured)], dict[Path, str]()
    for name, section in SECTIONS.items():
        if (found := measured.get(name)) is None:
            continue
        written = section(found)
        parts.append(f"## {written.title}")
        if written.picture:
            image = f"images/bench-{name.replace('_', '-')}.svg"
            pictures[_DOCS / image] = written.picture
            parts.append(f"![{written.title}]({image})")
        parts += [written.text, f"`make bench ONLY={name}`: {found['took_s']} s, on {found['on']}."]
    return {_DOCS / "benchmarks.md": _filled("\n\n".join(parts)) + "\n", **pictures}


def _filled(text: str) -> str:
    """Its paragraphs, in lines of one length."""
    parts = text.split("\n\n")
    return "\n\n".join(part if part.startswith(("|", "!", "#")) else fill(part, _COLUMNS, **_WORDS) for part in parts)


def _beginning(measured: Found) -> str:
    at = measured["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in measured["peers"].items())
    sections = [measured[name] for name in SECTIONS if name in measured]
    busiest = max(section["load_before"] for section in sections)
    trial = "**A trial with a few repetitions each: no figure of it counts.** " * any(one["short"] for one in sections)
    return f"""# Benchmarks

What crewrelay costs and what it gives, beside what else people run crews with. `make bench` measures all of it
again, on one machine and in one run, and writes this page. Another machine has other figures; the ratios
differ less. All systems run the crew that ships, built by CrewAI {at["crewai"]}, against the same scripted model:
three calls of the model and a search. Celery, dramatiq and taskiq get a front of FastAPI, a Redis server of their
own that writes to disk once a second, and as many worker processes and threads as crewrelay has.

{trial}Measured on {at["cores"]} cores ({at["cpu"]}), {at["memory_gb"]} GB, {at["system"]}, Python {at["python"]}, with
{versions}. The load average before a section was {busiest:g} at most. Not measured: RabbitMQ, Redis on a machine of
its own, and AWS itself. The emulator has its API, not its speed."""
