#!/usr/bin/env python3
"""Predictions for the four devices of the prima.cpp paper beside what it reports, as Markdown.

    tools/paper_plans.py [RONDO]

Published figures: arXiv 2504.08791 v2 and the README of prima.cpp, Q4_K, Wi-Fi. 45B and 60B models
of the paper are left out, as their shapes are not among those of `rondo synth`. Predictions: `rondo plan`, head d1 as in the paper, and d3 alone; a context of 1024,
a prompt of 8 tokens, batches of 32.
"""
import json
import subprocess
import sys
import tempfile

RONDO = sys.argv[1] if len(sys.argv) > 1 else "build/release/rondo"
# shape, llama.cpp on D3, exo, dllama, prima.cpp; milliseconds of a token and, behind the stroke, to
# the first one. Those of Qwen are without device selection.
PUBLISHED = [
    ("8b", "Llama 3 8B", "15 / 18", "263 / 960", "459 / 1845", 15, "15 / 18"),
    ("14b", "Qwen 2.5 14B", "23", "31710", "-", 65, "65"),
    ("30b", "Llama 1 30B", "202 / 611", "-", "-", 72, "72 / 214"),
    ("32b", "Qwen 2.5 32B", "224", "no memory", "-", 89, "89"),
    ("65b", "Llama 1 65B", "8807 / 9662", "-", "-", 569, "569 / 1770"),
    ("70b", "Llama 3 70B", "10120 / 10806", "no memory", "no memory", 674, "674 / 1793"),
    ("72b", "Qwen 2.5 72B", "12227", "no memory", "-", 867, "867"),
]
HOMES = {"ring": ["d2", "d3", "d4", "d1"], "d3": ["d3"]}


def plan(shape, home, *options):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump({"machines": [{"device": d} for d in HOMES[home]]}, f)
        f.flush()
        out = subprocess.run(
            [RONDO, "plan", f"like:{shape}:Q4_K_M", "--cluster", f.name, "--ctx", "1024",
             "--prompt", "8", "--batch", "32", "--objective", "latency", "--json", *options],
            check=True, capture_output=True, text=True).stdout
    return json.loads(out)["plan"]


def layers(p):
    return ", ".join(
        f"{n['name']} {n['layers']}" + (f" ({n['gpu_layers']} GPU)" if n["gpu_layers"] else "")
        for n in p["nodes"])


def times(p):
    return f"{p['tpot_ms']:.0f} / {p['ttft_ms']:.0f}"


def main():
    print("| model | llama.cpp on D3 | exo | dllama | prima.cpp | Rondo, D1-D4 | a token against "
          "prima.cpp | Rondo, D3 alone | layers, rounds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for shape, name, llama, exo, dllama, prima, both in PUBLISHED:
        ring, alone = plan(shape, "ring"), plan(shape, "d3")
        print(f"| {name} | {llama} | {exo} | {dllama} | {both} | {times(ring)} | "
              f"{ring['tpot_ms'] / prima - 1:+.0%} | {times(alone)} | {layers(ring)}; "
              f"{ring['rounds']} |")


main()
