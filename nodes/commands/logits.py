"""`mesh logits`: a model's logits, whole or split, without a network; for comparison with other engines."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from mesh.errors import BadSetting
from mesh.model.checkpoint import open_checkpoint
from mesh.model.families import model_spec
from mesh.model.pipeline import logits_of
from mesh.store.shelf import ModelStore
from mesh.types import Precision, Span
from nodes.options import IntegerList, data_dir_option

_PRECISIONS = {"f32": Precision.F32, "bf16": Precision.INT4}


@click.command()
@click.argument("model")
@click.option("--tokens", type=IntegerList(), required=True, help="Token ids: 1,2,3.")
@click.option("--split", type=IntegerList(), help="Layers before which to cut: 10,20.")
@click.option(
    "--dtype",
    type=click.Choice(list(_PRECISIONS)),
    default="bf16",
    show_default=True,
    help="f32 is the reference; bf16, with int4 weights, is what devices run.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="A .npy file.")
@data_dir_option
def command(  # noqa: PLR0913  an option each
    model: str, tokens: tuple[int, ...], split: tuple[int, ...] | None, dtype: str, out: Path, data_dir: Path
) -> None:
    """Write MODEL's logits for --tokens, float32 [tokens, vocabulary], to a file that numpy reads.

    With --split the layers are loaded and run as so many stages; the result is the same.
    """
    if not out.parent.is_dir():
        raise BadSetting(f"cannot write {out}: there is no folder {out.parent}")
    store = ModelStore(data_dir)
    path, ref = store.verified(model)
    with open_checkpoint(path) as file:
        spec = model_spec(file, ref.name, ref.digest)
    _write(
        out, logits_of(path, spec, spans_between(spec.num_layers, split or ()), _PRECISIONS[dtype], tokens)
    )


def spans_between(num_layers: int, cuts: tuple[int, ...]) -> list[Span]:
    """Cut layers before each of the given ones; raise BadSetting where that leaves an empty span."""
    edges = [0, *cuts, num_layers]
    if any(start >= end for start, end in pairwise(edges)):
        raise BadSetting(
            f"--split {','.join(map(str, cuts))} does not cut {num_layers} layers; "
            f"give rising numbers from 1 to {num_layers - 1}"
        )
    return [Span(start, end) for start, end in pairwise(edges)]


def _write(out: Path, logits: NDArray[np.float32]) -> None:
    partial = out.with_name(f".{out.name}.partial")
    try:
        with partial.open("wb") as file:
            np.save(file, logits)
        os.replace(partial, out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BadSetting(f"cannot write {out}: {error.strerror}") from error
