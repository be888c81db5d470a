"""Pages from templates: every text that people or models wrote is escaped, and nothing else comes through."""

import re
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

_BLOCK = re.compile(r"^(```|~~~)[\s\S]*?^\1[^\n]*$|^\|.*(?:\n\|.*)*", re.M)
"""Code between two fences; lines of a table."""


@dataclass(frozen=True)
class Part:
    """A part of a text: `fixed` is code or a table, shown in letters of one width."""

    text: str
    fixed: bool


def parts(text: str) -> list[Part]:
    """A text as running text and as blocks of code and of tables; nothing of it is interpreted."""
    found, end = [], 0
    for block in _BLOCK.finditer(text):
        found += [Part(text[end : block.start()].strip("\n"), fixed=False), Part(block[0], fixed=True)]
        end = block.end()
    found.append(Part(text[end:].strip("\n"), fixed=False))
    return [part for part in found if part.text.strip()]


ENVIRONMENT = Environment(
    loader=PackageLoader("srlm", "web/pages"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters["parts"] = parts


def page(name: str, /, status: int = 200, **shown: Any) -> HTMLResponse:
    """The page of a template in web/pages, such as ``ballot``."""
    return HTMLResponse(ENVIRONMENT.get_template(f"{name}.html.jinja").render(**shown), status)
