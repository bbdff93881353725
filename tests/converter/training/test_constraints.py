import pytest

from spikeport.converter.errors import PassError
from spikeport.converter.training.constraints import (
    CONSTRAINTS,
    choose_constraints,
    parse_settings,
)


def test_settings_go_over_the_defaults():
    found = choose_constraints(
        ("qcfs", "firing_rate"), parse_settings(("qcfs.n_levels=2", "qcfs.per_channel=false"))
    )
    assert found == {
        "qcfs": {"n_levels": 2, "per_channel": False},
        "firing_rate": dict(CONSTRAINTS["firing_rate"].options),
    }


@pytest.mark.parametrize(
    ("names", "settings", "match"),
    [
        (("qcfs",), ("qcfs.n_levels=0",), "qcfs.n_levels: is 0, expected at least 1"),
        (("qcfs",), ("qcfs.n_levels=2.5",), "'2.5' is not a whole number, expected a value like 4"),
        (("qcfs",), ("qcfs.levels=2",), "option of qcfs 'levels': does not exist"),
        (("qcfs",), ("qcfs=2",), "--set qcfs=2: expected NAME.OPTION=VALUE"),
        (("qcfs",), ("step.width=2",), "option of step 'width': does not exist"),
        (("qcfs",), ("sign.estimator=hard_tanh",), "--set sign: is no constraint of this training"),
        (
            (),
            ("qcfs.n_levels=2",),
            "--set qcfs: is no constraint of this training, expected one of none",
        ),
        (("qcsf",), (), "--constraint 'qcsf': does not exist, expected one of qcfs"),
        (("qcfs", "step"), (), "--constraint step: qcfs is named too, expected one of them"),
        (("surrogate",), ("surrogate.n_steps=0",), "surrogate.n_steps: is 0, expected at least 1"),
        (
            ("surrogate",),
            ("surrogate.leak=1",),
            "leak: is 1.0, expected at least 0 and at most 0.99",
        ),
        (
            ("slip_relu",),
            ("slip_relu.share=2",),
            "share: is 2.0, expected at least 0 and at most 1",
        ),
        (("whetstone",), ("whetstone.last=1.1",), "last: is 1.1, expected .* at most 1"),
        (("sign",), ("sign.estimator=tanh",), "is 'tanh', expected hard_tanh or approx_sign"),
        (("surrogate",), ("surrogate.surrogate=x",), "is 'x', expected linear or sigmoid"),
        (("surrogate",), ("surrogate.n_steps=99999",), "expected at least 1 and at most 64"),
        (("qcfs",), ("qcfs.n_levels=5000",), "expected at least 1 and at most 4096"),
        (("whetstone",), ("whetstone.last=0.1",), "first: is 0.1, expected less than whetst"),
        (("whetstone",), ("whetstone.last=2",), "last: is 2.0, expected at least 0 and at most 1"),
        (("whetstone",), ("whetstone.first=nan",), "first: is nan, expected at least 0"),
        (("firing_rate",), (), "--constraint firing_rate: counts spikes, but ReLUs stay ReLUs"),
        (("weight_clipping", "synaptic_operations"), (), "synaptic_operations: counts spikes"),
        (("qcfs",), ("qcfs.per_channel=yes",), "'yes' is not true or false"),
    ],
)
def test_what_does_not_fit_is_refused(names, settings, match):
    with pytest.raises(PassError, match=match) as found:
        choose_constraints(names, parse_settings(settings))
    assert found.value.hint


def test_every_constraint_says_what_it_does():
    for constraint in CONSTRAINTS.values():
        assert constraint.summary
        assert set(constraint.most) <= set(constraint.least) <= set(constraint.options)
        assert set(constraint.choices) <= set(constraint.options)


def test_names_of_choices_are_those_of_the_tables():
    from spikeport.converter.training.estimators import ESTIMATORS, SURROGATES

    assert CONSTRAINTS["sign"].choices["estimator"] == tuple(ESTIMATORS)
    assert CONSTRAINTS["surrogate"].choices["surrogate"] == tuple(SURROGATES)
