from __future__ import annotations

import json

import pytest

from orchestrator.engine.errors import BadInputError
from orchestrator.engine.hardware import Gpu, HardwareProfile, load

FULL = HardwareProfile(
    gpu="nvidia",
    gpus=(Gpu("nvidia corporation", "nvidia geforce rtx 5090", "570.86.10"),),
    gpu_model="nvidia geforce rtx 5090",
    gpu_driver="570.86.10",
    gpu_target="sm_120",
    vram=32,
    ram=126,
)


def written(tmp_path, data):
    path = tmp_path / "hardware.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return path


def test_a_profile_comes_back_as_it_was_written(tmp_path):
    assert load(written(tmp_path, FULL.to_json())) == FULL


def test_what_follows_from_the_cards_is_filled_in(tmp_path):
    profile = load(written(tmp_path, {"gpus": [{"name": "NVIDIA", "model": "GeForce RTX 4090", "driver": "550"}]}))
    assert (profile.gpu, profile.gpu_model, profile.gpu_driver) == ("nvidia", "geforce rtx 4090", "550")


def test_an_empty_profile_is_a_machine_without_a_card(tmp_path):
    assert load(written(tmp_path, {})) == HardwareProfile()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "is not JSON"),
        ([], "must be an object"),
        ({"gpuu": "nvidia"}, "`gpuu` in the profile is none of"),
        ({"vram": "24"}, "`vram` in the profile must be a whole number of GiB"),
        ({"vram": True}, "`vram` in the profile must be a whole number of GiB"),
        ({"ram": -1}, "`ram` in the profile must be a whole number of GiB"),
        ({"gpu": None}, "`gpu` in the profile must be text"),
        ({"gpus": {}}, "`gpus` must be a list"),
        ({"gpus": ["rtx"]}, "an entry of `gpus` must be an object"),
        ({"gpus": [{"name": "nvidia"}]}, "an entry of `gpus` needs `model`"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, data, message):
    with pytest.raises(BadInputError, match=message):
        load(written(tmp_path, data))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadInputError, match="cannot be read"):
        load(tmp_path / "none.json")
