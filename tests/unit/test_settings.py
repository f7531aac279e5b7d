"""What the settings promise of each other."""

import pytest

from crewrelay.settings import GatewaySettings


@pytest.mark.parametrize("settings", [GatewaySettings(), GatewaySettings(gateway_limit=10, gateway_margin=9.5)])
def test_a_run_that_takes_its_time_to_give_its_job_back_is_answered_before_the_gateway_does(
    settings: GatewaySettings,
) -> None:
    assert settings.grace > 0
    assert settings.timeout + settings.grace < settings.gateway_limit
