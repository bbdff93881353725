"""Graph -> Graph, one file each. PASSES is the table, in the usual order."""

from __future__ import annotations

from .binarize_weights import binarize_weights
from .calibrate_neurons import calibrate_neurons
from .contract import Keeps, Pass
from .correct_biases import correct_biases
from .correct_quantization import correct_quantization
from .delay_readout import delay_readout
from .fold_batch_norm import fold_batch_norm
from .fold_into_thresholds import fold_into_thresholds
from .insert_differential_neurons import insert_differential_neurons
from .insert_graded_neurons import insert_graded_neurons
from .insert_neurons import insert_neurons
from .measure_outputs import measure_outputs
from .normalize_for_steps import normalize_for_steps
from .normalize_weights import normalize_weights
from .place_poolings import place_poolings
from .remove_no_ops import remove_no_ops
from .schedule_neurons import schedule_neurons
from .strip_output_activation import strip_output_activation
from .use_integers import use_integers
from .use_trained_thresholds import use_trained_thresholds

RUECKAUER = "Rueckauer et al. 2017, doi:10.3389/fnins.2017.00682"
LI = "Li et al. 2021"
LTB = "Bu et al. 2025"
EXACT = "Hao et al. 2025; You et al. 2024, arXiv:2406.03470"
LM_HT = "Hao et al. 2024, arXiv:2402.00411"
JACOB = "Jacob et al. 2018"
DCGS = "Huang et al. 2025, arXiv:2503.00301"
QCFS = "Bu et al. 2022"
XNOR = "Rastegari et al. 2016"
BNN = "Courbariaux et al. 2016"

PASSES: dict[str, Pass] = {
    entry.name: entry
    for entry in (
        Pass(remove_no_ops, Keeps.FUNCTION, leaves_no=("Identity",)),
        Pass(strip_output_activation, Keeps.DECISION),
        Pass(fold_batch_norm, Keeps.FUNCTION, leaves_no=("BatchNorm",), source=RUECKAUER),
        Pass(place_poolings, Keeps.FUNCTION, needs_no=("BatchNorm",), source=RUECKAUER),
        Pass(measure_outputs, Keeps.FUNCTION, source=RUECKAUER),
        Pass(normalize_weights, Keeps.FUNCTION, needs_no=("BatchNorm",), source=RUECKAUER),
        Pass(normalize_for_steps, Keeps.FUNCTION, needs_no=("BatchNorm",), source=LI),
        Pass(use_trained_thresholds, Keeps.FUNCTION, needs_no=("BatchNorm",), source=QCFS),
        Pass(binarize_weights, Keeps.SIGNATURE, needs_no=("BatchNorm",), source=f"{XNOR}; {LI}"),
        Pass(correct_quantization, Keeps.SIGNATURE, needs_no=("BatchNorm",), source=LI),
        Pass(
            insert_neurons,
            Keeps.SIGNATURE,
            leaves_no=("Relu", "QuantizedRelu"),
            source=RUECKAUER,
        ),
        Pass(correct_biases, Keeps.SIGNATURE, needs_no=("Relu", "BatchNorm"), source=LI),
        Pass(delay_readout, Keeps.SIGNATURE, needs_no=("Relu", "BatchNorm"), source=LTB),
        Pass(insert_graded_neurons, Keeps.SIGNATURE, leaves_no=("Relu",), source=LM_HT),
        Pass(insert_differential_neurons, Keeps.SIGNATURE, leaves_no=("Relu",), source=DCGS),
        Pass(schedule_neurons, Keeps.SIGNATURE, needs_no=("Relu", "BatchNorm"), source=EXACT),
        Pass(use_integers, Keeps.SIGNATURE, needs_no=("Relu", "BatchNorm"), source=JACOB),
        Pass(fold_into_thresholds, Keeps.SIGNATURE, needs_no=("Relu", "BatchNorm"), source=BNN),
        Pass(
            calibrate_neurons,
            Keeps.SIGNATURE,
            needs_no=("BatchNorm",),
            leaves_no=("Relu",),
            source=LI,
        ),
    )
}

__all__ = ["PASSES", "Keeps", "Pass"]
