"""From a spiking graph to the stages that the event engine runs. Needs no numba to plan."""
