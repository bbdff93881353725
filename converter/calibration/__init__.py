"""Activation statistics and threshold rules."""
