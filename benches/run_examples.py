"""Runs the four use cases of `examples/` and writes docs/examples.md: what each prints, and how long it took.

    cargo build --release --workspace --bin tesla --examples
    python3 benches/run_examples.py target/release/examples                # on the small sets that ship
    python3 benches/run_examples.py target/release/examples --data DIR     # and on the full ones, as far as DIR has them

DIR is what `tesla datasets get NAME --out DIR` has written to. What was measured is kept in `benches/examples.json`, so that
the small and the full sets can be run at different times. A small set that takes a minute or more ends the script with 1.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
KEPT = HERE / "examples.json"
PAGE = HERE.parent / "docs" / "examples.md"
# Name: what it does, and the sets that `--data` wants.
EXAMPLES = {
    "image_classification": ("Pictures, and the worst mistakes among them", ["fashion-mnist"]),
    "text_classification": ("Spam, and what the user of an assistant wants", ["sms-spam", "clinc150"]),
    "recommendation": ("Which film next, and why", ["movielens-100k"]),
    "predictive_maintenance": ("Remaining life, and alarms at the lowest cost", ["cmapss", "ai4i2020"]),
}
LIMIT = 60

HEAD = """# What the examples print

Written by `benches/run_examples.py`; do not edit. Each of the four use cases in [examples](../examples) trains a model on raw
data, judges it, saves it, opens the file again, serves it over HTTP and asks it. Here is what each prints, on the small set that
ships with TESLA and on the full one, and the seconds that the whole program took. Long requests and answers are shown without
their middle.

```console
$ cargo build --release --workspace --bin tesla --examples
$ python3 benches/run_examples.py target/release/examples --data DIR
```
"""


def run(program, data):
    """What it printed, and its seconds. It writes to a folder that is then removed."""
    with tempfile.TemporaryDirectory() as folder:
        command = [program, *(["--data", data] if data else [])]
        start = time.monotonic()
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, env=os.environ | {"XDG_RUNTIME_DIR": folder}
        )
        seconds = time.monotonic() - start
    if done.returncode:
        sys.exit(f"{program.name} failed: {done.stderr.strip()}")
    return done.stdout.rstrip().splitlines(), seconds


def machine():
    memory = ""
    if pathlib.Path("/proc/meminfo").exists():
        memory = f", {int(pathlib.Path('/proc/meminfo').read_text().split()[1]) / 2**20:.0f} GiB"
    return f"{platform.machine()}, {os.cpu_count()} cores{memory}, {platform.system()}, no GPU used"


def block(name, kind, kept):
    found = kept.get(f"{name}/{kind}")
    command = f"cargo run --release --example {name}" + (" -- --data DIR" if kind == "full" else "")
    if not found:
        return [f"`{command}` was not run here.", ""]
    seconds = f"{found['seconds']:.1f} s" if found["seconds"] < 10 else f"{found['seconds']:.0f} s"
    about = f"{seconds}, {found['date']}, {found['machine']}."
    return ["```console", f"$ {command}", *found["lines"], "```", "", about, ""]


def page(kept):
    out = [HEAD]
    for name, (title, sets) in EXAMPLES.items():
        out += [f"## {title}", "", f"[examples/{name}.rs](../examples/{name}.rs), on the small set:", ""]
        out += block(name, "small", kept)
        out += [f"On the full set ({', '.join(f'`{one}`' for one in sets)}):", ""]
        out += block(name, "full", kept)
    PAGE.write_text("\n".join(out).rstrip() + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", type=pathlib.Path, help="the folder of the built examples")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXAMPLES))
    parser.add_argument("--data", type=pathlib.Path, help="a folder with the full data sets")
    parser.add_argument("--full-only", action="store_true", help="leave out the small sets")
    args = parser.parse_args()
    if args.full_only and not args.data:
        parser.error("`--full-only` runs the full sets: say where they are with `--data DIR`")
    unknown = [name for name in args.names if name not in EXAMPLES]
    if unknown:
        parser.error(f"`{unknown[0]}` is no use case: expected {', '.join(EXAMPLES)}")
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    slow = []
    for name in args.names or EXAMPLES:
        program = (args.programs / name).resolve()
        if not program.exists():
            sys.exit(f"`{program.name}` is not in `{args.programs}`: run `cargo build --release --examples` first")
        sets = EXAMPLES[name][1]
        absent = [one for one in sets if args.data and not (args.data / one).exists()]
        for kind, data in (("small", None), ("full", args.data)):
            if (kind == "small" and args.full_only) or (kind == "full" and not data):
                continue
            if kind == "full" and absent:
                print(f"{name}, full: left out, `{absent[0]}` is not in `{data}`: `tesla datasets get {absent[0]} --out {data}`")
                continue
            lines, seconds = run(program, data and data.resolve())
            if kind == "small" and seconds >= LIMIT:
                slow.append(name)
            print(f"{name}, {kind}: {seconds:.1f} s, {lines[-1]}", flush=True)
            found = {"lines": lines, "seconds": seconds, "date": time.strftime("%Y-%m-%d"), "machine": machine()}
            kept[f"{name}/{kind}"] = found
            KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    page(kept)
    print(f"{PAGE.relative_to(HERE.parent)} is written")
    if slow:
        sys.exit(f"a small set should take less than {LIMIT} s: {', '.join(slow)} took more")


if __name__ == "__main__":
    main()
