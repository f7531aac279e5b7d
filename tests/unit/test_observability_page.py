"""docs/observability.md lists every metric with its unit, and no other."""

import re

from crewrelay.aws.meter import unit_of
from crewrelay.jobs.ports import Measure
from tests.support.processes import ROOT

PAGE = (ROOT / "docs/observability.md").read_text()


def test_every_metric_is_listed_with_its_unit() -> None:
    listed = dict(re.findall(r"^\| `([A-Z]\w+)` \| (\w+) \|", PAGE, re.MULTILINE))
    assert listed == {measure.value: unit_of(measure).value for measure in Measure}
