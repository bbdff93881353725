"""RECIPES: named tuples of passes. A recipe is data; `convert` runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from numbers import Integral, Real
from typing import Any

from .errors import PassError, find
from .passes import PASSES

SIMPLIFY = (
    "remove_no_ops",
    "strip_output_activation",
    "fold_batch_norm",
    "place_poolings",
    "measure_outputs",
)
EXACT = (*SIMPLIFY, "normalize_for_steps", "correct_quantization")


@dataclass(frozen=True)
class Recipe:
    """An order of passes.

    Attributes:
        passes: Keys of PASSES.
        summary: One line for people.
        keeps: What is left of the source's values, and under which conditions.
        costs: Steps, and what else; L is the number of neurons on the longest path.
        options: Options that differ from the passes' defaults, by pass.
        source: The publication, author and year.
    """

    passes: tuple[str, ...]
    summary: str
    keeps: str
    costs: str
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = ""


RECIPES: dict[str, Recipe] = {
    "rate": Recipe(
        (*SIMPLIFY, "calibrate_neurons"),
        "causal: weights, thresholds, potentials and biases fitted to the spikes of T steps",
        "means of every channel on the calibration samples after T steps, less before",
        "T steps; calibration simulates 500 samples",
        source="Li et al. 2021",
    ),
    "light": Recipe(
        (*SIMPLIFY, "normalize_for_steps", "insert_neurons", "correct_biases"),
        "causal: thresholds of least squared error for T, biases corrected on spikes once",
        "weights; about the means of every channel on the calibration samples after T steps",
        "T steps; calibration simulates 300 samples",
        {"correct_biases": {"n_rounds": 1}},
        source="Li et al. 2021",
    ),
    "ltb": Recipe(
        (*SIMPLIFY, "normalize_weights", "insert_neurons", "delay_readout"),
        "causal: thresholds by local balancing, read-out once the first spikes have come through",
        "weights and biases",
        "T steps, of which the last are read",
        {"normalize_weights": {"rule": "balanced"}},
        source="Bu et al. 2025",
    ),
    "classic": Recipe(
        (*SIMPLIFY, "normalize_weights", "insert_neurons"),
        "layer-wise 99.9 percentile, reset by subtraction, initial potential 0",
        "weights and biases; all charge below the threshold",
        "T steps, more with every layer until the outputs answer",
        {
            "normalize_weights": {"per_channel": False},
            "insert_neurons": {"initial_potential": 0.0},
        },
        source="Rueckauer et al. 2017",
    ),
    "diehl": Recipe(
        (*SIMPLIFY, "normalize_weights", "insert_neurons"),
        "layer-wise maximum, reset to zero, initial potential 0",
        "weights and biases; what exceeds the threshold at a spike is lost",
        "T steps, hundreds for deep networks",
        {
            "normalize_weights": {"per_channel": False, "percentile": 100.0},
            "insert_neurons": {"initial_potential": 0.0, "reset": "zero"},
        },
        source="Diehl et al. 2015",
    ),
    "exact": Recipe(
        (*EXACT, "insert_neurons", "schedule_neurons"),
        "T steps for each layer: the counts are those of the network with T + 1 activation levels",
        "every count of the network with T + 1 levels, but for ties in float32",
        "L T steps; decisions before the last mean nothing",
        source="Bu et al. 2022, Hao et al. 2025",
    ),
    "integer": Recipe(
        (*EXACT, "insert_neurons", "schedule_neurons", "use_integers"),
        "exact in integers: 8-bit weights and input, integer thresholds, the same bits everywhere",
        "every count and decision of the 8-bit network with T + 1 levels, bit for bit",
        "L T steps; sums must stay below 2^24",
        source="Jacob et al. 2018, Hao et al. 2025",
    ),
    "graded": Recipe(
        (*EXACT, "insert_graded_neurons"),
        "causal, up to 15 levels per spike (4 bits)",
        "with T = 1 every activation of the network with 16 levels, but for ties in float32",
        "T steps; a spike is a number of 4 bits",
        {
            "normalize_for_steps": {"levels_per_step": 15},
            "correct_quantization": {"levels_per_step": 15},
        },
        source="Hao et al. 2024",
    ),
    "differential": Recipe(
        (*SIMPLIFY, "normalize_for_steps", "insert_differential_neurons"),
        "causal, spikes of both signs and four sizes say how rates change; few steps, few spikes",
        "weights and biases; rates to 4 bits in one step, finer with every step",
        "T steps; spikes of several sizes and signs, more memory per neuron",
        {"normalize_for_steps": {"levels_per_step": 16}},
        source="Huang et al. 2025",
    ),
    "ttfs": Recipe(
        (*EXACT, "insert_neurons", "schedule_neurons"),
        "T steps for each layer, one spike per neuron at most: the counts of exact in its time",
        "every count of exact, as the time of a spike",
        "L T steps; one spike per neuron at most",
        {"schedule_neurons": {"schedule": "ttfs"}},
        source="Rueckauer and Liu 2018, Stanojevic et al. 2024",
    ),
}
TRAINED = (*SIMPLIFY, "use_trained_thresholds", "insert_neurons")
RECIPES |= {
    "binary": Recipe(
        (
            *SIMPLIFY,
            "normalize_for_steps",
            "binarize_weights",
            "correct_quantization",
            "insert_neurons",
            "schedule_neurons",
        ),
        "weights -a, a without training, means and deviations corrected; then as exact",
        "means and deviations of every channel on the calibration samples; not the weights",
        "L T steps; accuracy, of networks that were not trained for it",
        {"normalize_for_steps": {"per_channel": False}},
        source="Rastegari et al. 2016, Li et al. 2021, Hao et al. 2025",
    ),
    "trained": Recipe(
        (*TRAINED, "fold_into_thresholds"),
        "causal, with the thresholds of training; one step of binary layers in integers",
        "the trained thresholds; with T = 1 every activation of a network of two levels",
        "T steps",
        source="Bu et al. 2022, Courbariaux et al. 2016",
    ),
    "trained_exact": Recipe(
        (*TRAINED, "schedule_neurons"),
        "thresholds of training, T steps for each layer: the trained network's own activations",
        "every activation of the trained network, but for ties in float32",
        "L T steps; T is that of training",
        source="Bu et al. 2022, Hao et al. 2025",
    ),
    "trained_integer": Recipe(
        (*TRAINED, "schedule_neurons", "use_integers"),
        "the same in integers: 8-bit weights and input, the same bits everywhere",
        "every count and decision of the trained network in 8 bits, bit for bit",
        "L T steps; T is that of training, sums must stay below 2^24",
        source="Bu et al. 2022, Jacob et al. 2018, Hao et al. 2025",
    ),
}
DEFAULT_RECIPE = "rate"


def choose_options(
    recipe: str, given: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Return the options of every pass of a recipe: the given ones, the recipe's, the defaults.

    Raises:
        PassError: No such recipe or option, a pass outside the recipe, a value of another type, or
            passes that would not take the same levels per step.
    """
    chosen: Recipe = find(RECIPES, recipe, "recipe")
    given = given or {}
    for name in given:
        if name not in chosen.passes:
            raise _refuse_pass(recipe, name, given[name])
    result = {}
    for name in chosen.passes:
        checked = {
            key: _check_value(name, key, value) for key, value in given.get(name, {}).items()
        }
        result[name] = {**PASSES[name].options, **chosen.options.get(name, {}), **checked}
    if "schedule_neurons" in chosen.passes:
        _refuse_neurons(recipe, result["insert_neurons"])
    _expect_same_levels(recipe, result)
    return result


def _expect_same_levels(recipe: str, options: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise if thresholds and corrections are to be for other levels than the neurons have."""
    found = {
        f"{name}.levels_per_step": chosen["levels_per_step"]
        for name, chosen in options.items()
        if "levels_per_step" in chosen
    }
    if len(set(found.values())) > 1:
        given = ", ".join(f"{name} {value}" for name, value in found.items())
        raise PassError(
            f"recipe {recipe}: {given}, expected one number for all of them",
            hint="set all: " + " ".join(f"--set {name}=7" for name in found),
        )


def _refuse_neurons(recipe: str, options: Mapping[str, Any]) -> None:
    """Raise if a recipe with a schedule is to have other neurons than it is exact for."""
    for name in ("reset", "leak", "refractory", "relative", "signed"):
        if options[name] != PASSES["insert_neurons"].options[name]:
            hint = "rate, light, ltb, classic and diehl take the options of neurons"
            if name == "signed":
                hint = "schedule_neurons.schedule=settle has signed neurons, without such an option"
            raise PassError(
                f"insert_neurons.{name}: the schedule of recipe {recipe} is exact only for reset "
                "by subtraction, without leak and rest, expected a causal recipe",
                hint=hint,
            )


def _refuse_pass(recipe: str, name: str, given: Mapping[str, Any]) -> PassError:
    """Return why a recipe does not take the options of a pass."""
    passes = RECIPES[recipe].passes
    options = [f"{name}.{option}" for option in given]
    shown = options[0] if options else name
    if name in NEURON_PASSES:
        for other, reason in WITHOUT_OPTIONS.items():
            if other in passes:
                return PassError(
                    f"{shown}: {reason} in recipe {recipe}, expected a recipe that sends 0 and 1",
                    hint="rate, light, ltb, classic and diehl take the options of neurons",
                )
        for option in given:
            _find_default(name, option)
        (other,) = (each for each in NEURON_PASSES if each in passes)
        shared = [option for option in given if option in PASSES[other].options]
        taker = next(key for key, each in RECIPES.items() if name in each.passes)
        hint = f"recipe {recipe} chooses it by itself; {taker} takes it"
        if shared and "schedule_neurons" not in passes:
            hint = f"use --set {other}.{shared[0]}={format_value(given[shared[0]])}"
        return PassError(
            f"{shown}: the neurons of recipe {recipe} come from {other}, expected its options",
            hint=hint,
        )
    return PassError(
        f"pass {name!r}: is not part of recipe {recipe}, expected one of {', '.join(passes)}",
        hint="spikeport recipes lists the passes of every recipe",
    )


NEURON_PASSES = ("insert_neurons", "calibrate_neurons")
"""Passes that take the options of neurons."""
WITHOUT_OPTIONS = {
    "insert_graded_neurons": "levels of a step would lose or keep charge that others stand for",
    "insert_differential_neurons": "spikes say how a mean changes, which a leak or rest falsifies",
}
"""Pass that makes neurons without such options: why."""


def parse_options(settings: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return `PASS.OPTION=VALUE` settings as options by pass; a value has its default's type.

    Raises:
        PassError: Not of this form, no such pass or option, or a value of another type.
    """
    options: dict[str, dict[str, Any]] = {}
    for setting in settings:
        target, equals, text = setting.partition("=")
        pass_name, dot, option = target.partition(".")
        if not (equals and dot and option):
            raise PassError(
                f"--set {setting}: expected PASS.OPTION=VALUE",
                hint="for example --set normalize_weights.percentile=99.5",
            )
        default = _find_default(pass_name, option)
        value = _check_value(pass_name, option, _parse(text, default))
        options.setdefault(pass_name, {})[option] = value
    return options


def format_value(value: Any) -> str:
    """Return the value of an option as `--set` takes it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _find_default(pass_name: str, option: str) -> Any:
    defaults = find(PASSES, pass_name, "pass").options
    if not defaults:
        raise PassError(
            f"option of {pass_name} {option!r}: does not exist, the pass has no options",
            hint="spikeport recipes lists the options of every pass",
        )
    return find(defaults, option, f"option of {pass_name}")


def _parse(text: str, default: Any) -> Any:
    """Return a value of the default's type, or the text itself where it is none."""
    if isinstance(default, bool):
        return {"true": True, "false": False}.get(text.lower(), text)
    if isinstance(default, Enum):
        return text
    try:
        return type(default)(text)
    except ValueError:
        return text


def _check_value(pass_name: str, option: str, value: Any) -> Any:
    """Return the value in its default's type."""
    default = _find_default(pass_name, option)
    if isinstance(default, Enum):
        entries = {str(entry.value): entry for entry in type(default)}
        return find(entries, value, f"{pass_name}.{option}")
    kinds = {bool: "true or false", Integral: "an integer", Real: "a number", str: "a name"}
    kind = next(kind for kind in kinds if isinstance(default, kind))
    shown = format_value(default)
    if not isinstance(value, kind) or isinstance(value, bool) is not isinstance(default, bool):
        raise PassError(
            f"{pass_name}.{option}: {value!r} is not {kinds[kind]}, expected a value like {shown}",
            hint=f"for example --set {pass_name}.{option}={shown}",
        )
    return type(default)(value)
