"""Train and score a network on a table, and predict new tables."""

from gpubp.data.preprocessing import Task
from gpubp.tabular.candidates import CANDIDATES, Candidate, TableTrial
from gpubp.tabular.fit import fit_table, make_optimizer
from gpubp.tabular.networks import network_for
from gpubp.tabular.predict import decode_outputs, network_outputs, predict_table
from gpubp.tabular.prepare import as_table, prepare_table
from gpubp.tabular.prepared_table import PreparedTable
from gpubp.tabular.recipes import REALMLP, REALMLP_S, TABM, TableRecipe
from gpubp.tabular.result import TableFit
from gpubp.tabular.search import search_table

__all__ = [
    "CANDIDATES",
    "REALMLP",
    "REALMLP_S",
    "TABM",
    "Candidate",
    "PreparedTable",
    "TableFit",
    "TableRecipe",
    "TableTrial",
    "Task",
    "as_table",
    "decode_outputs",
    "fit_table",
    "make_optimizer",
    "network_for",
    "network_outputs",
    "predict_table",
    "prepare_table",
    "search_table",
]
