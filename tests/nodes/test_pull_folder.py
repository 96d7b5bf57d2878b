"""`mesh pull` of a Hugging Face folder: the library then has the model, or one line says why not."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mesh.adapters.disk_library import DiskLibrary
from mesh.errors import MeshError
from mesh.store.shelf import ModelStore
from mesh.types import ChatMessage
from nodes.commands.pull import command
from tests.model.tiny import SPEC
from tests.model.tiny_folder import SECOND, Folder, write_folder, write_shards
from tests.model.tokenizer_metadata import IM_START


def _pull(folder: Path, data_dir: Path) -> Result:
    return CliRunner().invoke(command, [str(folder), "--data-dir", str(data_dir)])


async def test_a_pulled_folder_is_in_the_library(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    pulled = _pull(write_shards(tmp_path / "Tiny"), data_dir)
    assert pulled.output == f"tiny is at {data_dir / 'models' / 'tiny' / 'model'}\n"
    library = DiskLibrary(ModelStore(data_dir))
    (model,) = library.models()
    spec = await library.spec("tiny")
    assert (spec.digest, spec.num_layers) == (model.digest, SPEC.num_layers)
    assert await library.spec_of(model.digest) == spec
    assert (await library.path_of(model.digest)).is_dir()
    assert (await library.encode_chat("tiny", [ChatMessage("user", "he")]))[0] == IM_START


@pytest.mark.parametrize(
    ("folder", "missing", "says"),
    [
        (Folder(), "tokenizer.json", "has no tokenizer.json, without which"),
        (Folder(), "model.safetensors", "has no model.safetensors"),
        (Folder({"num_hidden_layers": 5}), "", "has no tensor 'model.layers.3.input_layernorm.weight'"),
        (Folder({"architectures": ["GPT2LMHeadModel"]}), "", "network 'GPT2LMHeadModel'"),
    ],
)
def test_a_folder_that_could_never_run_is_refused_by_the_name_that_was_asked_for(
    tmp_path: Path, folder: Folder, missing: str, says: str
) -> None:
    path = write_folder(tmp_path / "tiny", folder)
    if missing:
        (path / missing).unlink()
    refused = _pull(path, tmp_path / "data")
    assert isinstance(refused.exception, MeshError)
    assert str(refused.exception).startswith(str(path))
    assert says in str(refused.exception)
    assert not ModelStore(tmp_path / "data").models()


def test_a_shard_that_is_missing_is_named(tmp_path: Path) -> None:
    (write_shards(tmp_path / "tiny") / SECOND).unlink()
    assert SECOND in str(_pull(tmp_path / "tiny", tmp_path / "data").exception)
