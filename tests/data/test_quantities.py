"""Numbers with units, currencies and separators are read as they are written in most of a column."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubp.data._quantities import PLAIN, NumberFormat, find_number_format, read_quantity


@pytest.mark.parametrize(
    ("texts", "number_format", "values"),
    [
        (["18 mpg", "21.5mpg", "-3 mpg"], NumberFormat(symbol="mpg"), [18.0, 21.5, -3.0]),
        (["$1,600.00", "$5.50", "-$7"], NumberFormat(thousands=",", symbol="$"), [1600.0, 5.5, -7.0]),
        (["US$ 5", "US$ 7.25"], NumberFormat(symbol="US$"), [5.0, 7.25]),
        (["1.8%", "2 %"], NumberFormat(symbol="%"), [1.8, 2.0]),
        (["1,8", "2,25", "3"], NumberFormat(decimal=","), [1.8, 2.25, 3.0]),
        (["1.234,5", "2.000.000,25"], NumberFormat(decimal=",", thousands="."), [1234.5, 2e6 + 0.25]),
        (["1'234.5", "2'000"], NumberFormat(thousands="'"), [1234.5, 2000.0]),
        (["1\u00a0234,5 \u20ac", "12 \u20ac"], NumberFormat(",", " ", "\u20ac"), [1234.5, 12.0]),
        (["1,234", "12,345,678"], NumberFormat(thousands=","), [1234.0, 12345678.0]),
        (["$1.5k", "$2M", "$300"], NumberFormat(symbol="$", has_magnitudes=True), [1500.0, 2e6, 300.0]),
        (["1.2k", "500", "3.4k"], NumberFormat(has_magnitudes=True), [1200.0, 500.0, 3400.0]),
        (["5 mg", "7"], NumberFormat(symbol="mg"), [5.0, 7.0]),
        (["63 m2", "1,071.5m2", "70"], NumberFormat(thousands=",", symbol="m2"), [63.0, 1071.5, 70.0]),
        (["9 m^2", "8.5 m^2"], NumberFormat(symbol="m2"), [9.0, 8.5]),
        (["5 m/s2", "7 m/s2"], NumberFormat(symbol="m/s2"), [5.0, 7.0]),
        (["3 kg/m2 ", "4 kg/m2"], NumberFormat(symbol="kg/m2"), [3.0, 4.0]),
        (["$3/ft2", "$4.5 /ft2"], NumberFormat(symbol="$/ft2"), [3.0, 4.5]),
        (["12\u2019000", "5\u2019500.5"], NumberFormat(thousands="'"), [12000.0, 5500.5]),
        (["(5.5)", "7.0 "], NumberFormat(), [-5.5, 7.0]),
        (["\u22125 km", "7 km"], NumberFormat(symbol="km"), [-5.0, 7.0]),
        (["1e3 m", "2.5e-2 m"], NumberFormat(symbol="m"), [1000.0, 0.025]),
        (["1", "2.5", "x"] + ["3"] * 20, PLAIN, [1.0, 2.5, None] + [3.0] * 20),
    ],
)
def test_the_format_of_most_values_is_found(texts, number_format, values):
    found = find_number_format(Counter(texts))
    assert found == number_format
    assert [read_quantity(text, found) for text in texts] == values


@pytest.mark.parametrize(
    "texts",
    [
        ["1st", "2nd", "3rd"],
        ["007 kg", "12 kg"],
        ["a", "b"],
        ["5 km", "7 kg"],
        ["12:30", "13:00"],
        ["1.2.3", "1.2.4"],
        ["192.168.0.1", "10.0.0.1"],
        ["2020-01-31", "2020-02-01"],
        ["31.1.2020", "1.2.2020"],
        ["1/2", "3/4"],
        ["A1", "B2"],
        ["5-7", "7-9"],
        ["5x3", "7x3"],
        ["5am2", "7am2"],
        ["5m23", "7m23"],
        ["5 m2x", "7 m2x"],
        ["10h30", "11h30"],
        ["5 m 2", "7 m 2"],
        [],
    ],
)
def test_other_texts_are_no_numbers(texts):
    assert find_number_format(Counter(texts)) is None


@pytest.mark.parametrize(
    "writings",
    [
        ["m2", "m²", "m^2", "\u33a1"],
        ["kg/m3", "kg/m³", "kg/m^3", "kg / m³"],
        ["km/h", "kmh", "kph", "km / h", "KMH", "Km/h", "KM/H"],
        ["°C", "ºC", "\u02daC", "\u2103", "° C", "º C"],
        ["°F", "º F", "\u2109"],
        ["\u03bcm", "\u00b5m"],
        ["\u03a9", "\u2126"],
        ["K", "\u212a"],
        ["%", "\uff05"],
    ],
)
def test_units_may_be_written_in_several_ways(writings):
    for most in writings:
        found = find_number_format(
            Counter([f"{k} {most}" for k in range(20)] + [f"{k} {one}" for k, one in enumerate(writings)])
        )
        assert found.symbol == writings[0]
        assert [read_quantity(f"2.5 {one}", found) for one in writings] == [2.5] * len(writings)
    assert read_quantity("7 m", found) is None


@pytest.mark.parametrize("symbol", ["m2", "ft2", "mm3", "cm3", "km2", "in3", "m3/h", "²"])
def test_a_unit_may_contain_a_digit(symbol):
    assert find_number_format(Counter([f"63 {symbol}", f"5.5{symbol}"])) == NumberFormat(symbol=symbol)
    assert read_quantity(f"7 {symbol}", NumberFormat(symbol="m")) is None


@pytest.mark.parametrize("text", ["29 km", "$29", "29%", "29 mpg mpg", "29,5 mpg", "29.5.1 mpg", "mpg", "", "(29 mpg"])
def test_another_unit_or_form_is_not_read(text):
    assert read_quantity(text, NumberFormat(symbol="mpg")) is None


@pytest.mark.parametrize("text", ["29", " 29.0", "29mpg", "+29 mpg ", "2.9e1 mpg"])
def test_a_number_is_read_with_or_without_its_unit(text):
    assert read_quantity(text, NumberFormat(symbol="mpg")) == 29.0


@pytest.mark.parametrize(
    ("text", "expected"), [("1,234", 1.234), ("1.234", None), ("1.234,5", None), ("-1,5", -1.5), ("1e3", 1000.0)]
)
def test_a_point_is_no_decimal_separator_where_a_comma_is(text, expected):
    assert read_quantity(text, NumberFormat(decimal=",")) == expected


@pytest.mark.parametrize("text", ["12,34", "1,2345", "1234,567", ",123"])
def test_groups_of_thousands_have_three_digits(text):
    assert read_quantity(text, NumberFormat(thousands=",")) is None


@given(st.floats(-1e12, 1e12), st.sampled_from(["mpg", "%", "km", "\u20ac"]))
def test_written_numbers_are_read_back(number, symbol):
    for text, number_format in [
        (f"{number!r} {symbol}", NumberFormat(symbol=symbol)),
        (f"{number:,.3f}{symbol}", NumberFormat(thousands=",", symbol=symbol)),
        (f"{number:,.3f}".translate(str.maketrans(",.", ".,")), NumberFormat(",", ".")),
    ]:
        expected = number if "," not in text and "!" not in text else float(f"{number:.3f}")
        assert read_quantity(text, number_format) == pytest.approx(expected, abs=6e-4)


@pytest.mark.parametrize(
    "text", ["1" * 10**6 + "x", "1" + " " * 10**6 + "(", "1," * 10**6, "1." * 10**6, "1" * 10**6, "e" * 10**6]
)
def test_very_long_texts_are_no_quantities_and_cost_no_time(text):
    """A regular expression that goes back in each place would take hours."""
    assert read_quantity(text, NumberFormat(symbol="km")) in (None, float("inf"))
    assert find_number_format({text: 1, "a": 9}) is None
