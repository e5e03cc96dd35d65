"""Network of the direct estimator."""

from s5forecast import S5Estimator
from s5forecast.data.spec import FeatureSpec, WindowSpec
from s5forecast.distributions import make_output
from s5forecast.networks.direct import DirectNetwork


def test_networks_without_categories_have_the_same_parameters():
    spec = WindowSpec("h", 24, 4, [1], features=FeatureSpec(1, 2))
    arguments = S5Estimator("h", 4, width=8, num_layers=1, patch_length=1).network_kwargs
    plain = DirectNetwork(spec, make_output("normal"), [], **arguments)
    assert not [name for name in plain.state_dict() if "step_categories" in name]
    with_categories = spec._replace(features=FeatureSpec(1, 2, dynamic_cardinalities=(3,)))
    further = DirectNetwork(with_categories, make_output("normal"), [], **arguments).state_dict().keys()
    assert further - plain.state_dict().keys() == {"step_categories.tables.0.weight"}
