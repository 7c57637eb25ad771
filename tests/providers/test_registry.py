"""The provider of a model is found by how its name begins; a new one costs a module and a line."""

from ossia.engine.options import LoadOptions
from ossia.providers.metrics import Metrics
from ossia.providers.registry import PROVIDERS, create_provider
from ossia.providers.supervisor import Supervisor


def test_a_model_of_this_computer_is_written_by_its_engine():
    provider = create_provider(LoadOptions(model="nano"), Metrics(), max_waiting=3)
    assert isinstance(provider, Supervisor)
    assert provider.health.state == "loading"


def test_the_longest_prefix_that_fits_is_taken():
    made = []

    def remote(load_options, metrics, max_waiting, progress):
        made.append((load_options.model, max_waiting))
        return "remote"

    providers = {**PROVIDERS, "https://": remote}
    load_options = LoadOptions(model="https://host.example/v1")
    assert create_provider(load_options, Metrics(), max_waiting=3, providers=providers) == "remote"
    assert made == [("https://host.example/v1", 3)]
