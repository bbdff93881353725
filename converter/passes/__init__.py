"""Graph -> Graph, one file each. PASSES is the table, in the usual order."""

from __future__ import annotations

from .contract import Keeps, Pass
from .correct_quantization import correct_quantization
from .fold_batch_norm import fold_batch_norm
from .insert_neurons import insert_neurons
from .normalize_for_steps import normalize_for_steps
from .normalize_weights import normalize_weights
from .remove_no_ops import remove_no_ops
from .strip_output_activation import strip_output_activation

RUECKAUER = "Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682"
LI = "Li et al. 2021"

PASSES: dict[str, Pass] = {
    entry.name: entry
    for entry in (
        Pass(remove_no_ops, Keeps.FUNCTION, leaves_no=("Identity",)),
        Pass(strip_output_activation, Keeps.DECISION),
        Pass(fold_batch_norm, Keeps.FUNCTION, leaves_no=("BatchNorm",), source=RUECKAUER),
        Pass(normalize_weights, Keeps.FUNCTION, needs_no=("BatchNorm",), source=RUECKAUER),
        Pass(normalize_for_steps, Keeps.FUNCTION, needs_no=("BatchNorm",), source=LI),
        Pass(correct_quantization, Keeps.SIGNATURE, needs_no=("BatchNorm",), source=LI),
        Pass(
            insert_neurons,
            Keeps.SIGNATURE,
            leaves_no=("Relu",),
            source=RUECKAUER,
        ),
    )
}

__all__ = ["PASSES", "Keeps", "Pass"]
