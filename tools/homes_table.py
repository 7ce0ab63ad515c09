#!/usr/bin/env python3
"""Rows of the table of homes in docs/BENCHMARKS.md, from what script/homelab run --json said.

    homes_table.py DISK DRAM CPU BEST.json [ONCE.json]

DISK and DRAM: bytes a second of this machine, of one program and one thread; CPU: the share of a
processor that each node has, or 0 where they differ. BEST is the run of the best plan, ONCE that
with one round, where the best has more or reads from disk.

The bound is what cannot be beaten by a ring whose nodes compute one after the other: all weights of
a token once through memory at the share of its rate that a node has, or all streamed bytes at the
rate of the disk, whichever takes longer.
"""
import json
import os
import sys


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def nodes_of(run):
    return run["head"].get("ring", {}).get("nodes", [])


def share(measured, planned):
    return f"{100 * (measured / planned - 1):+.0f} %" if planned else ""


def ms(x):
    return f"{x:.0f} ms" if x else ""


def main():
    disk, dram, cpu = (float(x) for x in sys.argv[1:4])
    best = load(sys.argv[4])
    once = load(sys.argv[5]) if len(sys.argv) > 5 else None
    nodes = nodes_of(best)
    streamed = sum(n["streamed_bytes"] for n in nodes)
    weights = sum(n["streamed_bytes"] + n["resident_bytes"] for n in nodes)
    bound = max(streamed / disk, weights / (dram * cpu)) * 1e3 if cpu and nodes else 0
    home = os.path.basename(best["home"]).removesuffix(".home")
    model = os.path.basename(best["model"]).removesuffix(".gguf")
    layers = " ".join(str(sum(b - a for a, b in n["windows"])) for n in nodes)
    rounds = best["head"].get("ring", {}).get("rounds", 1)
    peak = max(n["peak_bytes"] / n["memory_limit_bytes"] if n["memory_limit_bytes"] else 0
               for n in best["nodes"])
    kills = sum(n["oom_kills"] for n in best["nodes"])
    row = [home, model, layers or "the head alone", str(rounds),
           f"{streamed / 1e6:.0f} MB" if streamed else "", ms(best["planned_tpot_ms"]),
           ms(best["tpot_ms"]), share(best["tpot_ms"], best["planned_tpot_ms"]), ms(bound),
           ms(best["prompt_ms"]), f'{best["start_to_first_token_ms"] / 1e3:.1f} s',
           f"{100 * peak:.0f} %" if peak else "", str(kills)]
    gains = ["", ""]
    if once:
        gains = [ms(once["tpot_ms"])]
        told = "planned"
        if best["planned_tpot_ms"] and once["planned_tpot_ms"]:
            told += f' {once["planned_tpot_ms"] / best["planned_tpot_ms"]:.2f}'
        gains.append(f'{once["tpot_ms"] / best["tpot_ms"]:.2f} ({told})')
    print("| " + " | ".join(row + gains) + " |")


main()
