#!/usr/bin/env python3
"""Draws docs/images/convergence.png: how fast each scheduler converges, by calls of the model.

    tests/bench/convergence.py build/tests/bench/bench_schedulers [--picture FILE.png] [--table]

Run it with a Python that has matplotlib, after `make bench`. The program measures every scheduler
of the library. Which panel a scheduler is drawn in follows from what was measured (noise, order,
calls a step); only those of distilled models are named. --table prints the errors as well.
"""

import argparse
import io
import json
import math
import pathlib
import subprocess

import matplotlib
import PIL.Image

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PICTURE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "images" / "convergence.png"
KARRAS = ",use_karras_sigmas=true"
CALLS = (2, 200)
ERRORS = (1e-4, 2)
MARKERS = "osD^v<>Pp*hX"
DISTILLED = ("cm", "flow_lcm", "lcm", "scm", "tcd")
PANELS = (
    ("first", "First order"),
    ("twice", "Two and more calls a step"),
    ("past", "Over past outputs, spaced as the class does"),
    ("past karras", "Over past outputs, use_karras_sigmas=true"),
    ("noise", "With noise, spaced as the class does"),
    ("noise karras", "With noise, use_karras_sigmas=true"),
    ("flow", "Flow matching"),
    ("distilled", "With noise, for distilled models"),
)
MIXED = ("first", "twice", "distilled")  # panels with both spacings: Karras's dashed
DISTANCES = ("noise", "noise karras", "distilled")


def measure(program):
    """The program's JSON objects, one after the other."""
    text = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    decoder, results = json.JSONDecoder(), []
    while text:
        result, end = decoder.raw_decode(text)
        results.append(result)
        text = text[end:].lstrip()
    return results


def value(point):
    return point.get("error", point.get("distance"))


def order_of(result):
    """How steeply the error falls from 28 calls on."""
    late = [p for p in result["points"] if p["calls"] >= 28]
    first, last = late[0], late[-1]
    return math.log(value(first) / value(last)) / math.log(last["calls"] / first["calls"])


def panel_of(result):
    karras = " karras" if result["name"].endswith(KARRAS) else ""
    last = result["points"][-1]
    if result["name"].replace(KARRAS, "") in DISTILLED:
        return "distilled"
    if "distance" in last:
        return "noise" + karras
    if result["flow"]:
        return "flow" if not karras else None
    if last["calls"] > last["steps"] + 1:
        return "twice"
    return "first" if order_of(result) < 1.3 else "past" + karras


def at_calls(result, calls):
    """The best value with at most so many calls, to sort by."""
    values = [value(point) for point in result["points"] if point["calls"] <= calls]
    return min(values, default=float("inf"))


def label(panel, result):
    return result["name"].replace(KARRAS, ", karras" if panel in MIXED else "")


def draw_lines(axes, panel, results, style):
    for result in sorted(results, key=lambda r: at_calls(r, 30)):
        name = result["name"].replace(KARRAS, "")
        colour, marker = style[name]
        dashed = panel in MIXED and name != result["name"]
        axes.plot([p["calls"] for p in result["points"]], [value(p) for p in result["points"]],
                  color=colour, marker=marker, markersize=4, linewidth=1.3,
                  linestyle="--" if dashed else "-", label=label(panel, result))


def draw_orders(axes):
    """How errors fall that are proportional to a power of the step."""
    for order in (1, 2, 3):
        calls = [12, 160]
        axes.plot(calls, [2.2 * (3.2 / c) ** order for c in calls], color="0.6", linewidth=0.9,
                  linestyle=":")
        last = min(160, 3.2 * (2.2 / 1.6e-4) ** (1 / order))
        axes.annotate(f"order {order}", (last, 2.2 * (3.2 / last) ** order), color="0.4",
                      fontsize=8, ha="right", va="bottom")


def styles(results):
    """A colour and a marker for each name, other ones for those of a panel and its karras one."""
    colours, panels, style = plt.get_cmap("tab10").colors, {}, {}
    for result in results:
        name, panel = result["name"].replace(KARRAS, ""), panel_of(result)
        if panel and name not in style:
            i = panels[panel] = panels.get(panel, -1) + 1
            style[name] = (colours[i % len(colours)], MARKERS[i % len(MARKERS)])
    return style


def draw(results, path):
    exact = next(r["distance"] for r in results if "points" not in r)
    results = [r for r in results if r.get("points")]
    style = styles(results)
    figure, grid = plt.subplots(4, 2, figsize=(14, 19), layout="constrained")
    for axes, (panel, title) in zip(grid.flat, PANELS):
        draw_lines(axes, panel, [r for r in results if panel_of(r) == panel], style)
        what = "distance of the distributions" if panel in DISTANCES else "error of the sample"
        if panel in DISTANCES:
            axes.axhline(exact, color="0.4", linewidth=0.9, linestyle=":")
            axes.annotate("as many exact samples", (CALLS[0], exact), color="0.4", fontsize=8,
                          va="bottom")
        else:
            draw_orders(axes)
        axes.set(xscale="log", yscale="log", xlim=CALLS, xlabel="calls of the model", ylabel=what,
                 title=title, ylim=ERRORS if panel not in DISTANCES else (exact / 2, ERRORS[1]))
        ticks = (2, 3, 5, 10, 20, 30, 50, 100, 200)
        axes.set_xticks(ticks, labels=map(str, ticks))
        axes.set_xticks([], minor=True)
        axes.grid(True, which="major", color="0.9")
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False,
                    title="best within 30 calls first", title_fontsize=8)
    pixels = io.BytesIO()
    figure.savefig(pixels, dpi=90, format="png")
    PIL.Image.open(pixels).convert("RGB").quantize(128, dither=PIL.Image.Dither.NONE).save(
        path, optimize=True)


def print_table(results):
    for result in results:
        points = result.get("points", [])
        print(result["name"], *(f"{p['calls']}:{value(p):.2g}" for p in points))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--picture", type=pathlib.Path, default=PICTURE)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    results = measure(options.program)
    draw(results, options.picture)
    if options.table:
        print_table(results)


if __name__ == "__main__":
    main()
