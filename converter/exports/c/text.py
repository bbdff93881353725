"""C as text: numbers, arrays, indentation, and the program around a network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

TYPES = (("int8_t", 1, 127), ("int16_t", 2, 32767), ("int32_t", 4, 2**31 - 1))
"""Name, bytes, and the largest number, whose negative fits, too."""
PER_LINE = 24

MAIN = """#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    static int16_t input[UPPER_N_INPUTS];
    long n_steps = argc > 1 ? atol(argv[1]) : 0, step;
    unsigned long sample = 0;
    int i, best;
    if (n_steps < 1 || n_steps > UPPER_MAX_STEPS) {
        fprintf(stderr, "Error: %s: expected a number of steps from 1 to %ld\\n", argv[0],
                (long)UPPER_MAX_STEPS);
        return 1;
    }
    printf("static RAM %ld bytes, constants %ld bytes\\n", (long)UPPER_RAM_BYTES,
           (long)UPPER_FLASH_BYTES);
    while (fread(input, sizeof input, 1, stdin) == 1) {
        NAME_start(input);
        for (step = 0; step < n_steps; step++) NAME_step();
        for (i = 1, best = 0; i < UPPER_N_OUTPUTS; i++)
            if (NAME_sums[i] > NAME_sums[best]) best = i;
        printf("sample %lu: class %d, sum %lld\\n", sample++, best, (long long)NAME_sums[best]);
    }
    return 0;
}"""


def choose_type(largest: int) -> tuple[str, int]:
    """Return name and bytes of the smallest type that holds -largest to largest."""
    return next((name, size) for name, size, limit in TYPES if largest <= limit)


def array_text(name: str, values: Integers, type_name: str) -> list[str]:
    """Return a const array, a few numbers per line."""
    flat = [str(int(value)) for value in values.ravel()]
    lines = [
        ",".join(flat[start : start + PER_LINE]) + "," for start in range(0, len(flat), PER_LINE)
    ]
    return [f"static const {type_name} {name}[{len(flat)}] = {{", *lines, "};"]


def indent(lines: Iterable[str]) -> list[str]:
    """Return the lines four columns further right; directives stay where they are."""
    return [line if line.startswith("#") else f"    {line}" for line in lines]


def join_text(*lines: str) -> str:
    """Return the lines as text."""
    return "\n".join((*lines, ""))
