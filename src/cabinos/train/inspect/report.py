"""A page that stands by itself: pictures inside it, text escaped, nothing loaded, nothing run."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from cabinos.train.inspect.ablation import Neuron
from cabinos.train.inspect.views import Reading

__all__ = ["Picture", "page"]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em;
  color: #222; background: #fff; }}
img {{ max-width: 100%; }} table {{ border-collapse: collapse; margin: 1em 0; }}
th, td {{ text-align: left; padding: .15em .8em; border-bottom: 1px solid #ddd; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
code {{ background: #f2f2f2; white-space: pre-wrap; }} figure {{ margin: 1.5em 0; }}
</style></head><body>
<h1>{title}</h1>
{body}
</body></html>
"""


@dataclass(frozen=True)
class Picture:
    """A PNG, and what it shows."""

    name: str  # of its file, without ending
    png: bytes
    caption: str


def page(
    title: str,
    pictures: Sequence[Picture],
    reading: Reading | None = None,
    neurons: Sequence[Neuron] = (),
) -> str:
    """The report."""
    parts = [_tokens(reading)] if reading else []
    parts += map(_figure, pictures)
    if neurons:
        parts.append(_neurons(neurons))
    return PAGE.format(title=escape(title), body="\n".join(parts))


def _figure(picture: Picture) -> str:
    data, caption = b64encode(picture.png).decode(), escape(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _tokens(reading: Reading) -> str:
    rows = [
        f'<tr><td><code>{shown(step.word)}</code></td><td class="n">{step.bits:.2f}</td>'
        f'<td class="n">{step.rank + 1}</td><td>{_guesses(step.guesses)}</td></tr>'
        for step in reading.steps
    ]
    head = "<tr><th>token</th><th>bits</th><th>rank</th><th>the model's guesses</th></tr>"
    after = f"<p>After it: {_guesses(reading.next)}</p>"
    return f"<table>{head}{''.join(rows)}</table>{after}"


def _guesses(guesses: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"<code>{shown(word)}</code> {share:.0%}" for word, share in guesses)


def _neurons(neurons: Sequence[Neuron]) -> str:
    head = (
        "<tr><th>layer</th><th>neuron</th><th>bits a token more without it</th><th>fires most at"
        "</th><th>raises</th></tr>"
    )
    rows = [
        f'<tr><td class="n">{n.layer}</td><td class="n">{n.index}</td>'
        f'<td class="n">{n.effect:+.4f}</td><td><code>{shown(n.where)}</code> ({n.peak:.1f})</td>'
        f"<td>{', '.join(f'<code>{shown(word)}</code>' for word in n.promotes)}</td></tr>"
        for n in neurons
    ]
    return f"<h2>Neurons</h2><table>{head}{''.join(rows)}</table>"


def shown(word: str) -> str:
    """A token's text, visible and escaped."""
    visible = "".join(c if c.isprintable() else "·" for c in word.replace("\n", "⏎"))
    return escape(visible.replace(" ", "␣"))
