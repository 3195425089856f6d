"""Comparisons of a registry with what lists its entries elsewhere; the messages say which place lacks what."""

import inspect

from gpubp._core.names import Parametric


def assert_same_names(places):
    """Assert that two places list the same names.

    Parameters
    ----------
    places : dict
        From the description of each place, such as "ACTIVATIONS of gpubp/nn/activations.py", to its names.
    """
    (one, names), (other, other_names) = ((place, {*names}) for place, names in places.items())
    faults = [f"{name!r} is in {one} but not in {other}" for name in sorted(names - other_names)]
    faults += [f"{name!r} is in {other} but not in {one}" for name in sorted(other_names - names)]
    assert not faults, "; ".join(faults)


def assert_ranges(registry, where, expected, listed_in):
    """Assert that the entries with parameters have these ranges, each as the text of its error message.

    Parameters
    ----------
    registry : dict
    where : str
        The file of the registry.
    expected : dict
        From the name of an entry to a dictionary from each of its parameters to the text of its range.
    listed_in : str
        The description of ``expected``.
    """
    entries = {name: entry for name, entry in registry.items() if isinstance(entry, Parametric)}
    assert_same_names({f"the entries with parameters in {where}": entries, listed_in: expected})
    for name, entry in entries.items():
        parameters = [*inspect.signature(entry.make).parameters]
        assert [*entry.ranges] == parameters, f"give {name} in {where} a range for each of {parameters}, in this order"
        ranges = {parameter: str(allowed) for parameter, allowed in entry.ranges.items()}
        assert ranges == expected[name], f"the ranges of {name} in {where} are not those in {listed_in}"
