"""What is asked of a broker, and what cannot be."""

import pytest

from hazardloop.ingest.options import SubscriptionOptions
from hazardloop.service.errors import SettingsWrong
from hazardloop.service.settings import read_settings


def options(**given: object) -> SubscriptionOptions:
    standing: dict[str, object] = {
        "url": "mqtt://h", "client_id": "w", "filters": ("a/telemetry", "a/status"),
    }  # fmt: skip
    return SubscriptionOptions(**(standing | given))  # type: ignore[arg-type]


def test_in_3_1_1_a_filter_has_its_qos_and_nothing_else() -> None:
    asked = options(retained=("a/status",)).asked
    assert asked == [("a/telemetry", 1), ("a/status", 1)]


def test_in_5_only_the_status_is_sent_as_it_was_retained() -> None:
    asked = options(protocol=5, retained=("a/status",)).asked
    assert asked == [("a/telemetry", 1 | 2 << 4), ("a/status", 1)]


def test_a_share_takes_all_filters_but_those_whose_retained_messages_are_wanted() -> None:
    asked = options(protocol=5, share="workers", retained=("a/status",)).asked
    assert [topic for topic, _ in asked] == ["$share/workers/a/telemetry", "a/status"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param({"share": "w"}, "MQTT 5; 3.1.1 has none", id="3.1.1 cannot share"),
        pytest.param({"share": "a/b", "protocol": 5}, "contains one of", id="a share is one level"),
        pytest.param({"topic_alias_maximum": 5000}, "outside 0..1000", id="aliases are bounded"),
        pytest.param({"window": 0}, "outside 1", id="a window holds a message"),
    ],
)
def test_options_that_cannot_work_are_refused(given: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        options(**given)


def test_the_setting_says_what_sharing_needs() -> None:
    with pytest.raises(SettingsWrong, match="HAZARDLOOP_MQTT_PROTOCOL=5"):
        read_settings({"HAZARDLOOP_MQTT_SHARE": "workers"})
    with pytest.raises(SettingsWrong, match="HAZARDLOOP_MQTT_SHARE"):
        read_settings({"HAZARDLOOP_MQTT_SHARE": "a/b", "HAZARDLOOP_MQTT_PROTOCOL": "5"})
    shared = {"HAZARDLOOP_MQTT_SHARE": "workers", "HAZARDLOOP_MQTT_PROTOCOL": "5"}
    assert read_settings(shared).mqtt_share == "workers"
