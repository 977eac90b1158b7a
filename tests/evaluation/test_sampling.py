import numpy as np
import pytest

from ibgan_plugin.evaluation.sampling import dataset_size, draw_factors, random_state
from zoo.errors import MetricError, SettingError


def test_one_draw_a_factor_in_order():
    drawn = draw_factors((3, 5), 4, random_state(0))
    rng = np.random.RandomState(0)
    first, second = rng.randint(3, size=4), rng.randint(5, size=4)
    assert drawn.dtype == np.int64
    assert drawn.T.tolist() == [first.tolist(), second.tolist()]


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seeds_are_those_of_the_legacy_generator(seed):
    with pytest.raises(SettingError, match="0 to 2"):
        random_state(seed)


def test_the_size_of_a_dataset_is_its_length_or_what_its_factors_make():
    class Data:
        def __init__(self, **attributes):
            vars(self).update(attributes)

    class Long(Data):
        def __len__(self):
            return 7

    assert dataset_size(Long(factor_sizes=(3, 4)), "fid") == 7
    assert dataset_size(Data(factor_sizes=(3, 4)), "factorvae") == 12
    for without in (Data(), Data(factor_sizes=None, name="mine")):
        with pytest.raises(MetricError, match=r"^fid needs to know how many images dataset '(Data|mine)' has"):
            dataset_size(without, "fid")
