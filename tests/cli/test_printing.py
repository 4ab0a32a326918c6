"""What others wrote is shown on a terminal and in a spreadsheet, and never obeyed."""

import csv
import io
import unicodedata

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xr_cloudmask.cli.printing import FORMULA, cell, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("S2A_T32TQM", "S2A_T32TQM"),
        ("Ünïcödé 雲", "Ünïcödé 雲"),
        ("two\nlines", "two\nlines"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\tc\x00", "a\\rb\\tc\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_shown(text, expected):
    assert shown(text) == expected


@given(st.text(st.characters()))
def test_nothing_that_a_terminal_obeys_is_left(text):
    said = shown(text)
    assert not [
        character for character in said if unicodedata.category(character) in ("Cc", "Cs") and character != "\n"
    ]
    said.encode()


@given(st.text(st.characters()))
def test_no_cell_is_a_formula(text):
    written = pd.DataFrame({"id": [text]}).map(cell).to_csv(index=False)
    read = list(csv.reader(io.StringIO(written)))[1:]
    assert not any(value.startswith(FORMULA) for row in read for value in row[:1])


@pytest.mark.parametrize("value", [-5, 1.5, None, True, pd.NaT])
def test_numbers_stay_numbers(value):
    assert cell(value) is value


def test_the_table_of_a_catalogue_is_no_command(tmp_path, capsys, monkeypatch):
    from xr_cloudmask.cli import catalogue

    others = dict.fromkeys(set(catalogue.SHOWN) - {"error"}, 0.5)
    frame = pd.DataFrame({"id": ["\x1b[2J=1+1", "=HYPERLINK(1)"], "error": ["-2+3", None], **others}).set_index("id")

    class Kept:
        def to_dataframe(self):
            return frame.assign(statistics=None, provenance=None, geometry=None)

    monkeypatch.setattr(catalogue, "_catalogue", lambda arguments: Kept())
    for form in (None, "csv"):
        catalogue._list(type("Arguments", (), {"form": form}))
        printed = capsys.readouterr().out
        assert "\x1b" not in printed
        assert "\\x1b[2J=1+1" in printed
    rows = pd.read_csv(io.StringIO(printed))
    assert rows["id"].tolist() == ["\\x1b[2J=1+1", "'=HYPERLINK(1)"]
    assert rows["error"].tolist()[0] == "'-2+3"
