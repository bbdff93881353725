"""Run and measure spiking graphs."""
