"""Reports of studies: plain data, Markdown, and a self-contained HTML page."""

from gpubp.paper.report.files import DATA as DATA
from gpubp.paper.report.files import FILES as FILES
from gpubp.paper.report.files import as_json as as_json
from gpubp.paper.report.files import write_report as write_report
from gpubp.paper.report.markdown import markdown as markdown
from gpubp.paper.report.page import html_page as html_page
from gpubp.paper.report.pictures import pictures_of as pictures_of
from gpubp.paper.report.results import Results as Results
from gpubp.paper.report.results import StudyResults as StudyResults
from gpubp.paper.report.results import new_results as new_results
from gpubp.paper.report.results import study_results as study_results
