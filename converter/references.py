"""REFERENCES: the publications that recipes and passes name, and which of them a conversion used.

A number (DOI, arXiv) stands only where it was looked up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .passes import PASSES
from .recipes import RECIPES, choose_options


@dataclass(frozen=True)
class Reference:
    """A publication.

    Attributes:
        authors: As printed.
        year: Of the venue.
        title: In full.
        venue: Journal, conference or archive.
        number: `doi:...` or `arXiv:...`; empty if it was not looked up.
    """

    authors: str
    year: int
    title: str
    venue: str
    number: str = ""

    def __str__(self) -> str:
        parts = (f"{self.authors} ({self.year}). {self.title}. {self.venue}", self.number)
        return ", ".join(filter(None, parts))


REFERENCES: dict[str, Reference] = {
    "Diehl et al. 2015": Reference(
        "Diehl, Neil, Binas, Cook, Liu, Pfeiffer", 2015,
        "Fast-classifying, high-accuracy spiking deep networks through weight and threshold "
        "balancing", "International Joint Conference on Neural Networks (IJCNN)",
    ),
    "Courbariaux et al. 2016": Reference(
        "Courbariaux, Hubara, Soudry, El-Yaniv, Bengio", 2016,
        "Binarized neural networks: training deep neural networks with weights and activations "
        "constrained to +1 or -1", "Preprint", "arXiv:1602.02830",
    ),
    "Rastegari et al. 2016": Reference(
        "Rastegari, Ordonez, Redmon, Farhadi", 2016,
        "XNOR-Net: ImageNet classification using binary convolutional neural networks",
        "European Conference on Computer Vision (ECCV)", "arXiv:1603.05279",
    ),
    "Rueckauer et al. 2017": Reference(
        "Rueckauer, Lungu, Hu, Pfeiffer, Liu", 2017,
        "Conversion of continuous-valued deep networks to efficient event-driven networks for "
        "image classification", "Frontiers in Neuroscience 11", "doi:10.3389/fnins.2017.00682",
    ),
    "Jacob et al. 2018": Reference(
        "Jacob, Kligys, Chen, Zhu, Tang, Howard, Adam, Kalenichenko", 2018,
        "Quantization and training of neural networks for efficient integer-arithmetic-only "
        "inference", "Computer Vision and Pattern Recognition (CVPR)", "arXiv:1712.05877",
    ),
    "Rueckauer and Liu 2018": Reference(
        "Rueckauer, Liu", 2018,
        "Conversion of analog to spiking neural networks using sparse temporal coding",
        "International Symposium on Circuits and Systems (ISCAS)",
    ),
    "Sengupta et al. 2019": Reference(
        "Sengupta, Ye, Wang, Liu, Roy", 2019,
        "Going deeper in spiking neural networks: VGG and residual architectures",
        "Frontiers in Neuroscience 13", "doi:10.3389/fnins.2019.00095",
    ),
    "Li et al. 2021": Reference(
        "Li, Deng, Dong, Gong, Gu", 2021,
        "A free lunch from ANN: towards efficient, accurate spiking neural networks calibration",
        "International Conference on Machine Learning (ICML)", "arXiv:2106.06984",
    ),
    "Bu et al. 2022": Reference(
        "Bu, Fang, Ding, Dai, Yu, Huang", 2022,
        "Optimal ANN-SNN conversion for high-accuracy and ultra-low-latency spiking neural "
        "networks", "International Conference on Learning Representations (ICLR)",
        "arXiv:2303.04347",
    ),
    "Hao et al. 2024": Reference(
        "Hao, Shi, Liu, Yu, Huang", 2024,
        "LM-HT SNN: enhancing the performance of SNN to ANN counterpart through learnable "
        "multi-hierarchical threshold model",
        "Neural Information Processing Systems (NeurIPS)", "arXiv:2402.00411",
    ),
    "Stanojevic et al. 2024": Reference(
        "Stanojevic, Wozniak, Bellec, Cherubini, Pantazi, Gerstner", 2024,
        "High-performance deep spiking neural networks with 0.3 spikes per neuron",
        "Nature Communications 15",
    ),
    "You et al. 2024": Reference(
        "You, Xu, Nie, Deng, Guo, Wang, He", 2024,
        "SpikeZIP-TF: conversion is all you need for transformer-based SNN",
        "International Conference on Machine Learning (ICML)", "arXiv:2406.03470",
    ),
    "Bu et al. 2025": Reference(
        "Bu, Li, Yu", 2025,
        "Inference-scale complexity in ANN-SNN conversion for high-performance and low-power "
        "applications", "Computer Vision and Pattern Recognition (CVPR)", "arXiv:2409.03368",
    ),
    "Hao et al. 2025": Reference(
        "Hao, Ma, Chen, Zhang, Yu, Huang", 2025,
        "Faster and stronger: when ANN-SNN conversion meets parallel spiking calculation",
        "International Conference on Machine Learning (ICML)", "arXiv:2412.13610",
    ),
    "Huang et al. 2025": Reference(
        "Huang, Fang, Bu, Xue, Hao, Liu, Tang, Yu, Huang", 2025,
        "Differential coding for training-free ANN-to-SNN conversion",
        "International Conference on Machine Learning (ICML), PMLR 267", "arXiv:2503.00301",
    ),
}  # fmt: skip
"""By author and year, as sources in recipes, passes and docstrings name them."""

OF_OPTIONS: dict[tuple[str, str, str], str] = {
    ("normalize_weights", "rule", "weights"): "Diehl et al. 2015",
    ("normalize_weights", "rule", "spikes"): "Sengupta et al. 2019",
    ("normalize_weights", "rule", "balanced"): "Bu et al. 2025",
    ("normalize_for_steps", "distribution", "gaussian"): "Huang et al. 2025",
    ("schedule_neurons", "schedule", "wait"): "Hao et al. 2025",
    ("schedule_neurons", "schedule", "ttfs"): "Rueckauer and Liu 2018",
    ("schedule_neurons", "schedule", "settle"): "You et al. 2024",
    ("schedule_neurons", "schedule", "parallel"): "Hao et al. 2025",
}
"""Source of a value of an option, by pass, option and value: it stands instead of the pass's."""

_NAMED = re.compile(r"[A-Z]\w+(?: and [A-Z]\w+| et al\.) \d{4}")


def find_names(text: str) -> list[str]:
    """Return the publications that a source names, as "Author et al. year"."""
    return _NAMED.findall(text)


def find_citations(
    recipe: str, options: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Reference, ...]:
    """Return what a conversion used, by year: the sources of the recipe and of its passes.

    Raises:
        PassError: As `choose_options`.
    """
    names = find_names(RECIPES[recipe].source if recipe in RECIPES else "")
    for name, chosen in choose_options(recipe, options).items():
        special = [
            source
            for (pass_name, option, value), source in OF_OPTIONS.items()
            if pass_name == name and str(chosen.get(option)) == value
        ]
        names += special or find_names(PASSES[name].source)
    found = {REFERENCES[name] for name in names}
    return tuple(sorted(found, key=lambda each: (each.year, each.authors)))
