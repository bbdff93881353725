"""Ways to run a spiking graph."""
