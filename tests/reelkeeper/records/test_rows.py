"""Rows hold any record within the limits of Azure tables, and refuse the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelkeeper import names
from reelkeeper.records import rows
from reelkeeper.records.base import IdempotencyClaim

SCALARS = st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.floats(allow_nan=False) | st.text()
VALUES = SCALARS | st.lists(st.text(), max_size=3) | st.dictionaries(st.text(), SCALARS, max_size=3)


@given(st.dictionaries(st.sampled_from(["alpha", "beta", "gamma_1"]), VALUES))
def test_values_come_back_as_they_went_in(values: dict[str, object]) -> None:
    """Scalars, lists and objects survive; None is an absent column."""
    row = rows.to_row("partition", "key", values)
    assert None not in row.values()
    assert rows.from_row(row) == {name: value for name, value in values.items() if value is not None}


@pytest.mark.parametrize("length", [0, 1, 15_999, 16_000, 16_001, 31_999, 32_000, 32_001, 100_000])
@pytest.mark.parametrize("character", ["x", "🎬"])
def test_text_of_any_length_fits_its_columns(length: int, character: str) -> None:
    """No column is over 64 KiB of UTF-16, and the pieces make the whole."""
    row = rows.to_row("p", "k", {"text": character * length, "nested": [character * length]})
    assert max(len(value.encode("utf-16-le")) for value in row.values()) <= 64 * 1024
    assert rows.from_row(row) == {"text": character * length, "nested": [character * length]}


def test_the_size_is_the_one_azure_counts() -> None:
    """By Microsoft's formula: 4 + keys, and for each column 8 + its name + its value, text in UTF-16 plus 4."""
    row = rows.to_row("ab", "c", {"text": "é🎬", "number": 7})
    assert rows.row_bytes(row) == 4 + 2 * 3 + (8 + 2 * 4 + 6 + 4) + (8 + 2 * 6 + 8)


def test_the_limits_are_exact() -> None:
    """A row of exactly 1 MiB passes, one character more does not; 250 columns besides the keys pass, 251 do not."""
    full = {f"c{number:02d}": "x" * 16_000 for number in range(32)}
    assert rows.row_bytes(rows.to_row("p", "k", {**full, "c32": "x" * 11_987})) == 1024 * 1024
    with pytest.raises(ValueError, match="too large"):
        rows.to_row("p", "k", {**full, "c32": "x" * 11_988})
    assert len(rows.to_row("p", "k", {f"c{number}": 1 for number in range(250)})) == 252
    with pytest.raises(ValueError, match="columns"):
        rows.to_row("p", "k", {f"c{number}": 1 for number in range(251)})


@given(st.text())
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """Whatever a caller sends as cursor ends in a ValueError or in the row key it stands for, in nothing else."""
    try:
        row_key = rows.from_cursor(text)
    except ValueError:
        return
    assert rows.to_cursor(row_key) == text


def test_a_claim_of_an_older_version_is_readable() -> None:
    """A row from before jobs could be deleted stands for a job that was not."""
    assert rows.row_claim({"job_id": "job-1", "body_digest": "digest-1"}) == IdempotencyClaim("job-1", "digest-1")


def test_a_cursor_leads_back_to_its_row() -> None:
    """What we give out, we take back."""
    row_key = names.row_key(names.new_job_id(names.utc(1_795_000_000)))
    assert rows.from_cursor(rows.to_cursor(row_key)) == row_key
