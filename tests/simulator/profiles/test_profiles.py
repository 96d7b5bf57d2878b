"""The profile library: every figure is usable and says where it comes from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mesh.errors import BadSetting
from mesh.spec import ModelSpec
from mesh.types import DeviceClass
from simulator.profiles import (
    DeviceProfile,
    LinkProfile,
    device_profile,
    device_profiles,
    link_profile,
    link_profiles,
    model_spec,
    model_specs,
    reading,
)

ALL_DEVICES = [pytest.param(profile, id=profile.name) for profile in device_profiles()]
ALL_LINKS = [pytest.param(profile, id=profile.name) for profile in link_profiles()]


def test_every_kind_of_device_in_the_home_has_a_profile() -> None:
    assert {profile.device_class for profile in device_profiles()} == set(DeviceClass)


def test_profiles_come_by_name_and_are_read_once() -> None:
    for profiles in (device_profiles(), link_profiles(), model_specs()):
        names = [profile.name for profile in profiles]
        assert names == sorted(names)
    assert device_profile("raspberry_pi_5") is device_profile("raspberry_pi_5")
    assert link_profile("wifi5") in link_profiles()


@pytest.mark.parametrize("profile", ALL_DEVICES)
def test_a_device_is_possible(profile: DeviceProfile) -> None:
    assert 0 < profile.usable_bytes < profile.installed_bytes
    assert 0 < profile.decode_efficiency <= 1
    assert 0 < profile.idle_w < profile.active_w
    assert link_profile(profile.link).carries_model
    assert min(profile.bandwidth_bytes_per_s, profile.prefill_flops, profile.load_bytes_per_s) > 1e6
    assert 0 < profile.message_overhead_s < profile.frame_overhead_s < 0.01


@pytest.mark.parametrize("profile", ALL_DEVICES)
def test_a_device_that_warms_slows_down_in_order(profile: DeviceProfile) -> None:
    if profile.thermal is None:
        return
    thermal = profile.thermal
    assert thermal.warm_c < thermal.throttled_c < thermal.critical_c
    assert 1 > thermal.warm_factor > thermal.throttled_factor > thermal.critical_factor > 0


@pytest.mark.parametrize("profile", [*ALL_DEVICES, *ALL_LINKS])
def test_every_number_says_where_it_comes_from(profile: DeviceProfile | LinkProfile) -> None:
    values = {figure.name: figure.value for figure in profile.figures}
    for field in dataclasses.fields(profile):
        number = getattr(profile, field.name)
        if isinstance(number, int | float) and not isinstance(number, bool):
            assert values[field.name] == number
    for figure in profile.figures:
        assert figure.source is None or figure.source


def test_sourced_and_unsourced_figures_are_told_apart() -> None:
    phone = {figure.name: figure for figure in device_profile("xiaomi_15_ultra").figures}
    assert phone["decode_efficiency"].source == "llama.cpp docs/backend/snapdragon"
    assert phone["decode_efficiency"].is_sourced
    assert not phone["active_w"].is_sourced
    assert phone["thermal.throttled_factor"].source == "arXiv 2603.23640"


def test_only_bluetooth_and_thread_carry_no_model() -> None:
    assert [link.name for link in link_profiles() if not link.carries_model] == ["bluetooth_le", "thread"]
    assert [link.name for link in link_profiles() if not link.is_shared] == ["cellular_5g", "ethernet"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("rasberry_pi5", "did you mean 'raspberry_pi_5'?"),
        ("tv", "did you mean 'android_tv'?"),
        ("zzz", "known are android_tv, car_8295"),
        ("../links", "known are android_tv, car_8295"),
    ],
)
def test_an_unknown_device_is_refused_with_the_nearest_name(name: str, hint: str) -> None:
    with pytest.raises(BadSetting) as refused:
        device_profile(name)
    assert str(refused.value).startswith(f"no device profile is called '{name}'; ")
    assert hint in str(refused.value)


def test_unknown_links_and_models_are_refused_too() -> None:
    with pytest.raises(BadSetting, match=r"no link profile is called 'wifi'; did you mean 'wifi5'\?"):
        link_profile("wifi")
    with pytest.raises(BadSetting, match=r"no model is called 'qwen3'; did you mean 'qwen3:0.6b'\?"):
        model_spec("qwen3")


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        ({"value": 1.0}, "a figure needs either a source or 'unsourced = true'"),
        ({"value": 1.0, "source": "x", "unsourced": True}, "a figure needs either a source"),
        ({"value": "many", "source": "x"}, "Expected `float`, got `str`"),
        ({"value": 1.0, "source": "x", "sauce": "y"}, "unknown field `sauce`"),
    ],
)
def test_a_figure_that_is_no_figure_is_refused_with_its_place(figure: dict[str, object], text: str) -> None:
    with pytest.raises(BadSetting, match=r"^devices/x\.toml: ") as refused:
        reading._convert("devices/x.toml", figure, reading.FigureTable)
    assert text in str(refused.value)


# Millions of parameters as the makers say: where a shape were wrong, its sum would be, too.
PARAMETERS = {
    "llama3.1:8b": 8030,
    "llama3.2:1b": 1236,
    "llama3.2:3b": 3213,
    "mimo:7b-rl": 7623,
    "qwen2.5:0.5b": 494,
    "qwen2.5:1.5b": 1544,
    "qwen2.5:14b": 14770,
    "qwen3:0.6b": 596,
    "qwen3:1.7b": 1721,
    "qwen3:4b": 4022,
    "qwen3:8b": 8191,
    "qwen3:14b": 14768,
    "smollm2:135m": 135,
}


def millions(spec: ModelSpec) -> float:
    q_size, kv_size = spec.num_heads * spec.head_dim, spec.num_kv_heads * spec.head_dim
    layer = spec.hidden_size * (2 * q_size + 2 * kv_size + 3 * spec.intermediate_size)
    tables = (1 if spec.tied_embeddings else 2) * spec.vocab_size * spec.hidden_size
    return (spec.num_layers * layer + tables) / 1e6


@pytest.mark.parametrize(("name", "expected"), PARAMETERS.items())
def test_a_shape_has_as_many_parameters_as_its_maker_says(name: str, expected: int) -> None:
    assert millions(model_spec(name)) == pytest.approx(expected, rel=0.004)


def test_every_model_is_checked_and_has_bytes_of_its_own() -> None:
    assert {spec.name for spec in model_specs()} == {*PARAMETERS, "tiny"}
    assert len({spec.digest for spec in model_specs()}) == len(model_specs())
    assert all(len(spec.digest) == 64 for spec in model_specs())


@pytest.mark.model
def test_the_small_models_shape_is_that_of_its_file(smollm2_spec: ModelSpec) -> None:
    ours = model_spec("smollm2:135m")
    assert smollm2_spec.rms_norm_eps == pytest.approx(ours.rms_norm_eps)  # the file has 32 bits of it
    assert dataclasses.replace(smollm2_spec, digest=ours.digest, rms_norm_eps=ours.rms_norm_eps) == ours


def test_the_small_models_digest_is_that_of_the_catalogue() -> None:
    catalogue = Path(__file__).parents[3] / "mesh" / "store" / "catalogue.toml"
    assert model_spec("smollm2:135m").digest in catalogue.read_text("utf-8")


@pytest.mark.parametrize("profile", [*ALL_DEVICES, *ALL_LINKS])
def test_every_profile_is_in_the_documentation(profile: DeviceProfile | LinkProfile) -> None:
    text = (Path(__file__).parents[3] / "docs" / "devices.md").read_text("utf-8")
    assert f"| `{profile.name}` |" in text


def test_the_document_names_every_device_link_and_model() -> None:
    text = (Path(__file__).parents[3] / "docs" / "devices.md").read_text()
    names = [device.name for device in device_profiles()] + [link.name for link in link_profiles()]
    names += [spec.name for spec in model_specs()]
    assert [name for name in names if f"`{name}`" not in text] == []
