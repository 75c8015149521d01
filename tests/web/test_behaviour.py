"""The adapter contract, through every way of mounting and behind every server."""

import pytest

from aplus_adapters.testing.adapter_contract import AdapterContract


class TestEveryForm(AdapterContract):
    """By the fixture `served` of this folder: frameworks, mounts, middleware and servers."""

    @pytest.fixture(scope="session")
    @classmethod
    def served(cls, served):
        return served
