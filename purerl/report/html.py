"""The little HTML that a report needs: one file, no script, pictures within it."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #2b2d42; background: #f4f6f8; margin: 0; }
main { max-width: 1040px; margin: 0 auto; padding: 2rem 1.5rem 4rem; }
h1 { font-size: 1.9rem; margin: 0 0 .1rem; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .8rem; border-bottom: 2px solid #30638e; padding-bottom: .2rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 .5rem; }
p.lead, figcaption { color: #66748a; }
figure { margin: 0 0 1rem; background: #fff; border-radius: 8px; padding: 1rem; }
figure img { max-width: 100%; display: block; margin: 0 auto; }
figcaption { font-size: .85rem; margin-top: .5rem; }
.table { overflow-x: auto; background: #fff; border-radius: 8px; padding: .5rem 1rem; margin-bottom: 1rem; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th { text-align: left; color: #66748a; font-weight: 600; white-space: nowrap; }
th, td { padding: .35rem .9rem .35rem 0; vertical-align: top; }
tr + tr td { border-top: 1px solid #e8ebf0; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.warning { color: #d1495b; }
.films { display: flex; flex-wrap: wrap; gap: 1rem; }
.films figure { margin: 0; }
.films img { max-height: 320px; }
"""


_WARNING = "\0"


def warning(text: str) -> str:
    """The text of a cell that is set as a warning."""
    return _WARNING + text


def document(title: str, lead: str, sections: Sequence[str]) -> str:
    """A whole page."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>"
        f'{element("h1", title)}<p class="lead">{escape(lead)}</p>{"".join(sections)}</main></body></html>\n'
    )


def element(tag: str, text: str) -> str:
    """Text within a tag."""
    return f"<{tag}>{escape(text)}</{tag}>"


def picture(file: Path, name: str, caption: str) -> str:
    """A PNG, embedded."""
    return _figure(file.read_bytes(), "png", name, caption)


def film(content: bytes, caption: str) -> str:
    """A GIF, embedded."""
    return _figure(content, "gif", caption, caption)


def _figure(picture: bytes, kind: str, name: str, caption: str) -> str:
    content = base64.b64encode(picture).decode()
    return (
        f'<figure><img alt="{escape(name)}" src="data:image/{kind};base64,{content}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], num_texts: int = 1) -> str:
    """A table.

    Args:
        header: names of the columns.
        rows: cells; what `warning` returns is set as one.
        num_texts: columns, from the left, that are words; the others are numbers, set to the right.
    """
    kind = lambda column: "" if column < num_texts else ' class="number"'  # noqa: E731
    head = "".join(f"<th{kind(column)}>{escape(name)}</th>" for column, name in enumerate(header))
    body = "".join(
        "<tr>" + "".join(_cell(text, kind(column)) for column, text in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="table"><table><tr>{head}</tr>{body}</table></div>'


def _cell(text: str, kind: str) -> str:
    if text.startswith(_WARNING):
        return f'<td class="warning">{escape(text[1:])}</td>'
    return f"<td{kind}>{escape(text)}</td>"
