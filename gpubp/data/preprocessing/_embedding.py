"""Which columns of categories a network embeds."""

from collections.abc import Sequence
from dataclasses import replace

from gpubp.data.preprocessing._records import CategoryColumn, ColumnSummary, FeatureColumn

FEW_INPUTS = 9
"""A column with no more stays one-hot, as in RealMLP (Holzmüller et al. 2024)."""

MOST_INPUTS_TO_EMBED = 1_000
"""Of a table: the layer of the embeddings has weights from each input to all of its units, most of them absent."""


def embedded(
    columns: Sequence[FeatureColumn], summaries: Sequence[ColumnSummary]
) -> tuple[list[FeatureColumn], list[ColumnSummary]]:
    """Let a network embed the columns of many categories, unless the table has too many inputs, and summarize it."""
    n_inputs = sum(len(column.inputs) for column in columns)
    is_embedded = n_inputs <= MOST_INPUTS_TO_EMBED
    reason = "; embedded"
    if not is_embedded:
        reason = f"; not embedded: the table has {n_inputs:,} inputs, more than {MOST_INPUTS_TO_EMBED:,}"
    many = {one.name for one in columns if type(one) is CategoryColumn and len(one.inputs) > FEW_INPUTS}
    marked = [
        replace(one, is_embedded=is_embedded) if isinstance(one, CategoryColumn) and one.name in many else one
        for one in columns
    ]
    return marked, [replace(one, reason=one.reason + reason) if one.name in many else one for one in summaries]
