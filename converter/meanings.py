"""MEANINGS: what layers and operators become by their type alone, for networks that are not read.

Of a network that is read, `check` looks at every node. Where something has no translation there are
no nodes, but the table shall still say what the rest would become.
"""

from __future__ import annotations

from dataclasses import dataclass

EXACT, APPROXIMATE, KEPT, REFUSED = "exact", "approximate", "analog", "refused"


@dataclass(frozen=True)
class SourceNode:
    """A layer or operator of a source network that was not read.

    Attributes:
        name: As reasons call it.
        op: Its class or op type, as reasons call it.
        parts: Keys of MEANINGS, one after the other: a layer, its activation.
    """

    name: str
    op: str
    parts: tuple[str, ...]


_GROUPS: tuple[tuple[str, str, str], ...] = (
    ("constant current at every step", EXACT, "InputLayer Input"),
    (
        "synapses",
        EXACT,
        "Dense Conv1D Conv2D Conv3D DepthwiseConv1D DepthwiseConv2D SeparableConv1D "
        "SeparableConv2D Conv Gemm MatMul",
    ),
    (
        "zeros between the entries, then synapses",
        EXACT,
        "Conv1DTranspose Conv2DTranspose Conv3DTranspose ConvTranspose",
    ),
    (
        "weights and biases, or a scale",
        EXACT,
        "BatchNormalization Rescaling Normalization Mul Div Multiply Divide TrueDivide",
    ),
    (
        "integrate-and-fire neurons",
        APPROXIMATE,
        "ReLU Relu relu Relu6 relu6 Clip HardSigmoid hard_sigmoid HardTanh hard_tanh",
    ),
    (
        "neurons of two signs",
        APPROXIMATE,
        "LeakyReLU PReLU LeakyRelu PRelu leaky_relu Abs Absolute",
    ),
    (
        "max-pool of accumulated spikes",
        APPROXIMATE,
        "MaxPooling1D MaxPooling2D MaxPooling3D GlobalMaxPooling1D GlobalMaxPooling2D "
        "GlobalMaxPooling3D MaxPool GlobalMaxPool ReduceMax Max Amax Maximum Minimum Min",
    ),
    (
        "linear pooling of spikes",
        EXACT,
        "AveragePooling1D AveragePooling2D AveragePooling3D GlobalAveragePooling1D "
        "GlobalAveragePooling2D GlobalAveragePooling3D AveragePool GlobalAveragePool ReduceMean "
        "ReduceSum",
    ),
    (
        "sum of currents",
        EXACT,
        "Add Subtract Average CustomScaleLayer Sub Sum Mean Neg Negative",
    ),
    (
        "the same",
        EXACT,
        "Concatenate Flatten Reshape Permute RepeatVector ZeroPadding1D ZeroPadding2D "
        "ZeroPadding3D Cropping1D Cropping2D Cropping3D UpSampling1D UpSampling2D UpSampling3D "
        "Stack Split Transpose Swapaxes Moveaxis ExpandDims Squeeze GetItem Take Repeat Tile "
        "Flip Pad Concat Unsqueeze Slice Gather Expand DepthToSpace SpaceToDepth Upsample "
        "Resize",
    ),
    (
        "nothing",
        EXACT,
        "Identity Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D AlphaDropout "
        "GaussianDropout GaussianNoise ActivityRegularization RandomBrightness RandomContrast "
        "RandomFlip RandomRotation RandomShear RandomTranslation RandomZoom Cast StopGradient",
    ),
    ("what its function says", EXACT, "Activation"),
    ("a constant, computed while reading", EXACT, "Constant"),
    ("part of a function", EXACT, "Erf Pow"),
    (
        "part of a ReLU",
        APPROXIMATE,
        "Greater GreaterOrEqual Less LessOrEqual Not Where",
    ),
    (
        "read-out at an output",
        EXACT,
        "Softmax LogSoftmax Sigmoid softmax log_softmax sigmoid",
    ),
    (
        "analog function",
        REFUSED,
        "ELU Elu Celu Gelu Selu Silu HardSilu Softplus Softsign LogSigmoid Tanh Exp HardSwish LRN "
        "Mish Swish ThresholdedRelu celu elu exponential gelu hard_silu hard_swish log_sigmoid "
        "mish selu silu softplus softsign swish tanh",
    ),
)

MEANINGS: dict[str, tuple[str, str]] = {
    name: (becomes, status) for becomes, status, names in _GROUPS for name in names.split()
}
"""By class, function or op type: what it becomes, and EXACT, APPROXIMATE or REFUSED."""


def describe(node: SourceNode) -> tuple[str, str, str]:
    """Return what a node becomes, whether that is exact, and a note, as far as its type says."""
    known = [MEANINGS[part] for part in node.parts if part in MEANINGS]
    if len(known) > 1:  # an Activation is its function
        known = [each for each in known if each != MEANINGS["Activation"]]
    if not known:
        return "nothing", REFUSED, "was not looked at, behind what is refused"
    statuses = [status for _, status in known]
    worst = next(each for each in (REFUSED, APPROXIMATE, EXACT) if each in statuses)
    note = "no rate of spikes stands for it" if worst == REFUSED else ""
    return ", then ".join(becomes for becomes, _ in known), worst, note
