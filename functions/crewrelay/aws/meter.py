"""Metrics as lines of the log, in CloudWatch's Embedded Metric Format.

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
    """Every record is a line, written when it happens: nothing is kept that a killed process would lose, that two crews
    would share, or that the next invocation would date wrongly. The one dimension is the service; ids are in the line.
    """

    def record(self, measures: Mapping[Measure, float]) -> None:
        try:
            if not is_metrics_disabled():
                sys.stdout.write(_line(measures))  # one write, or lines of other threads might get in between
                sys.stdout.flush()
        except Exception:  # a job is not to fail for its metrics
            logger.warning("could not record metrics", exc_info=True)


def _line(measures: Mapping[Measure, float]) -> str:
    blob = AmazonCloudWatchEMFProvider(namespace=NAMESPACE, service=service())  # `Metrics` is one for all threads
    for measure, value in measures.items():
        blob.add_metric(measure, unit_of(measure), value)
    for name, key in log_keys().items():
        blob.add_metadata(name, key)
    return json.dumps(blob.serialize_metric_set(), separators=(",", ":")) + "\n"
