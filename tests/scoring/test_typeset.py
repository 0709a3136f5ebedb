import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scoring.typeset import Column, decimals, integers, lines, only, runs, where, words


@given(
    st.lists(
        st.floats(-1000, 1000) | st.sampled_from([0.0, -0.0, 100.0, 0.1, 5e-12, -4e-12, 99.99999999999]), min_size=1
    )
)
def test_numbers_are_json_and_exact_to_eleven_decimals(values: list[float]) -> None:
    written = list(lines([decimals(np.array(values))], len(values)))
    for value, text in zip(values, written, strict=True):
        assert abs(json.loads(text) - value) <= 5.001e-12 * max(1, abs(value))
        assert "." in text
        assert text.endswith(".0") or not text.endswith("0")


@given(st.lists(st.integers(0, 10**8 - 1), min_size=1))
def test_whole_numbers_are_written_as_they_are(values: list[int]) -> None:
    assert list(lines([integers(np.array(values))], len(values))) == [str(value) for value in values]


def test_columns_stand_side_by_side_and_leave_no_gap() -> None:
    is_more = np.array([True, False, True])
    columns: list[Column] = [
        words(["a", "ccc"], np.array([1, 0, 1])),
        b"=",
        only(is_more, integers(np.array([7, 8, 12]))),
        where(~is_more, "none"),
    ]
    assert list(lines(columns, 3)) == ["ccc=7", "a=none", "ccc=12"]


def test_runs_are_joined_by_commas_and_may_be_empty() -> None:
    found = runs([words(["a", "b", "c"], np.arange(3))], np.array([0, 0, 2, 2, 3, 3]))
    assert found.tolist() == ["", "a,b", "", "c", ""]


def test_nothing_gives_nothing() -> None:
    assert list(lines([b"x"], 0)) == []
    assert runs([words([], np.zeros(0, dtype=np.int64))], np.array([0, 0])).tolist() == [""]
