"""Results of a public set: every model beside what others have published."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from xr_cloudmask.datasets import PublicSet
from xr_cloudmask.masks.agreement import OF_CLASSES, OVERALL, Agreement, markdown, text_of
from xr_cloudmask.masks.judging import JUDGINGS


@dataclass(frozen=True, repr=False, eq=False)
class Report:
    """Scores of models on a public set. It shows itself as Markdown, and as a table in notebooks.

    Attributes
    ----------
    dataset : PublicSet
    scores : mapping of str to Agreement
        By model; intervals by scene.
    versions : mapping of str to str
        What each model was.
    """

    dataset: PublicSet
    scores: Mapping[str, Agreement]
    versions: Mapping[str, str]

    def table(self) -> pd.DataFrame:
        """Return a row for each model and one for each published score, with intervals, as text."""
        rows = {model: self._row(score) for model, score in self.scores.items()}
        for one in self.dataset.published:
            rows[f"published: {one.method}"] = {
                _column(name, one.measure): f"{value:.3f}" for name, value in one.values.items()
            }
        return pd.DataFrame.from_dict(rows, orient="index").fillna("")

    def _row(self, score: Agreement) -> dict[str, str]:
        limits, table, overall = score.intervals(), score.table(), score.overall()
        row = {name: text_of(overall[name], limits[name]) for name in OVERALL}
        for place, name in enumerate(score.classes):
            row |= {
                _column(name, each): text_of(float(table[each].to_numpy()[place]), limits[each][:, place])
                for each in OF_CLASSES
            }
        return row

    def notes(self) -> list[str]:
        """Return what must be known to read the table."""
        title = self.dataset
        notes = [f"{title.title}; {title.source}. Numbers become reflectance as: {title.scale}."]
        for model, score in self.scores.items():
            same = set(score.classes) == set(JUDGINGS[title.classes])
            other = "" if same else "; judged by other classes than the published scores, which it cannot be set beside"
            notes.append(f"{model}: {self.versions[model]}; {score.title()}{other}.")
        notes += [f"Published, {one.method}: {one.definition}; {one.source}." for one in title.published]
        return notes + [f"Not confirmed by a file of the set: {title.unconfirmed}."] * bool(title.unconfirmed)

    def to_markdown(self) -> str:
        """Return the table, turned so that a score is a row, and its notes."""
        lines = "\n".join(f"- {note}" for note in self.notes())
        return f"## {self.dataset.title}\n\n{markdown(self.table().T)}\n\n{lines}\n"

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON has it."""
        models = {model: {"version": self.versions[model]} | score.to_dict() for model, score in self.scores.items()}
        published = [asdict(one) for one in self.dataset.published]
        named = {"name": self.dataset.name, "title": self.dataset.title, "source": self.dataset.source}
        return {"dataset": named, "models": models, "published": published, "notes": self.notes()}

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    def __repr__(self) -> str:
        return self.to_markdown()

    def _repr_html_(self) -> str:
        return f"<h4>{self.dataset.title}</h4>{self.table().T.to_html()}"


def _column(name: str, measure: str) -> str:
    return measure if name == "all" else f"{name} {measure}"
