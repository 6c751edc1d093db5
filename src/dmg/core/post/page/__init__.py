"""Pages that need nothing beside them: a template, a style and charts, filled with plain data."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def render_page(template: str, **content: Any) -> str:
    """Return a page as one text of HTML.

    Parameters
    ----------
    template
        File of this package.
    content
        What the template names. Text is escaped; ``data | embedded`` writes plain data into a script element.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("dmg.core.post", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["asset"] = lambda name: Markup((files(__name__) / name).read_text(encoding="utf-8"))
    # No text of the data can end the script element that they lie in.
    environment.filters["embedded"] = lambda data: Markup(
        json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    )
    return environment.get_template(template).render(content)
