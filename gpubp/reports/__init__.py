"""A trained model, or several side by side, as one HTML page to keep and send: no script, and nothing is loaded."""

from gpubp.reports._facts import GRID as GRID
from gpubp.reports._facts import MAX_DEPENDENCE_ROWS as MAX_DEPENDENCE_ROWS
from gpubp.reports._facts import MAX_DEPENDENCES as MAX_DEPENDENCES
from gpubp.reports._facts import Confusion as Confusion
from gpubp.reports._facts import Curves as Curves
from gpubp.reports._facts import HeldOutFindings as HeldOutFindings
from gpubp.reports._facts import ModelReport as ModelReport
from gpubp.reports._facts import Residuals as Residuals
from gpubp.reports._facts import ShownColumn as ShownColumn
from gpubp.reports._facts import code_of as code_of
from gpubp.reports._facts import versions as versions
from gpubp.reports._page import report_page as report_page
