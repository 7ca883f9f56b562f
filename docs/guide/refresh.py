"""Run every command of the guide and put what it printed below it.

    python docs/guide/refresh.py [CHAPTER.md ...]

Wants `tesla` on the path and a POSIX shell. Each chapter runs in an empty folder of its own, beside the data sets
of the repository (`datasets`), from top to bottom. A comment above a block says what to do with it:

    <!-- file: NAME -->       it is written to this file
    <!-- not run: WHY -->     it is left as it is
    <!-- exit: 1 -->          its commands end with this code instead of 0
    <!-- keep: 4 3 -->        of what each command prints, the first 4 and the last 3 lines are shown
    <!-- background: stop --> its one command, `tesla serve …`, goes on once it has printed a line that begins with `stop`;
                              it listens on a free port, which those below it ask in place of 8080, until the next
                              such block or the end of the chapter

`crates/tesla/tests/it/guide.rs` reads the same comments. `curl` and `python3` are wanted, too.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

GUIDE = Path(__file__).resolve().parent
DATASETS = Path(os.environ.get("DATASETS", GUIDE.parents[1] / "datasets"))

# What is shown is what the CPU does, without the note that there is no GPU, and of `curl` what was answered. The test
# has the same lines.
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
curl() { command curl -sS "$@"; }
"""
ADDRESS = "127.0.0.1:8080"


def main():
    chapters = [GUIDE / "src" / name for name in sys.argv[1:]] or sorted((GUIDE / "src").glob("*.md"))
    for chapter in chapters:
        refresh(chapter)


def refresh(chapter):
    lines = chapter.read_text().splitlines()
    out, notes, server = [], {}, None
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
                elif line == "```sh" and "background" in notes:
                    stop(server)
                    server, block = start(block, notes["background"], folder)
                elif line == "```sh" and "not run" not in notes:
                    block = run(block, notes, folder, f"{chapter.name}:{at}", server)
                out += block + ["```"]
                at, notes = end + 1, {}
            elif line:
                notes = {}
        stop(server)
    chapter.write_text("\n".join(out) + "\n")


def start(block, last, folder):
    """Start a server on a free port: it with its address, and what it printed up to its line that begins with `last`."""
    command = next(line[2:] for line in block if line.startswith("$ "))
    server = subprocess.Popen(
        [*command.split(), "--addr", "127.0.0.1:0", "--device", "flex"],
        cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    printed = []
    while not printed or not printed[-1].startswith(last):
        line = server.stdout.readline()
        if not line:
            sys.exit(f"`{command}` ended:\n" + "\n".join(printed))
        printed.append(line.rstrip())
    address = re.search(r"http://(127\.0\.0\.1:\d+)", "\n".join(printed))[1]
    return (server, address), [f"$ {command}", *(line.replace(address, ADDRESS) for line in printed)]


def stop(server):
    if server:
        server[0].terminate()
        server[0].wait()


def environment(folder):
    return os.environ | {"XDG_RUNTIME_DIR": folder}


def run(block, notes, folder, where, server):
    shown = []
    for command in (line[2:] for line in block if line.startswith("$ ")):
        asked = command.replace(ADDRESS, server[1]) if server else command
        done = subprocess.run(
            ["sh", "-c", f"{SHELL}\n{asked}"],
            cwd=folder, env=environment(folder), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        if done.returncode != int(notes.get("exit", 0)):
            print(f"{where}: `{command}` ended with {done.returncode}:\n{done.stdout}", file=sys.stderr)
        printed = [line.rstrip() for line in done.stdout.splitlines()]
        if server:
            printed = [line.replace(server[1], ADDRESS) for line in printed]
        if "keep" in notes:
            head, tail = map(int, notes["keep"].split())
            if len(printed) > head + tail + 1:
                printed = printed[:head] + ["..."] + printed[len(printed) - tail :]
        shown += [f"$ {command}"] + printed + [""]
    return shown[:-1]


main()
