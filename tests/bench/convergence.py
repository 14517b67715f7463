#!/usr/bin/env python3
"""Draws docs/images/convergence.png: how fast each scheduler converges, by calls of the model.

    tests/bench/convergence.py build/tests/bench/bench_schedulers [--picture FILE.png] [--table]

Run it with a Python that has matplotlib, after `make bench`. The program measures every scheduler
of the library. A panel takes those that draw noise, or are of flow matching, or are neither: a new
scheduler needs no line here. --table prints the errors as well.
"""

import argparse
import io
import json
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
PANELS = (
    ("ode", "Without noise, spaced as the class does", "error of the sample"),
    ("karras", "Without noise, use_karras_sigmas=true", "error of the sample"),
    ("flow", "Flow matching, without noise", "error of the sample"),
    ("noise", "With noise drawn in the steps", "distance of the distributions"),
)


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


def panel_of(result):
    if any("distance" in point for point in result["points"]):
        return "noise"
    if result["flow"]:
        return "flow" if not result["name"].endswith(KARRAS) else None
    return "karras" if result["name"].endswith(KARRAS) else "ode"


def at_calls(result, calls):
    """The best value with at most so many calls, to sort by."""
    values = [value(point) for point in result["points"] if point["calls"] <= calls]
    return min(values, default=float("inf"))


def label(panel, result):
    name = result["name"]
    return name.replace(KARRAS, "") if panel == "karras" else name.replace(KARRAS, ", karras")


def draw_lines(axes, panel, results, style):
    for result in sorted(results, key=lambda r: at_calls(r, 30)):
        name = result["name"].replace(KARRAS, "")
        colour, marker = style[name]
        dashed = panel == "noise" and name != result["name"]
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


def draw(results, path):
    exact = next(r["distance"] for r in results if "points" not in r)
    results = [r for r in results if r.get("points")]
    names = list(dict.fromkeys(r["name"].replace(KARRAS, "") for r in results))
    colours = plt.get_cmap("tab20").colors
    order = [*range(0, 20, 2), *range(1, 20, 2)]
    style = {name: (colours[order[i % 20]], MARKERS[i % len(MARKERS)])
             for i, name in enumerate(names)}
    figure, grid = plt.subplots(2, 2, figsize=(15, 11), layout="constrained")
    for axes, (panel, title, what) in zip(grid.flat, PANELS):
        draw_lines(axes, panel, [r for r in results if panel_of(r) == panel], style)
        if panel == "noise":
            axes.axhline(exact, color="0.4", linewidth=0.9, linestyle=":")
            axes.annotate("as many exact samples", (CALLS[0], exact), color="0.4", fontsize=8,
                          va="bottom")
        else:
            draw_orders(axes)
        axes.set(xscale="log", yscale="log", xlim=CALLS, xlabel="calls of the model", ylabel=what,
                 title=title, ylim=ERRORS if panel != "noise" else (exact / 2, ERRORS[1]))
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
