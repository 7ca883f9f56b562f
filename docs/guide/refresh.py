"""Run every command of the guide and put what it printed below it.

    python docs/guide/refresh.py [CHAPTER.md ...]

Wants `tesla` on the path and a POSIX shell. Each chapter runs in an empty folder of its own, beside the data sets
of the repository (`datasets`), from top to bottom. A comment above a block says what to do with it:

    <!-- file: NAME -->       it is written to this file
    <!-- not run: WHY -->     it is left as it is
    <!-- exit: 1 -->          its commands end with this code instead of 0
    <!-- keep: 4 3 -->        of what each command prints, the first 4 and the last 3 lines are shown

`crates/tesla/tests/it/guide.rs` reads the same comments.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

GUIDE = Path(__file__).resolve().parent
DATASETS = Path(os.environ.get("DATASETS", GUIDE.parents[1] / "datasets"))

# What is shown is what the CPU does, without the note that there is no GPU. The test has the same lines.
SHELL = """
tesla() {
  case "$1" in
    train | evaluate | compare | predict | explain | serve)
      case " $* " in
        *" --device "* | *" --resume "* | *" --help "*) command tesla "$@" ;;
        *) command tesla "$@" --device flex ;;
      esac ;;
    *) command tesla "$@" ;;
  esac
}
"""


def main():
    chapters = [GUIDE / "src" / name for name in sys.argv[1:]] or sorted((GUIDE / "src").glob("*.md"))
    for chapter in chapters:
        refresh(chapter)


def refresh(chapter):
    lines = chapter.read_text().splitlines()
    out, notes = [], {}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "datasets").symlink_to(DATASETS)
        at = 0
        while at < len(lines):
            line = lines[at]
            out.append(line)
            at += 1
            note = re.fullmatch(r"<!-- ([a-z ]+): (.*) -->", line)
            if note:
                notes[note[1]] = note[2]
            elif line.startswith("```"):
                end = at + lines[at:].index("```")
                block = lines[at:end]
                if "file" in notes:
                    (Path(folder) / notes["file"]).write_text("\n".join(block) + "\n")
                elif line == "```sh" and "not run" not in notes:
                    block = run(block, notes, folder, f"{chapter.name}:{at}")
                out += block + ["```"]
                at, notes = end + 1, {}
            elif line:
                notes = {}
    chapter.write_text("\n".join(out) + "\n")


def run(block, notes, folder, where):
    shown = []
    for command in (line[2:] for line in block if line.startswith("$ ")):
        env = os.environ | {"XDG_RUNTIME_DIR": folder}
        done = subprocess.run(
            ["sh", "-c", f"{SHELL}\n{command}"],
            cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        if done.returncode != int(notes.get("exit", 0)):
            print(f"{where}: `{command}` ended with {done.returncode}:\n{done.stdout}", file=sys.stderr)
        printed = [line.rstrip() for line in done.stdout.splitlines()]
        if "keep" in notes:
            head, tail = map(int, notes["keep"].split())
            if len(printed) > head + tail + 1:
                printed = printed[:head] + ["..."] + printed[len(printed) - tail :]
        shown += [f"$ {command}"] + printed + [""]
    return shown[:-1]


main()
