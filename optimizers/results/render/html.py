"""A report's Markdown as one page for the browser: no network, no script, light and dark."""

from __future__ import annotations

import base64
import hashlib
import html
from importlib.resources import files

from markdown_it import MarkdownIt

from optimizers.results.render.markdown import plain


def to_html(markdown: str, title: str) -> str:
    """A whole HTML page.

    Tags in the Markdown are shown as text, and a content security policy lets the page load
    nothing and run nothing; its one style is allowed by its hash.

    Args:
        markdown: What the page says.
        title: Its title, any text.
    """
    style = files("optimizers.results.render").joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{html.escape(plain(title))}</title>
<style>{style}</style>
</head>
<body>
<main>
{_body(markdown)}</main>
</body>
</html>
"""


def _body(markdown: str) -> str:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        # The policy forbids styles of single elements.
        if token.attrs.pop("style", None):
            token.attrs["class"] = "number"
    body: str = parser.renderer.render(tokens, parser.options, {})
    # No tag is from the data, so each of these is a table of ours: wide ones scroll by themselves.
    body = body.replace("<table>", '<div class="wide" tabindex="0"><table>')
    return body.replace("</table>", "</table></div>")
