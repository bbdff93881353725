"""The compiled inner loops of the event engine; its modules need numba, import them late."""
