"""The equations explained step by step with all numbers of a small network, and a page that shows the steps."""

from gpubp.explain._page import html_page as html_page
from gpubp.explain._walk import Example as Example
from gpubp.explain._walk import Passage as Passage
from gpubp.explain._walk import Term as Term
from gpubp.explain._walk import explain as explain
from gpubp.explain._walk import rain_network as rain_network
