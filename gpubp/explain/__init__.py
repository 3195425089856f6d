"""The equations walked through with every number on the way, and a page that shows the walk."""

from gpubp.explain.page import html_page as html_page
from gpubp.explain.walk import Example as Example
from gpubp.explain.walk import Passage as Passage
from gpubp.explain.walk import Term as Term
from gpubp.explain.walk import explain as explain
from gpubp.explain.walk import rain_network as rain_network
