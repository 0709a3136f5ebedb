import json

from scoring.configs import Configs, default_configs, read_configs


def test_the_configurations_of_a_new_tenant_are_the_defaults() -> None:
    assert read_configs(default_configs()) == Configs() == read_configs({})


def test_the_configurations_of_a_new_tenant_can_be_stored_as_json() -> None:
    assert json.loads(json.dumps(default_configs())) == default_configs()
