"""From a trained network to a spiking graph."""
