"""The oracle: a network with quantised activations, as its own code in numpy.

It uses nothing of the engines and of the ops' own code: parameters are read, and every operation is
written out again, in int64 or, for weights that are binary fractions, in float64 without rounding.
Values are sums over T steps.
"""

import itertools

import numpy as np

from spikeport.converter.ir import Graph


def run(graph: Graph, inputs: tuple[np.ndarray, ...], kind: type, bias_steps: int) -> dict:
    """Return the sum over the run of every node, [N, ...] by name.

    Args:
        graph: Analog with ReLUs of `bias_steps` levels, or scheduled.
        inputs: As the graph takes them; those of an analog graph are multiplied by `bias_steps`.
        kind: np.int64 or np.float64.
        bias_steps: How often a bias is added: T for an analog graph, 1 for a scheduled one.
    """
    values = {}
    for node in graph.nodes:
        name, op = type(node.op).__name__, node.op
        operands = [values[x] for x in node.inputs]
        if name == "Input":
            raw = inputs[graph.inputs.index(node.name)]
            values[node.name] = raw if kind is np.int64 else raw.astype(kind) * bias_steps
            continue
        values[node.name] = _COMPUTE[name](op, operands, kind, bias_steps)
        assert values[node.name].dtype == kind
    return values


def whole(array: np.ndarray, kind: type) -> np.ndarray:
    """The array in another type, which must hold it exactly."""
    result = np.asarray(array).astype(kind)
    assert (result == array).all()
    return result


def _quantize(op, operands, kind, bias_steps):
    scaled = operands[0].astype(np.float32) / np.float32(op.step)
    return np.clip(np.rint(scaled), op.low, op.high).astype(kind)


def _relu(op, operands, kind, levels):
    assert op.max_value is None
    return np.clip(np.floor(operands[0] + 0.5), 0, levels)


def _wait(op, operands, kind, bias_steps):
    return _levels(op, operands[0], kind, op.n_steps)


def _signed(op, operands, kind, bias_steps):
    return _levels(op, operands[0], kind, op.n_levels)


def _levels(op, total, kind, n_levels):
    threshold, initial = whole(op.threshold, kind), whole(op.initial_potential, kind)
    return np.clip((total + initial) // threshold, 0, n_levels)


def _dense(op, operands, kind, bias_steps):
    return operands[0] @ whole(op.weight, kind).T + whole(op.bias, kind) * bias_steps


def _conv(op, operands, kind, bias_steps):
    weight, n_groups = whole(op.weight, kind), op.groups
    x = np.pad(operands[0], ((0, 0), (0, 0), *op.padding))
    heights, widths = _places(x, weight.shape[2:], op.strides, op.dilation)
    n_out, n_in = len(weight) // n_groups, weight.shape[1]
    result = np.zeros((len(x), len(weight), len(heights), len(widths)), kind)
    for i, j in itertools.product(*map(range, weight.shape[2:])):
        rows = [top + i * op.dilation[0] for top in heights]
        columns = [left + j * op.dilation[1] for left in widths]
        pixels = x[:, :, rows][:, :, :, columns]
        for group in range(n_groups):
            outs = slice(group * n_out, (group + 1) * n_out)
            ins = pixels[:, group * n_in : (group + 1) * n_in]
            result[:, outs] += np.einsum(
                "oc,nchw->nohw", weight[outs, :, i, j], ins, optimize=kind is np.float64
            )
    return result + (whole(op.bias, kind) * bias_steps)[:, None, None]


def _places(x, kernel, strides, dilation):
    """First entries of the windows along both axes of a padded operand."""
    return [
        range(0, size - (k - 1) * d, s)
        for size, k, s, d in zip(x.shape[2:], kernel, strides, dilation, strict=True)
    ]


def _windows(op, x, fill):
    padded = np.pad(x, ((0, 0), (0, 0), *op.padding), constant_values=fill)
    dilation = getattr(op, "dilation", (1, 1))
    heights, widths = _places(padded, op.kernel, op.strides, dilation)
    entries = [
        padded[:, :, [top + i * dilation[0] for top in heights]][
            :, :, :, [left + j * dilation[1] for left in widths]
        ]
        for i, j in itertools.product(*map(range, op.kernel))
    ]
    return np.stack(entries)


def _max_pool(op, operands, kind, bias_steps):
    return _windows(op, operands[0], -(2**40)).max(axis=0)


def _sum_pool(op, operands, kind, bias_steps):
    return _windows(op, operands[0], 0).sum(axis=0)


def _average_pool(op, operands, kind, bias_steps):
    assert not any(map(any, op.padding))
    return _windows(op, operands[0], 0).sum(axis=0) / np.prod(op.kernel)


def _scale(op, operands, kind, bias_steps):
    return operands[0] * whole(op.scale, kind) + whole(op.shift, kind) * bias_steps


_COMPUTE = {
    "Quantize": _quantize,
    "Relu": _relu,
    "WaitFire": _wait,
    "SignedFire": _signed,
    "Dense": _dense,
    "Conv": _conv,
    "MaxPool": _max_pool,
    "SpikingMaxPool": _max_pool,
    "SumPool": _sum_pool,
    "AveragePool": _average_pool,
    "Scale": _scale,
    "Add": lambda op, operands, kind, steps: sum(operands[1:], start=operands[0]),
    "Concatenate": lambda op, operands, kind, steps: np.concatenate(operands, axis=op.axis + 1),
    "Reshape": lambda op, operands, kind, steps: operands[0].reshape(len(operands[0]), *op.shape),
    "Transpose": lambda op, operands, kind, steps: operands[0].transpose(
        0, *(axis + 1 for axis in op.permutation)
    ),
    "Flatten": lambda op, operands, kind, steps: operands[0].reshape(len(operands[0]), -1),
    "GlobalAveragePool": lambda op, operands, kind, steps: (
        operands[0].sum(axis=(2, 3)) / np.prod(operands[0].shape[2:])
    ),
    "Pulse": lambda op, operands, kind, steps: operands[0] * whole(op.gain * op.n_steps, kind),
    "AddOnce": lambda op, operands, kind, steps: operands[0] + whole(op.charge, kind),
}
