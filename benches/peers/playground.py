"""The playground in a real browser: fills the form of a table's model, uploads a picture, and sees the classes.

    python3 -m venv venv && venv/bin/pip install websockets
    venv/bin/python benches/peers/playground.py TABLE.tesla DIGITS.tesla DIGITS-FOLDER [--lists RATINGS.tesla] [--out DIR]

DIGITS-FOLDER holds `digits-images-idx3-ubyte` and its labels. Writes a screenshot of every step, light, dark
and as wide as a telephone. Chromium is driven over its debugging port; where it is absent nothing is done.
"""

import argparse
import base64
import itertools
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PORT, DEBUG = 8197, 8198


def wait(url):
    for _ in range(600):
        try:
            return urllib.request.urlopen(url).read()
        except OSError:
            time.sleep(0.05)
    sys.exit("nobody answers at " + url)


class Page:
    def __init__(self, url):
        from websockets.sync.client import connect
        about = json.loads(urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{DEBUG}/json/new?{url}", method="PUT")).read())
        self.opened = connect(about["webSocketDebuggerUrl"], max_size=None)
        self.socket = self.opened.__enter__()
        self.ids, self.said = itertools.count(1), []
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(domain + ".enable")

    def call(self, method, **params):
        number = next(self.ids)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv(timeout=30))
            if message.get("id") == number:
                if "error" in message:
                    sys.exit(f"{method}: {message['error']}")
                return message["result"]
            if message.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.said.append(message["params"])

    def run(self, script):
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            sys.exit(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, script):
        for _ in range(200):
            if value := self.run(script):
                return value
            time.sleep(0.05)
        sys.exit(f"never: {script}; the page says {self.run('document.body.innerText')!r}")

    def upload(self, path):
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        self.call("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def drop(self, path):
        """Lets a file fall on the page, as from a folder."""
        place = self.run("(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('#drop').getBoundingClientRect())")
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=place[0], y=place[1], data=data)

    def shots(self, folder, name):
        for look, (width, height, phone), scheme in [
            ("light", (1100, 800, False), "light"), ("dark", (1100, 800, False), "dark"), ("narrow", (390, 844, True), "light"),
        ]:
            self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
            wide = self.run("document.documentElement.scrollWidth")
            if wide > width:
                sys.exit(f"{name}, {look}: the page is {wide} pixels wide in a window of {width}")
            shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
            (folder / f"{name}-{look}.png").write_bytes(base64.b64decode(shot["data"]))
        self.call("Emulation.setDeviceMetricsOverride", width=1100, height=800, deviceScaleFactor=1, mobile=False)


def digit(folder, at, path):
    """The picture of a digit as a PNG file, and its label."""
    images = (folder / "digits-images-idx3-ubyte").read_bytes()
    labels = (folder / "digits-labels-idx1-ubyte").read_bytes()
    height, width = struct.unpack_from(">II", images, 8)
    pixels = images[16 + at * height * width:][:height * width]
    rows = b"".join(b"\0" + pixels[y * width:][:width] for y in range(height))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return str(labels[8 + at])


def choose(page, name):
    page.run(f"""{{ const s = document.querySelector("#model"); s.value = [...s.options].find(o => o.text === "{name}").value;
             s.dispatchEvent(new Event("change")); }}""")


BEST = 'document.querySelector("#answer:not([hidden]) .best")?.textContent'


def drive(args, folder):
    out = args.out or folder
    out.mkdir(parents=True, exist_ok=True)
    page = Page(f"http://127.0.0.1:{PORT}/")
    page.until('document.querySelector("#model").options.length > 1')
    choose(page, "table")
    page.shots(out, "form")
    page.run('document.querySelector("#form button").click()')
    first = page.until(BEST)
    # Another value, typed, another answer from the server.
    page.run("""{ const all = [...document.querySelectorAll("#fields input[type=number]")];
             for (const input of all) input.value = ""; document.querySelector("#form button").click(); }""")
    page.until('document.querySelector("#command").textContent.includes("null")')
    page.until(BEST)
    page.shots(out, "missing")
    # A value as a person types it, into the first field for a number.
    page.run("""{ const s = document.querySelector("#model"); s.dispatchEvent(new Event("change"));
             const field = document.querySelector("#fields input[type=number]"); field.focus(); field.select(); }""")
    page.call("Input.insertText", text="37")
    page.run('document.querySelector("#form button").click()')
    page.until('document.querySelector("#command").textContent.includes("37")')
    print("typed:", page.until(BEST))
    page.run(f"""{{ const s = document.querySelector("#model"); s.dispatchEvent(new Event("change")); document.querySelector("#form button").click(); }}""")
    page.until('document.querySelectorAll("#why .bar").length > 1')
    page.shots(out, "table")
    print("table:", first)
    for at in (3, 14, 159):
        choose(page, "digits")
        picture = folder / "digit.png"
        label = digit(args.folder, at, picture)
        page.upload(picture)
        if (found := page.until(BEST)) != label:
            sys.exit(f"picture {at} is a {label}, and the page says {found}")
        page.until('!!(document.querySelector("#seen canvas") && document.querySelector("#why p"))')
        print("picture of a", label, "is a", found)
    page.shots(out, "picture")
    if args.lists:
        choose(page, "ratings")
        page.run('document.querySelector("#lists").click()')
        page.until('document.querySelectorAll("#answer table tr").length == 11')
        page.shots(out, "lists")
    # A table of two rows, made from the form's own columns.
    choose(page, "table")
    row = page.run("JSON.stringify(models[document.querySelector('#model').value].row.properties)")
    columns = {name: (about.get("examples") or [""])[0] for name, about in json.loads(row).items()}
    table = folder / "table.csv"
    line = ",".join(f'"{value}"' if isinstance(value, str) else str(value) for value in columns.values())
    table.write_text(",".join(f'"{name}"' for name in columns) + f"\n{line}\n{line}\n")
    page.drop(table)
    page.until('document.querySelectorAll("#answer table tr").length == 3')
    print("dropped:", page.run('document.querySelector("#answer table tr:nth-child(2)").innerText'))
    page.shots(out, "rows")
    # A file that is no table is refused with a sentence.
    bad = folder / "bad.csv"
    bad.write_text("a,b\n1,2\n")
    page.upload(bad)
    print("refused:", page.until('document.querySelector("#answer .error")?.textContent'))
    page.shots(out, "refused")
    # The refusal is expected; advice of the browser is no error.
    is_error = lambda entry: entry.get("entry", {}).get("level") != "verbose" and "400 (Bad Request)" not in json.dumps(entry)
    said = list(filter(is_error, page.said))
    if said:
        sys.exit(f"the console says {said}")
    print("screenshots in", out)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("digits")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--lists")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--tesla", default=ROOT / "target/release/tesla")
    args = parser.parse_args()
    browser = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    if not browser:
        return print("skipped: no Chromium on this machine")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        folder = pathlib.Path(home)
        (folder / "models").mkdir()
        named = {"table": args.table, "digits": args.digits, **({"ratings": args.lists} if args.lists else {})}
        for name, path in named.items():
            shutil.copy(path, folder / "models" / f"{name}.tesla")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        started = [
            subprocess.Popen([args.tesla, "serve", folder / "models", "--device", "flex", "--addr", f"127.0.0.1:{PORT}"], **quiet),
            subprocess.Popen([browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--remote-debugging-port={DEBUG}",
                              "--remote-allow-origins=*", f"--user-data-dir={folder / 'profile'}", "about:blank"], **quiet),
        ]
        try:
            wait(f"http://127.0.0.1:{PORT}/v2/health/ready")
            wait(f"http://127.0.0.1:{DEBUG}/json/version")
            drive(args, folder)
        finally:
            for process in started:
                process.terminate()
                process.wait()


main()
