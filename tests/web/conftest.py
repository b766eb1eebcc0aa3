"""Fixtures of the tests of the page."""

import pytest
from web_service import client_of, make_service, write_networks


@pytest.fixture(scope="session")
def network_files(tmp_path_factory):
    return write_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def service(network_files, tmp_path):
    return make_service(network_files, tmp_path)


@pytest.fixture
def client(service):
    with client_of(service) as client:
        yield client
