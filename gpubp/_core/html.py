"""HTML pages that need no other file."""

import base64
import hashlib

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
{body}{script}</body>
</html>
"""


def self_contained_page(title: str, style: str, body: str, script: str = "") -> str:
    """Write a page that loads nothing from elsewhere, and runs no script but the given one.

    Parameters
    ----------
    title, body : str
        HTML, already escaped.
    style, script : str
        CSS and JavaScript.

    Examples
    --------
    >>> self_contained_page("a", "", "<p>b</p>", "let c;").count("sha256-")
    1
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
        script = f"<script>{script}</script>\n"
    return _PAGE.format(policy=policy, title=title, style=style, body=body, script=script)
