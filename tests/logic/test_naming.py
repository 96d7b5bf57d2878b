"""Which model a name means: its own, another of its names, or a beginning that only one has."""

from __future__ import annotations

import pytest

from mesh.card import ModelCard, Skill, SkillWeight
from mesh.errors import UnknownModel
from mesh.logic.naming import meant
from mesh.logic.skills import Model
from mesh.store.cards import shipped_card

_SKILLS = (SkillWeight(Skill.CHAT, 0.5),)


def model(name: str, *other_names: str) -> Model:
    return Model(name, ModelCard(name, "F", 1, 8, "MIT", "https://a.b", _SKILLS, other_names))


RL, SFT, SMALL = model("mimo:7b-rl", "mimo-7b-rl"), model("mimo:7b-sft"), model("smollm2:135m")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("mimo:7b", "mimo:7b-rl"),
        ("mimo", "mimo:7b-rl"),
        ("MiMo:7B", "mimo:7b-rl"),
        ("mimo-7b-rl", "mimo:7b-rl"),
        ("smollm2", "smollm2:135m"),
    ],
)
def test_a_short_name_means_the_only_model_that_begins_so(wanted: str, name: str) -> None:
    assert meant(wanted, [RL, SMALL]) == name


@pytest.mark.parametrize("wanted", ["mimo:7", "mim", "smollm2:1", "7b-rl", "", "huge"])
def test_what_is_no_beginning_up_to_the_end_of_a_part_means_none(wanted: str) -> None:
    assert meant(wanted, [RL, SMALL]) == wanted


def test_a_beginning_of_several_names_them_all() -> None:
    with pytest.raises(UnknownModel, match=r"^'mimo:7b' may mean mimo:7b-rl or mimo:7b-sft; say the whole"):
        meant("mimo:7b", [SFT, SMALL, RL])


def test_a_whole_name_goes_before_a_beginning() -> None:
    assert meant("mimo-7b", [RL, model("x", "mimo:7b")]) == "x"


def test_many_names_stay_one_line() -> None:
    with pytest.raises(UnknownModel, match=r"m:0, m:1, .* or 12 others; say"):
        meant("m", [model(f"m:{index}") for index in range(20)])


def test_a_file_that_was_pulled_is_found_by_the_name_on_its_card() -> None:
    pulled = Model("mimo-7b-rl-q4_k_m", shipped_card("mimo-7b-rl-q4_k_m"))
    assert meant("mimo:7b-rl", [pulled]) == meant("mimo:7b", [pulled]) == pulled.name
