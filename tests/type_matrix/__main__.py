"""Write the table of types into docs/types.md: ``python -m tests.type_matrix``."""

from pathlib import Path

from tests.type_matrix.table import PAGE, replaced, table

page = Path(__file__).parents[2].joinpath(*PAGE)
page.write_text(replaced(page.read_text(encoding="utf-8"), table()), encoding="utf-8")
