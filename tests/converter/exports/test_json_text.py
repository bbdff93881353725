import enum
import math

import numpy as np
import pytest

from spikeport.converter.errors import FormatError
from spikeport.converter.exports.json_text import (
    MAX_DEPTH,
    MAX_INTEGER,
    canonical_json,
    parse_object,
    spell,
)


class Color(enum.StrEnum):
    RED = "red"


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_one_spelling():
    value = {"b": [1, 2.5, -0.0, True, None], "a": {"ü": 'x"\n'}, "c": ()}
    text = '{"a":{"ü":"x\\"\\n"},"b":[1,2.5,-0.0,true,null],"c":[]}'
    assert canonical_json(value) == text
    assert spell(parse_object(text)) == text


def test_what_counts_as_json():
    assert canonical_json([Color.RED, np.float64(0.5)]) == '["red",0.5]'
    assert (
        canonical_json([MAX_INTEGER, -MAX_INTEGER]) == "[9223372036854775807,-9223372036854775807]"
    )
    assert canonical_json(nested(MAX_DEPTH)) == "[" * MAX_DEPTH + "]" * MAX_DEPTH


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, r"JSON: has a key of type int, expected text"),
        ([{"a": 1, None: 2}], r"JSON: has a key of type NoneType, expected text"),
        ([1.0, math.nan], r"JSON: holds NaN or infinity, expected finite numbers"),
        ([-math.inf], r"JSON: holds NaN or infinity"),
        ([MAX_INTEGER + 1], r"JSON: holds an integer of more than 63 bits"),
        ([-MAX_INTEGER - 1, 0], r"JSON: holds an integer of more than 63 bits"),
        ([np.float32(1)], r"JSON: holds a float32, expected JSON values"),
        ([{1, 2}], r"JSON: holds a set, expected JSON values"),
        ([b"text"], r"JSON: holds a bytes, expected JSON values"),
        (nested(MAX_DEPTH + 1), r"JSON: is nested too deeply, expected at most 32 levels"),
        (["\ud800"], r"JSON: holds text that is no Unicode \(surrogates not allowed\)"),
        ({"\udfff": 1}, r"JSON: holds text that is no Unicode"),
    ],
)
def test_values_that_json_cannot_say(value, message):
    with pytest.raises(FormatError, match=message):
        canonical_json(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"JSON: cannot be parsed \(Expecting value"),
        ('{"a":1', r"JSON: cannot be parsed \(Expecting ',' delimiter"),
        ('{"a":1}}', r"JSON: cannot be parsed \(Extra data"),
        ("\ufeff{}", r"JSON: cannot be parsed \(Unexpected UTF-8 BOM"),
        ('{"a":"\n"}', r"JSON: cannot be parsed \(Invalid control character"),
        ("[]", r"JSON: is a list, expected an object"),
        ("3", r"JSON: is a int, expected an object"),
        ('{"a":NaN}', r"JSON: holds NaN, expected finite numbers"),
        ('{"a":-Infinity}', r"JSON: holds -Infinity, expected finite numbers"),
        ('{"a":1e999}', r"JSON: holds NaN or infinity, expected finite numbers"),
        ('{"a":9223372036854775808}', r"JSON: holds an integer of more than 63 bits"),
        ('{"a":' + "9" * 5000 + "}", r"JSON: cannot be parsed \(Exceeds the limit"),
        ('{"a":' + "[" * 100_000, r"JSON: is nested too deeply, expected at most 32 levels"),
        ('{"a":' * 40 + "1" + "}" * 40, r"JSON: is nested too deeply, expected at most 32 levels"),
    ],
)
def test_text_that_is_no_object(text, message):
    with pytest.raises(FormatError, match=message):
        parse_object(text)
