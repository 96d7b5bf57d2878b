"""A record of speed for tests: round figures, so that what follows from them can be reckoned by hand."""

from __future__ import annotations

from mesh.types import SPEED_VERSION, Precision, SpeedRecord, StepSpeed

SPEED = SpeedRecord(
    version=SPEED_VERSION,
    engine="native",
    kind="avx2",
    num_threads=2,
    model="tiny",
    precision=Precision.INT4,
    num_layers=10,
    layer_bytes=2_000_000,
    steps=(StepSpeed(1, 0.0005, 0.005), StepSpeed(2, 0.0006, 0.006), StepSpeed(8, 0.0014, 0.010)),
    prefill_layer_row_s=0.0001,
    memory_rate_bytes_per_s=10e9,
)
