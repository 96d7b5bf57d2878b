"""Reader of Hugging Face folders: config.json with one or several safetensors files.

Owns which files of a folder belong to the model, and the directory over all of them under canonical names.
Must not know how a layer computes, nor torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import numpy as np

from mesh.errors import ModelCorrupt, ModelNotPulled, UnsupportedModel
from mesh.model.blocks import Bytes
from mesh.model.hf_config import Config, read_config
from mesh.model.hf_names import canonical, spelled
from mesh.model.metadata import Value
from mesh.model.safetensors_file import SafetensorsFile
from mesh.model.tensors import TensorInfo, TensorType

_CONFIG = "config.json"
_ONE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_ROPE_FREQUENCIES = "rope_freqs.weight"
_HEAD = "output.weight"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the bytes of a tensor are."""

    info: TensorInfo
    data: Bytes


class HfFolder:
    """An open folder; only what is asked for is read from disk.

    Made by `HfFolder.open`. Views that `raw` gave stay valid after `close`.
    """

    interleaved_rotary = False

    def __init__(self, path: Path, config: Config, places: dict[str, _Place]) -> None:
        self.path = path
        self.metadata: Mapping[str, Value] = MappingProxyType(config.metadata)
        infos = {name: place.info for name, place in places.items()}
        self.tensors: Mapping[str, TensorInfo] = MappingProxyType(infos)
        self._places: dict[str, _Place] | None = places

    @classmethod
    def open(cls, path: Path) -> HfFolder:
        """Read a folder's config and the directories of its tensors.

        Raises ModelNotPulled when there is no such folder, ModelCorrupt naming the file that is missing or
        damaged, UnsupportedModel for another network, variant or type of tensor.
        """
        if not path.is_dir():
            raise ModelNotPulled(f"there is no model folder at {path}; pull the model first")
        config = read_config(path / _CONFIG, read_json(path / _CONFIG))
        places = _places(path, config)
        if config.tied:
            places.pop(_HEAD, None)
        elif config.tied is False and _HEAD not in places:
            raise ModelCorrupt(f"{path} has no tensor '{spelled(_HEAD)}'; pull the model again")
        return cls(path, config, places)

    def spell(self, name: str) -> str:
        """Return a tensor's name as the folder spells it."""
        return spelled(name)

    def raw(self, name: str) -> Bytes:
        """Return a read-only view of a tensor's bytes; raise ModelCorrupt when there is no such tensor."""
        if self._places is None:
            raise ValueError(f"{self.path} is closed")
        place = self._places.get(name)
        if place is None:
            raise ModelCorrupt(f"{self.path} has no tensor '{spelled(name)}'; pull the model again")
        return place.data

    def close(self) -> None:
        """Let go of the maps; may be called twice."""
        self._places = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_json(path: Path) -> dict[str, object]:
    """Read a JSON object; raise ModelCorrupt naming a file that is missing or holds none."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelCorrupt(f"{path.parent} has no {path.name}; take the folder of a whole model") from None
    except (ValueError, RecursionError):
        raise ModelCorrupt(f"{path} is no JSON; pull the model again") from None
    except OSError as error:
        raise ModelCorrupt(f"{path} cannot be read: {error.strerror}") from error
    if not isinstance(content, dict):
        raise ModelCorrupt(f"{path} is no JSON object; pull the model again")
    return content


def _shards(path: Path) -> list[str]:
    """Name the safetensors files: those of the index where there is one."""
    if not (path / _INDEX).is_file():
        _require(path, _ONE)
        return [_ONE]
    listed = read_json(path / _INDEX).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise ModelCorrupt(f"{path / _INDEX} names no files; pull the model again")
    names = sorted({str(name) for name in listed.values()})
    for name in names:
        _require(path, name)
    return names


def _require(path: Path, name: str) -> None:
    """Check that a file is there, and in this folder: a hostile index may not lead out of it."""
    if Path(name).name != name:
        raise ModelCorrupt(f"{path / _INDEX} names a file outside its folder; take another model")
    if (path / name).is_file():
        return
    if any(path.glob("*.bin")) or any(path.glob("*.pt*")):
        raise UnsupportedModel(f"{path} has no {name}; of a model's folder only safetensors files are read")
    raise ModelCorrupt(f"{path} has no {name}; take the folder of a whole model")


def _places(path: Path, config: Config) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    for shard in _shards(path):
        file = SafetensorsFile.open(path / shard)
        for name, info in file.tensors.items():
            if canonical(name) in found:
                raise ModelCorrupt(f"{path} has tensor '{name}' twice; pull the model again")
            found[canonical(name)] = _Place(info, file.raw(name))
    if config.rope_factors:
        found[_ROPE_FREQUENCIES] = _computed(_ROPE_FREQUENCIES, config.rope_factors)
    return found


def _computed(name: str, numbers: tuple[float, ...]) -> _Place:
    """Make a tensor that GGUF files hold out of what a folder only describes."""
    data = np.array(numbers, "<f4").view(np.uint8)
    return _Place(TensorInfo(name, (len(numbers),), TensorType.F32, 0, data.nbytes), data)
