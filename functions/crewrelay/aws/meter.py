"""Metrics as log lines in CloudWatch's Embedded Metric Format (EMF).

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import logging
import sys
from collections.abc import Mapping

from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.metrics.functions import is_metrics_disabled
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from crewrelay.jobs.log_keys import log_keys
from crewrelay.jobs.ports import Measure
from crewrelay.logs import service

logger = logging.getLogger(__name__)

NAMESPACE = "crewrelay"

_UNITS = {
    Measure.TIME_IN_QUEUE: MetricUnit.Milliseconds,
    Measure.RUN_TIME: MetricUnit.Milliseconds,
    Measure.COST_USD: MetricUnit.NoUnit,
}


def unit_of(measure: Measure) -> MetricUnit:
    return _UNITS.get(measure, MetricUnit.Count)


class EmfMeter:
    """Writes each record as a line at once. A buffer would be lost with the process, shared by concurrent jobs and
    flushed with a later timestamp. The only dimension is the service; ids are metadata of the line.
    """

    def record(self, measures: Mapping[Measure, float]) -> None:
        try:
            if not is_metrics_disabled():
                sys.stdout.write(_line(measures))  # one write, so that threads do not mix their lines
                sys.stdout.flush()
        except Exception:  # metrics must not fail a job
            logger.warning("could not record metrics", exc_info=True)


def _line(measures: Mapping[Measure, float]) -> str:
    blob = AmazonCloudWatchEMFProvider(
        namespace=NAMESPACE, service=service()
    )  # not `Metrics`, whose state all threads share
    for measure, value in measures.items():
        blob.add_metric(measure, unit_of(measure), value)
    for name, key in log_keys().items():
        blob.add_metadata(name, key)
    return json.dumps(blob.serialize_metric_set(), separators=(",", ":")) + "\n"
