"""CONSTRAINTS: what a network can be trained under, by name.

An activation constraint puts another activation in the place of every ReLU; there is one of these,
or none. The others are added to the loss or to the weights, and may be combined with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import PassError, find
from ..ir.types import MAX_N_STEPS


@dataclass(frozen=True)
class Constraint:
    """One entry.

    Attributes:
        summary: One line for people.
        options: Names and defaults of what `--set NAME.OPTION=VALUE` changes.
        source: The publication, author and year; "" for plain algebra.
        is_activation: It stands in the place of the ReLUs.
        least: By option, the least value that makes sense.
        most: By option, the largest.
        choices: By option, the names that it may have.
    """

    summary: str
    options: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    is_activation: bool = True
    least: Mapping[str, float] = field(default_factory=dict)
    most: Mapping[str, float] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


MAX_LEVELS = 4096
MAX_TRAINED_STEPS = 64
"""Of a simulation that is trained: every step of every sample is kept for the gradients."""

CONSTRAINTS: dict[str, Constraint] = {
    "qcfs": Constraint(
        "n_levels activation levels with a trainable threshold; exact at T = n_levels",
        {"n_levels": 4, "per_channel": True},
        "Bu et al. 2022",
        least={"n_levels": 1},
        most={"n_levels": MAX_LEVELS},
    ),
    "clipped": Constraint(
        "ReLU clipped at a trainable threshold", {"per_channel": True},
        "Deng and Gu 2021, Ho and Chang 2021",
    ),
    "slip_relu": Constraint(
        "a weighted mean of clipped and quantised ReLU",
        {"n_levels": 4, "share": 0.4, "per_channel": True},
        "Jiang et al. 2023",
        least={"n_levels": 1, "share": 0},
        most={"n_levels": MAX_LEVELS, "share": 1},
    ),
    "whetstone": Constraint(
        "clipped ReLUs sharpened to binary steps, layer after layer, from the input on",
        {"first": 0.1, "last": 0.8, "gradient_width": 1.0},
        "Severa et al. 2019",
        least={"first": 0, "last": 0, "gradient_width": 0},
        most={"first": 1, "last": 1, "gradient_width": 1},
    ),
    "gaussian_noise": Constraint(
        "clipped ReLU with Gaussian noise, in thresholds",
        {"noise": 0.1, "per_channel": True},
        least={"noise": 0},
        most={"noise": 100},
    ),
    "poisson_noise": Constraint(
        "clipped ReLU with the noise of Poisson rates over n_steps",
        {"n_steps": 16, "per_channel": True},
        least={"n_steps": 1},
        most={"n_steps": MAX_N_STEPS},
    ),
    "step": Constraint(
        "binary activations 0 and 1: spikes of one step", {}, "Courbariaux et al. 2016"
    ),
    "sign": Constraint(
        "binary activations -1 and 1",
        {"estimator": "approx_sign"},
        "Courbariaux et al. 2016, Liu et al. 2018",
        choices={"estimator": ("hard_tanh", "approx_sign")},
    ),
    "surrogate": Constraint(
        "simulated for n_steps with surrogate gradients; thresholds and leaks are trained",
        {"n_steps": 4, "surrogate": "linear", "width": 1.0, "leak": 0.0, "train_leak": True},
        "Rathi and Roy 2020",
        least={"n_steps": 1, "width": 1e-3, "leak": 0},
        most={"n_steps": MAX_TRAINED_STEPS, "width": 100, "leak": 0.99},
        choices={"surrogate": ("linear", "sigmoid")},
    ),
    "weight_clipping": Constraint(
        "weights stay within -limit..limit", {"limit": 1.0}, is_activation=False,
        least={"limit": 1e-6},
    ),
    "firing_rate": Constraint(
        "loss on mean spikes per neuron and step above a target",
        {"target": 0.1, "weight": 10.0},
        is_activation=False,
        least={"target": 0, "weight": 0},
    ),
    "synaptic_operations": Constraint(
        "loss on synaptic operations above a target, as a share of the multiply-accumulates",
        {"target": 0.5, "weight": 1.0},
        is_activation=False,
        least={"target": 1e-6, "weight": 0},
    ),
}  # fmt: skip

NEED_ACTIVATIONS = ("firing_rate", "synaptic_operations")
ONE_STEP = ("whetstone", "step", "sign")
N_STEPS = 16
"""T of networks whose training chose none, and the levels that their thresholds start for."""


def count_steps(name: str, options: Mapping[str, Any]) -> int:
    """Return T for which an activation constraint trains: the levels or steps of a neuron."""
    return 1 if name in ONE_STEP else int(options.get("n_levels", options.get("n_steps", N_STEPS)))


def choose_constraints(
    names: tuple[str, ...], given: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the options of every constraint that was named: the given ones over the defaults.

    Raises:
        PassError: No such constraint or option, a value of another kind or out of range, two
            activation constraints, a loss on spikes without any, or an option of a constraint
            that was not named.
    """
    given = given or {}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        constraint: Constraint = find(CONSTRAINTS, name, "--constraint")
        found[name] = dict(constraint.options)
    activations = [name for name in found if CONSTRAINTS[name].is_activation]
    if len(activations) > 1:
        raise PassError(
            f"--constraint {activations[1]}: {activations[0]} is named too, expected one of them",
            hint="one constraint stands in the place of the ReLUs; the others add to the loss",
        )
    counting = [name for name in found if name in NEED_ACTIVATIONS]
    if counting and not activations:
        raise PassError(
            f"--constraint {counting[0]}: counts spikes, but ReLUs stay ReLUs, expected a "
            "constraint for them, too",
            hint=f"for example --constraint qcfs --constraint {counting[0]}",
        )
    for name, options in given.items():
        if name not in found:
            raise PassError(
                f"--set {name}: is no constraint of this training, expected one of "
                f"{', '.join(found) or 'none'}",
                hint=f"add --constraint {name} (of binarize: --activations {name}), or leave the "
                "option out",
            )
        for option, value in options.items():
            default = find(CONSTRAINTS[name].options, option, f"option of {name}")
            found[name][option] = _check(name, option, value, default)
    sharpening = found.get("whetstone")
    if sharpening and sharpening["first"] >= sharpening["last"]:
        raise PassError(
            f"whetstone.first: is {sharpening['first']}, expected less than whetstone.last, "
            f"{sharpening['last']}",
            hint="both are shares of the epochs: between them layers get sharp, one after another",
        )
    return found


def parse_settings(settings: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return `NAME.OPTION=VALUE` settings as options by constraint.

    Raises:
        PassError: Not of this form, or no such constraint or option.
    """
    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        target, equals, text = setting.partition("=")
        name, dot, option = target.partition(".")
        if not (equals and dot and option):
            raise PassError(
                f"--set {setting}: expected NAME.OPTION=VALUE",
                hint="for example --set qcfs.n_levels=4",
            )
        default = find(find(CONSTRAINTS, name, "constraint").options, option, f"option of {name}")
        found.setdefault(name, {})[option] = _parse(text, default)
    return found


def _parse(text: str, default: Any) -> Any:
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return type(default)(text)
    except ValueError:
        return text


def _check(name: str, option: str, value: Any, default: Any) -> Any:
    kinds = {bool: "true or false", int: "a whole number", float: "a number", str: "a name"}
    kind = type(default)
    is_right = type(value) is kind or (kind is float and type(value) is int)
    if not is_right:
        raise PassError(
            f"{name}.{option}: {value!r} is not {kinds[kind]}, expected a value like {default}",
            hint=f"for example --set {name}.{option}={default}",
        )
    choices = CONSTRAINTS[name].choices.get(option)
    if choices is not None and value not in choices:
        raise PassError(
            f"{name}.{option}: is {value!r}, expected {' or '.join(choices)}",
            hint=f"{default} is the default",
        )
    least = CONSTRAINTS[name].least.get(option)
    most = CONSTRAINTS[name].most.get(option, 2**24)
    if least is not None and not least <= value <= most:
        above = f" and at most {most:.10g}" if value > most else ""
        raise PassError(
            f"{name}.{option}: is {value}, expected at least {least:g}{above}",
            hint=f"{default} is the default",
        )
    return value
