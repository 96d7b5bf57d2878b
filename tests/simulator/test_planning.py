"""Plans for households of given kinds, made by the production nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mesh.decision import Explanation
from mesh.errors import BadSetting, InsufficientMemory, UnknownModel
from mesh.types import DeviceClass, PlannedStage, Precision
from simulator.planning import USUAL, Planned, explain, known_model, parse_devices
from simulator.profiles import device_profile, model_spec
from simulator.units import Size

MIMO = model_spec("mimo:7b-rl")
THREE = "phone=3GB,car=4GB,tv"


def explained(devices: str, model: str = "mimo:7b", link: str | None = None, context: int = 1) -> Explanation:
    return explain(model, parse_devices(devices), link, context)


def stages(explanation: Explanation) -> tuple[PlannedStage, ...]:
    assert explanation.plan is not None
    return explanation.plan.stages


def test_a_model_that_fits_nowhere_is_split_and_each_part_counted() -> None:
    found = stages(explained(THREE))
    assert {stage.node.name for stage in found} == {"phone", "car"}
    assert found[-1].span.end == MIMO.num_layers
    plain = replace(MIMO, has_mtp=False)
    assert found[-1].weights_bytes > plain.weights_bytes(found[-1].span, Precision.INT4)
    for stage in found:
        assert stage.weights_bytes == MIMO.weights_bytes(stage.span, Precision.INT4)
        assert stage.weights_bytes + stage.cache_bytes <= 4e9


def test_speeds_are_those_of_the_profiles_and_links_count() -> None:
    def token_s(devices: str, link: str) -> float:
        chosen = explained(devices, link=link).decision.chosen
        assert chosen is not None
        assert chosen.prediction is not None
        return chosen.prediction.token_s

    alone_s, near_s, far_s = (
        token_s(d, k) for d, k in (("car", "wifi6"), (THREE, "wifi6"), (THREE, "wifi5"))
    )
    profile = device_profile(USUAL[DeviceClass.CAR])
    rate = profile.bandwidth_bytes_per_s * profile.decode_efficiency
    read_bytes = MIMO.num_layers * MIMO.layer_bytes(Precision.INT4) + MIMO.table_bytes(Precision.INT4)
    assert alone_s == pytest.approx(read_bytes / rate, rel=0.05)
    assert alone_s < near_s < far_s


def test_the_same_devices_give_the_same_plan() -> None:
    assert explained(THREE) == explained(THREE)


def test_the_context_that_is_asked_for_has_room() -> None:
    plan = explained(THREE, context=4000).plan
    assert plan is not None
    assert plan.context >= 4000


def test_what_has_no_room_says_what_is_missing() -> None:
    with pytest.raises(InsufficientMemory, match=r"these devices offer \(MB\): phone 4000, tv 700"):
        explained("phone,tv")


def test_devices_are_classes_or_profiles_with_what_they_lend() -> None:
    assert parse_devices("phone, phone=1.5GB,raspberry_pi_5") == (
        Planned("phone", "xiaomi_15_ultra"),
        Planned("phone-2", "xiaomi_15_ultra", Size(1.5e9)),
        Planned("raspberry_pi_5", "raspberry_pi_5"),
    )


@pytest.mark.parametrize("device_class", DeviceClass)
def test_every_class_has_a_profile_of_its_class(device_class: DeviceClass) -> None:
    assert device_profile(USUAL[device_class]).device_class is device_class


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ("phone,phne", "no device profile is called 'phne'; did you mean 'iphone_16_pro'"),
        ("phone=3", "phone: '3' has no unit"),
        ("phone=", "phone: '' is not a size"),
        ("phone,,tv", "a device has no name; write for instance phone,car=3GB"),
        (",".join(["tv"] * 65), "65 devices are too many; give at most 64"),
    ],
)
def test_wrong_devices_are_one_line(devices: str, said: str) -> None:
    with pytest.raises(BadSetting) as refused:
        parse_devices(devices)
    assert said in str(refused.value)


def test_models_go_by_short_names_and_ambiguous_ones_are_told() -> None:
    assert known_model("mimo") == known_model("mimo-7b-rl") == "mimo:7b-rl"
    with pytest.raises(UnknownModel, match=r"'qwen2.5' may mean qwen2.5:0.5b or qwen2.5:1.5b or qwen2.5:14b"):
        known_model("qwen2.5")
    with pytest.raises(BadSetting, match="no model is called 'mimo:7'; did you mean 'mimo:7b-rl'"):
        explained(THREE, model="mimo:7")
