"""Op fields as JSON values and arrays: exactly the declared fields, exactly the declared types."""

import dataclasses
import typing

import numpy as np
import pytest

from spikeport.converter.errors import FormatError
from spikeport.converter.exports import parameters
from spikeport.converter.exports.parameters import FIELDS, decode, encode
from spikeport.converter.exports.snn import UNIT
from spikeport.converter.ir import OPS, Array, IntegrateFire, Op, Reset
from spikeport.converter.ir.ops import BatchNorm, Conv, MaxPool, Relu, Softmax

CONV = Conv(np.ones((2, 1, 3)), np.zeros(2), (1,), (2,), ((0, 1),), 1)


def conv_values(**changes) -> dict:
    return {"strides": [1], "dilation": [2], "padding": [[0, 1]], "groups": 1, **changes}


CONV_ARRAYS = {"weight": CONV.weight, "bias": CONV.bias}


def test_values_and_arrays_by_annotation():
    values, arrays = encode(CONV)
    assert values == conv_values()
    assert arrays == CONV_ARRAYS
    again = decode("Conv", values, arrays)
    assert (again.strides, again.dilation, again.padding) == ((1,), (2,), ((0, 1),))


def test_enumerations_and_missing_arrays():
    neuron = IntegrateFire(np.ones(1), np.zeros(1), Reset.ZERO)
    values, arrays = encode(neuron)
    assert values == {"reset": "zero"}
    assert decode("IntegrateFire", values, arrays).reset is Reset.ZERO
    assert encode(Relu()) == ({}, {})
    assert decode("Relu", {}, {}).max_value is None
    assert decode("Relu", {}, {"max_value": np.ones(1)}).max_value == 1


def test_numbers_that_equal_the_declared_type_are_stored_as_it():
    strange = dataclasses.replace(CONV, strides=(np.int64(1),), groups=np.int32(1))
    assert encode(strange)[0] == conv_values()
    assert all(type(size) is int for size in encode(strange)[0]["strides"])
    epsilon = encode(BatchNorm(*np.ones((4, 2)), 1))[0]["epsilon"]
    assert (epsilon, type(epsilon)) == (1.0, float)
    assert encode(BatchNorm(*np.ones((4, 2)), np.float32(0.5)))[0] == {"epsilon": 0.5}


def kinds(hint):
    """The leaves of an annotation."""
    if typing.get_origin(hint) is np.ndarray or not typing.get_args(hint):
        return {hint}
    return set().union(*(kinds(part) for part in typing.get_args(hint) if part is not Ellipsis))


def test_every_op_has_fields_that_a_file_can_hold():
    for name, fields in FIELDS.items():
        assert UNIT not in fields, f"{name}: a tensor of this name is the node's unit"
        for field, hint in fields.items():
            for kind in kinds(hint):
                known = kind in {int, float, bool, str, type(None), Reset}
                assert known or typing.get_origin(kind) is np.ndarray, (name, field, kind)
    assert FIELDS.keys() == OPS.keys()


@dataclasses.dataclass(frozen=True, eq=False)
class Foreign(Op):
    weight: Array
    gain: float | None
    label: str
    is_on: bool
    pair: tuple[int, float]
    mode: Reset


@pytest.fixture
def foreign(monkeypatch):
    """An op with every kind of field, in the table for one test."""
    monkeypatch.setitem(OPS, "Foreign", Foreign)
    monkeypatch.setitem(FIELDS, "Foreign", parameters._fields(Foreign))
    return Foreign(np.ones(2), None, "ü", True, (1, 2.0), Reset.ZERO)


def test_a_new_op_needs_no_code(foreign):
    values, arrays = encode(foreign)
    assert values == {"gain": None, "label": "ü", "is_on": True, "pair": [1, 2.0], "mode": "zero"}
    again = decode("Foreign", values, arrays)
    assert (again.gain, again.pair, again.mode) == (None, (1, 2.0), Reset.ZERO)
    assert decode("Foreign", {**values, "gain": 0.5}, arrays).gain == 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain": 1}, r"gain: is 1 \(int\), expected float"),
        ({"gain": True}, r"gain: is True \(bool\), expected float"),
        ({"label": None}, r"label: is None \(NoneType\), expected str"),
        ({"is_on": 1}, r"is_on: is 1 \(int\), expected bool"),
        ({"is_on": "yes"}, r"is_on: is 'yes' \(str\), expected bool"),
        ({"pair": [1]}, r"pair: has 1 entries, expected 2"),
        ({"pair": [1, 2]}, r"pair: is 2 \(int\), expected float"),
        ({"pair": {}}, r"pair: is \{\} \(dict\), expected tuple\[int, float\]"),
        ({"mode": "none"}, r"mode: is 'none' \(str\), expected 'subtract' or 'zero'"),
        ({"mode": ["zero"]}, r"mode: is \['zero'\] \(list\), expected 'subtract' or 'zero'"),
    ],
)
def test_values_of_another_type_are_not_read(foreign, changes, message):
    values, arrays = encode(foreign)
    with pytest.raises(FormatError, match=message):
        decode("Foreign", {**values, **changes}, arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gain": "1"}, r"gain: is '1' \(str\), expected float"),
        ({"label": 3}, r"label: is 3 \(int\), expected str"),
        ({"is_on": 1}, r"is_on: is 1 \(int\), expected bool"),
        ({"pair": [1, 2.0]}, r"pair: is \[1, 2\.0\] \(list\), expected tuple\[int, float\]"),
        ({"pair": (1.5, 2.0)}, r"pair: is 1\.5 \(float\), expected int"),
        ({"pair": (True, 2.0)}, r"pair: is True \(bool\), expected int"),
        ({"mode": "zero"}, r"mode: is 'zero' \(str\), expected 'subtract' or 'zero'"),
        ({"weight": [1.0]}, r"weight: is \[1\.0\] \(list\), expected an array"),
        ({"weight": None}, r"weight: is None \(NoneType\), expected an array"),
    ],
)
def test_values_of_another_type_are_not_written(foreign, changes, message):
    with pytest.raises(FormatError, match=message):
        encode(dataclasses.replace(foreign, **changes))


@pytest.mark.parametrize(
    ("name", "values", "arrays", "message"),
    [
        ("Lambda", {}, {}, r"operation 'Lambda' is unknown, expected one of Activation, "),
        ("Softmax", {}, {}, r"has the parameters \[\], expected \['axis'\]"),
        ("Softmax", {"axis": 0, "x": 1}, {}, r"parameters \['axis', 'x'\], expected \['axis'\]"),
        ("Softmax", {"axis": 0}, {"w": np.ones(1)}, r"has the tensors \['w'\], expected \[\]"),
        ("Softmax", {"axis": False}, {}, r"axis: is False \(bool\), expected int"),
        ("Conv", conv_values(), {}, r"has the tensors \[\], expected \['bias', 'weight'\]"),
        ("Conv", conv_values(groups=1.0), CONV_ARRAYS, r"groups: is 1\.0 \(float\), expected int"),
        ("Conv", conv_values(padding=[[0]]), CONV_ARRAYS, r"padding: has 1 entries, expected 2"),
        ("Conv", conv_values(padding=[0, 1]), CONV_ARRAYS, r"padding: is 0 \(int\), expected tup"),
        (
            "Conv",
            conv_values(strides=[1] * (2**20 + 1)),
            CONV_ARRAYS,
            r"strides: has 1048577 entries, expected at most 1048576",
        ),
    ],
)
def test_fields_that_are_not_exactly_the_declared_ones(name, values, arrays, message):
    with pytest.raises(FormatError, match=message):
        decode(name, values, arrays)


def test_ops_outside_the_table_are_not_written():
    with pytest.raises(FormatError, match=r"is not in the table OPS, so that no file") as caught:
        encode(Foreign(np.ones(1), None, "", True, (1, 2.0), Reset.ZERO))
    assert "converter/ir/ops" in caught.value.hint

    class Softmax2(Softmax):
        pass

    Softmax2.__name__ = "Softmax"
    with pytest.raises(FormatError, match=r"is not in the table OPS"):
        encode(Softmax2(0))


def test_inherited_fields_are_read_from_the_class_that_declares_them():
    fields = {"kernel", "strides", "dilation", "padding"}
    assert FIELDS["SpikingMaxPool"].keys() == FIELDS["MaxPool"].keys() == fields
    assert encode(MaxPool((2,), (1,), (1,), ((0, 0),)))[0]["padding"] == [[0, 0]]
