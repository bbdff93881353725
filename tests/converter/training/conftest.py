import pytest

from spikeport.converter.frontends import Source

from .tiny import source


@pytest.fixture(scope="session")
def tiny_source() -> Source:
    """The network of `tiny`."""
    return source()
