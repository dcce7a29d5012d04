# SPDX-License-Identifier: Apache-2.0
"""Draws the chart of bench/peers.py as SVG, by hand: bars of throughput as a part of what the bare
relay reaches, and spans of latency from p50 to p99 on a logarithmic axis. It has no background, and
its colours follow the reader's, light or dark.
"""

import math
from dataclasses import dataclass
from html import escape

from figures import show

WIDTH = 860
LEFT = 330  # where the axes begin
RIGHT = 690  # and end; values stand behind
BAR = 9
ROW = 30
SPAN_ROW = 16
HEAD = 70

STYLE = """\
text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.note { font-size: 11px; fill: #59636e; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.line { stroke: #d1d9e0; }
.bourse { fill: #0969da; stroke: #0969da; }
.rabbitmq { fill: #d4702a; stroke: #d4702a; }
.relay { fill: #8c959f; stroke: #8c959f; }
text.bourse, text.rabbitmq, text.relay { stroke: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note { fill: #9198a1; }
  .line { stroke: #3d444d; }
  .bourse { fill: #4493f8; stroke: #4493f8; }
  .rabbitmq { fill: #f0883e; stroke: #f0883e; }
}
"""


@dataclass(frozen=True)
class Bar:
    """Messages per CPU second of one workload."""

    words: str
    bourse: float
    rabbitmq: float
    relay: float


@dataclass(frozen=True)
class Span:
    """Latency of one contestant, in microseconds."""

    words: str
    name: str
    p50: float
    p99: float


def text(x, y, words, classes=""):
    """Return one line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{classes}">{escape(words)}</text>'


def line(x1, y1, x2, y2, classes="line", width=1):
    """Return a straight line."""
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{classes}" '
            f'stroke-width="{width}"/>')


def rectangle(x, y, width, height, classes):
    """Return a filled bar; the smallest is still seen."""
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height}" '
            f'class="{classes}" stroke="none"/>')


def rate(value):
    """Return messages per second, short."""
    if value >= 1e6:
        return f"{value / 1e6:.3g} M"
    return f"{value / 1e3:.3g} k" if value >= 1e3 else f"{value:.0f}"


def draw_bars(bars, top):
    """Return the elements of the upper part, and where it ends."""
    bottom = top + ROW * len(bars)
    parts = [text(0, top - 34, "Messages per broker CPU second, as a part of a bare relay's",
                  "title")]
    for percent in (0, 25, 50, 75, 100):
        x = LEFT + (RIGHT - LEFT) * percent / 100
        parts += [line(x, top - 6, x, bottom), text(x, top - 12, f"{percent} %", "note middle")]
    parts.append(text(WIDTH, top - 12, "to RabbitMQ", "note end"))
    for i, bar in enumerate(bars):
        parts += draw_bar(bar, top + ROW * i)
    return parts, bottom


def draw_bar(bar, y):
    """Return one workload: two bars, what they stand for, and their ratio."""
    parts = [text(0, y + 14, bar.words)]
    for value, name, at in ((bar.bourse, "bourse", y), (bar.rabbitmq, "rabbitmq", y + BAR + 1)):
        width = (RIGHT - LEFT) * min(value / bar.relay, 1)
        parts += [rectangle(LEFT, at + 2, width, BAR, name),
                  text(LEFT + width + 5, at + BAR + 1, rate(value), "note")]
    parts.append(text(WIDTH, y + 14, f"{bar.bourse / bar.rabbitmq:.3g} x", "end"))
    return parts


def draw_spans(spans, top):
    """Return the elements of the lower part, and where it ends."""
    low = 10 ** math.floor(math.log10(min(span.p50 for span in spans)))
    high = 10 ** math.ceil(math.log10(max(max(span.p50, span.p99) for span in spans)) + 1e-9)
    steps = round(math.log10(high / low)) or 1
    bottom = top + SPAN_ROW * len(spans) + 4
    place = lambda us: LEFT + (RIGHT - LEFT) * math.log10(us / low) / steps
    parts = [text(0, top - 34, "Latency of 1 KiB at 5,000/s: from p50 to p99", "title")]
    for step in range(steps + 1):
        x = place(low * 10**step)
        parts += [line(x, top - 6, x, bottom),
                  text(x, top - 12, f"{low * 10**step / 1000:g} ms", "note middle")]
    for i, span in enumerate(spans):
        y = top + SPAN_ROW * i + 8
        name = span.name.lower()
        if i == 0 or spans[i - 1].words != span.words:
            parts.append(text(0, y + 4, span.words))
        parts += [line(place(span.p50), y, max(place(span.p99), place(span.p50) + 1), y, name, 7),
                  text(WIDTH, y + 4, f"{show(span.p50)} to {show(span.p99)} us", f"note end"),
                  text(LEFT - 8, y + 4, span.name, f"{name} end")]
    return parts, bottom


def draw_legend(y):
    """Return which colour is whose."""
    parts = []
    for x, name, words in ((0, "bourse", "Bourse"), (90, "rabbitmq", "RabbitMQ"),
                           (200, "relay", "the relay (100 %): no queue, no routing, no rights")):
        parts += [rectangle(x, y - 9, 10, 10, name), text(x + 15, y, words)]
    return parts


def draw(bars, spans, notes):
    """Return the whole chart; a part without figures is left out."""
    parts, y = draw_legend(14), 14
    if bars:
        drawn, y = draw_bars(bars, y + HEAD)
        parts += drawn
    if spans:
        drawn, y = draw_spans(spans, y + HEAD)
        parts += drawn
    for note in notes:
        y += 18
        parts.append(text(0, y + 6, note, "note"))
    height = y + 16
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 0 {WIDTH + 8} {height}" '
            f'width="{WIDTH}" role="img"><title>Bourse beside RabbitMQ and a bare relay</title>\n'
            f"<style>\n{STYLE}</style>\n" + "\n".join(parts) + "\n</svg>\n")
