"""Pages for the browser from templates: no network, no foreign code, light and dark.

Jinja2 escapes whatever goes into a template. A content security policy lets a page run and style itself
with its own script and style alone, by their hashes, and load nothing.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from optimizers.results.render.escaping import plain


def to_html(markdown: str, title: str) -> str:
    """A report's Markdown as a whole page; tags in the Markdown are shown as text.

    Args:
        markdown: What the page says.
        title: Its title, any text.
    """
    return render("report.html", style="report.css", title=plain(title), body=Markup(_body(markdown)))


def render(template: str, *, style: str, script: str | None = None, **values: object) -> str:
    """A page from a template of this folder, with its style and script inside and its policy.

    Args:
        template: Name of the template.
        style: Name of its style sheet.
        script: Name of its script; None for a page that runs nothing.
        values: What else the template names; escaped, except what is ``Markup``.
    """
    rules, inside = ["default-src 'none'"], {}
    for name, file in (("style", style), ("script", script)):
        if file is not None:
            text = _file(file)
            rules.append(f"{name}-src {_hash(text)}")
            inside[name] = Markup(text)
    rules += ["base-uri 'none'", "form-action 'none'"]
    if script is not None:
        rules.append("require-trusted-types-for 'script'")
    policy = Markup("; ".join(rules))
    return _environment().get_template(template).render(policy=policy, **inside, **values)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_file), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )


def _file(name: str) -> str:
    return files("optimizers.results.render").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A text's hash as a source in a policy (W3C Content Security Policy Level 3, 2.3.1)."""
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


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
