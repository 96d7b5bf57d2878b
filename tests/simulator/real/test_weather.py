"""What real processes cannot act out is refused by name, before any is started."""

from __future__ import annotations

import pytest

from mesh.errors import BadSetting
from simulator.real.weather import check_possible
from simulator.script import Fault, FaultKind
from tests.simulator.scripts import a_script, three

IMPOSSIBLE = {
    FaultKind.LOSS,
    FaultKind.DROP,
    FaultKind.CORRUPT,
    FaultKind.FADE,
    FaultKind.DEPART,
    FaultKind.METERED,
    FaultKind.DRAIN,
}


@pytest.mark.parametrize("kind", list(FaultKind))
def test_only_what_processes_can_act_out_is_taken(kind: FaultKind) -> None:
    script = a_script(*three(), faults=(Fault(1.0, kind, ("a",), for_s=1.0),))
    if kind not in IMPOSSIBLE:
        return check_possible(script)
    with pytest.raises(BadSetting, match=f"test has the fault '{kind}', which processes cannot act out"):
        check_possible(script)
    return None
