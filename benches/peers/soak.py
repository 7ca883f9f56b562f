"""Minutes of mixed load on `tesla serve` while its models change every few seconds.

    python3 -m venv venv && venv/bin/pip install schemathesis 'tritonclient[grpc]'
    venv/bin/python benches/peers/soak.py A.tesla B.tesla ROWS.jsonl [--minutes 20] [--tesla PROGRAM]

A and B are two models of the same columns, ROWS.jsonl holds some rows of them (100, say). First,
schemathesis sends what the OpenAPI document does and does not allow. Then, all at the same time:

- clients of the four doors (rows, CSV, tensors as JSON and as bytes, gRPC) compare every answer with what
  `tesla predict` says of the same rows by the very version that answered;
- `hey`, where it is installed, adds requests that must all be answered;
- files are swapped and rewritten, versions come and go, some of them broken, and clients load, unload and
  roll back;
- other clients vanish in the middle of a request, or send bodies that are nearly right.

It fails where a good request is refused, dropped or answered wrongly, where a bad one gets a 5xx, or where
memory grows by 5 % or more after the first fifth of the time. What is not installed is skipped with a word.
"""

import argparse
import collections
import http.client
import json
import os
import pathlib
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
counts = collections.Counter()
problems = []
lock = threading.Lock()
ended = threading.Event()


def problem(text):
    with lock:
        problems.append(text)
        if len(problems) <= 20:
            print("PROBLEM:", text, flush=True)


def count(what):
    with lock:
        counts[what] += 1


class Model:
    """What a model file says of the rows."""

    def __init__(self, program, path, rows):
        self.bytes = pathlib.Path(path).read_bytes()
        command = [program, "predict", path, rows, "--device", "flex", "--format", "jsonl"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        self.says = []
        for line in done.stdout.splitlines():
            row = json.loads(line)
            each = {key.removeprefix("probability_"): p for key, p in row.items() if key.startswith("probability_")}
            self.says.append((row["prediction"], each))


class World:
    def __init__(self, args, folder):
        self.models = [Model(args.tesla, path, args.rows) for path in (args.a, args.b)]
        self.rows = [json.loads(line) for line in pathlib.Path(args.rows).read_text().splitlines()]
        self.folder, self.port = folder, args.port
        self.known = {}
        self.columns = list(self.rows[0])

    def model_of(self, name, version):
        """Which of the two a version is: odd numbers are A, whether files or folders gave them."""
        return self.models[0 if int(version) % 2 else 1]

    def check(self, name, version, picked, labels, probabilities, way):
        own = self.model_of(name, version)
        wanted = [own.says[i] for i in picked]
        if labels != [label for label, _ in wanted]:
            problem(f"{way}: {name} version {version} answers rows {picked} with {labels}")
        elif probabilities != [list(each.values()) for _, each in wanted]:
            problem(f"{way}: {name} version {version} gives rows {picked} the probabilities {probabilities}")
        count(f"{way} answered")


def write(path, data):
    """A file that appears whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.parent / ".part"
    part.write_bytes(data)
    part.rename(path)


class Connection:
    """A connection that is kept, and opened again when the server closed it between two requests."""

    def __init__(self, world):
        self.world, self.open = world, None

    def post(self, path, body, headers=None):
        self.open = self.open or http.client.HTTPConnection("127.0.0.1", self.world.port, timeout=60)
        try:
            self.open.request("POST", path, body, headers or {})
            answer = self.open.getresponse()
            data = answer.read()
        except BaseException:
            self.close()
            raise
        if answer.will_close:
            self.close()
        return answer, data

    def close(self):
        if self.open:
            self.open.close()
        self.open = None


def tensors(world, picked, binary):
    """The rows as the Open Inference Protocol has them: the length of the JSON, or None, and the body."""
    inputs, raw = [], b""
    for name in world.columns:
        values = [world.rows[i][name] for i in picked]
        is_text = any(isinstance(value, str) for value in values)
        tensor = {"name": name, "shape": [len(picked)], "datatype": "BYTES" if is_text else "FP64"}
        if binary and None not in values:
            own = b"".join(struct.pack("<I", len(v.encode())) + v.encode() if is_text else struct.pack("<d", v) for v in values)
            tensor["parameters"] = {"binary_data_size": len(own)}
            raw += own
        else:
            tensor["data"] = values
        inputs.append(tensor)
    head = json.dumps({"inputs": inputs}).encode()
    return (len(head) if binary else None), head + raw


def ask_rows(world, connection, rng, way):
    name, picked = rng.choice("mn"), [rng.randrange(len(world.rows)) for _ in range(rng.choice([1, 1, 1, 2, 5, 40]))]
    rows = [world.rows[i] for i in picked]
    if way == "csv":
        quote = lambda value: "" if value is None else f'"{value}"' if isinstance(value, str) else repr(value)
        lines = [",".join(world.columns)] + [",".join(quote(row[c]) for c in world.columns) for row in rows]
        answer, data = connection.post(f"/v1/models/{name}/predict", "\n".join(lines), {"Content-Type": "text/csv"})
    else:
        answer, data = connection.post(f"/v1/models/{name}/predict", json.dumps({"rows": rows}))
    if answer.status != 200:
        return problem(f"{way}: {answer.status} {data[:300]}")
    said = json.loads(data)
    found = said["predictions"]
    world.check(name, said["version"], picked, [p["prediction"] for p in found],
                [list(p["probabilities"].values()) for p in found], way)


def ask_tensors(world, connection, rng, way):
    name, picked = rng.choice("mn"), [rng.randrange(len(world.rows)) for _ in range(rng.choice([1, 1, 3, 20]))]
    length, body = tensors(world, picked, way == "tensors as bytes")
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
    answer, data = connection.post(f"/v2/models/{name}/infer", body, headers)
    if answer.status != 200:
        return problem(f"{way}: {answer.status} {data[:300]}")
    said = json.loads(data)
    labels, flat = (output["data"] for output in said["outputs"])
    classes = len(flat) // len(picked)
    world.check(name, said["model_version"], picked, labels,
                [flat[at:at + classes] for at in range(0, len(flat), classes)], way)


def grpc_request(world, picked, name):
    from tritonclient.grpc import service_pb2
    request = service_pb2.ModelInferRequest(model_name=name)
    for column in world.columns:
        values = [world.rows[i][column] for i in picked]
        is_text = any(isinstance(value, str) for value in values)
        tensor = request.inputs.add(name=column, datatype="BYTES" if is_text else "FP64", shape=[len(picked)])
        if is_text:
            tensor.contents.bytes_contents.extend((value or "").encode() for value in values)
        else:
            tensor.contents.fp64_contents.extend(float("nan") if value is None else value for value in values)
    return request


def grpc_clients(world, rng, fuzzed):
    """A client whose answers are checked, or one whose bytes are not quite a request."""
    import grpc
    from tritonclient.grpc import service_pb2
    whole = [i for i, row in enumerate(world.rows) if None not in row.values()]
    channel = grpc.insecure_channel(f"127.0.0.1:{world.port}")
    same = lambda data: data
    infer = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer", same, same)
    while not ended.is_set():
        picked = [rng.choice(whole) for _ in range(rng.choice([1, 2, 9]))]
        name = rng.choice("mn")
        data = grpc_request(world, picked, name).SerializeToString()
        if fuzzed:
            data = mutated(rng, data)
        try:
            said = service_pb2.ModelInferResponse.FromString(infer(data, timeout=60))
        except grpc.RpcError as error:
            code = error.code().name
            if not fuzzed:
                problem(f"grpc: {code} {error.details()}")
            elif code in ("INTERNAL", "UNKNOWN", "UNAVAILABLE", "DATA_LOSS"):
                # A message that is no message is refused by the layer below, which calls it INTERNAL.
                if "decode" not in (error.details() or ""):
                    problem(f"fuzzed grpc: {code} {error.details()} of {data[:200]!r}")
            count(f"fuzzed grpc {code}" if fuzzed else "grpc refused")
            continue
        if fuzzed:
            count("fuzzed grpc OK")
            continue
        labels, numbers = said.raw_output_contents
        texts, at = [], 0
        while at < len(labels):
            size = struct.unpack_from("<I", labels, at)[0]
            texts.append(labels[at + 4:at + 4 + size].decode())
            at += 4 + size
        flat = struct.unpack(f"<{len(numbers) // 8}d", numbers)
        classes = len(flat) // len(picked)
        world.check(name, said.model_version, picked, texts,
                    [list(flat[at:at + classes]) for at in range(0, len(flat), classes)], "grpc")
        time.sleep(0.005)


ODD = [None, True, -1, 0, 1, 2**31, 2**63, -2**63, 2**64, 1e308, 1e39, -0.0, 0.5, "", "x", "NaN", "\x00", "é" * 50, "9" * 400,
       [], [[]], [[[1]]], {}, {"a": 1}, [None], [1, "a"], "FP64", "BYTES", "BF16", "BOOL", "prediction", "age"]


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        way = rng.randrange(4)
        at = rng.randrange(len(data)) if data else 0
        if way == 0 and data:
            data[at] = rng.randrange(256)
        elif way == 1:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(9)))
        elif way == 2:
            del data[at:at + rng.choice([1, 4, 8, 100])]
        else:
            del data[at:]
    return bytes(data)


def twisted(rng, value, depth=0):
    """A JSON value in which something is not as it should be."""
    if rng.random() < 0.06 * (depth + 1):
        return rng.choice(ODD)
    if isinstance(value, dict):
        out = {k: twisted(rng, v, depth + 1) for k, v in value.items() if rng.random() > 0.02}
        if rng.random() < 0.05:
            out[rng.choice(["outputs", "parameters", "id", "data", "rows", "top", "shape", "binary_data_size"])] = rng.choice(ODD)
        return out
    if isinstance(value, list):
        out = [twisted(rng, v, depth + 1) for v in value if rng.random() > 0.02]
        return out * 2 if rng.random() < 0.02 else out
    return value


def fuzz(world, connection, rng):
    picked = [rng.randrange(len(world.rows)) for _ in range(rng.randrange(1, 4))]
    length, body = tensors(world, picked, rng.random() < 0.5)
    rows = [world.rows[i] for i in picked]
    headers = {}
    path = rng.choice(["/v2/models/m/infer", "/v2/models/m/infer", "/v1/models/n/predict", "/v1/models/n/invocations",
                       "/v2/models/n/versions/1/infer", "/v2/models/..%2f..%2fetc%2fpasswd/infer", "/v1/models/%00/predict"])
    if path.startswith("/v2"):
        if length is not None:
            raw = body[length:]
            head = json.dumps(twisted(rng, json.loads(body[:length]))).encode()
            body = head + (mutated(rng, raw) if rng.random() < 0.5 else raw)
            headers["Inference-Header-Content-Length"] = str(rng.choice([len(head), len(head), len(head), 0, 1, len(body) + 1, -1, "x"]))
        else:
            body = json.dumps(twisted(rng, json.loads(body))).encode()
            if rng.random() < 0.1:
                headers["Inference-Header-Content-Length"] = str(rng.choice([0, 5, len(body), 10**20]))
    elif path.endswith("invocations"):
        whole = rng.choice([{"dataframe_records": rows}, {"instances": rows}, {"inputs": {c: [r[c] for r in rows] for c in world.columns}},
                            {"dataframe_split": {"columns": world.columns, "data": [list(r.values()) for r in rows]}}])
        body = json.dumps(twisted(rng, whole)).encode()
        headers["Content-Type"] = rng.choice(["application/json", "application/json", "text/csv", "text/html"])
    else:
        body = json.dumps(twisted(rng, rng.choice([rows, {"rows": rows}, rows[0]]))).encode()
        headers["Content-Type"] = rng.choice(["application/json", "application/json", "text/csv", "image/png",
                                              "multipart/form-data; boundary=x", "multipart/form-data", "a/b", ""])
    if rng.random() < 0.3:
        body = mutated(rng, body)
    if rng.random() < 0.05:
        headers["Content-Encoding"] = rng.choice(["gzip", "deflate", "br", "x"])
    answer, data = connection.post(path, body, headers)
    if answer.status >= 500:
        problem(f"fuzzed: {answer.status} {data[:200]} of {path} {headers} {body[:1000]!r}")
    elif answer.status != 200 and not isinstance(json.loads(data).get("error"), str):
        problem(f"fuzzed: {answer.status} without a sentence: {data[:200]}")
    count(f"fuzzed {answer.status}")


def vanish(world, rng):
    """A client that goes away in the middle of its request, or before its answer."""
    length, body = tensors(world, [rng.randrange(len(world.rows)) for _ in range(rng.choice([1, 50]))], True)
    request = (f"POST /v2/models/{rng.choice('mn')}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
               f"Inference-Header-Content-Length: {length}\r\n\r\n").encode() + body
    with socket.create_connection(("127.0.0.1", world.port)) as stream:
        # Closing then resets the connection.
        if rng.random() < 0.5:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.sendall(request[:rng.choice([len(request), rng.randrange(len(request))])])
        time.sleep(rng.choice([0, 0, 0.001, 0.01]))
    count("vanished")
    time.sleep(0.01)


def reload(world, rng):
    """Models that change: `m` is one file that is swapped, `n` a folder of versions, `u` comes and goes."""
    connection, version, swaps = Connection(world), 2, 1
    control = lambda name, what: connection.post(f"/v2/repository/models/{name}/{what}", b"")
    while not ended.wait(rng.uniform(1, 2.5)):
        what = rng.choice(["swap", "swap", "version", "version", "broken", "rollback", "unload"])
        if what == "swap":
            swaps += 1
            write(world.folder / "m.tesla", world.model_of("m", swaps).bytes)
            # Every change must be seen, so that odd numbers stay A.
            answer, data = control("m", "load")
        elif what == "version":
            version += 1
            write(world.folder / f"n/{version}/model.tesla", world.model_of("n", version).bytes)
            if old := [int(p.name) for p in (world.folder / "n").iterdir() if int(p.name) < version - 2]:
                shutil.rmtree(world.folder / f"n/{min(old)}")
            answer, data = control("n", "load") if rng.random() < 0.5 else (None, b"")
        elif what == "broken":
            path = world.folder / f"n/{version + 1}"
            data = bytearray(world.models[0].bytes)
            data[rng.randrange(len(data))] ^= 255
            write(path / "model.tesla", bytes(data[:rng.choice([len(data), 0, 100, len(data) - 1])]))
            answer, data = control("n", "load")
            if answer.status != 400:
                problem(f"a broken version was answered with {answer.status} {data[:200]}")
            shutil.rmtree(path)
            answer = None
        elif what == "rollback":
            answer, data = control("n", "rollback")
            answer = None if answer.status == 400 else answer
        else:
            control("u", "unload")
            answer, data = control("u", "load")
        if answer and answer.status != 200:
            problem(f"{what}: {answer.status} {data[:300]}")
        count(f"reload: {what}")
    connection.close()


def memory(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def forever(work, world, seed, *more, pause=0.0):
    connection, rng = Connection(world), random.Random(seed)
    while not ended.is_set():
        try:
            work(world, connection, rng, *more)
        except Exception as error:
            problem(f"{more or work.__name__}: {error!r}")
        time.sleep(pause)
    connection.close()


def schemathesis(world, examples):
    program = pathlib.Path(sys.executable).with_name("schemathesis")
    if not program.exists():
        return print("skipped: schemathesis is not installed")
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    # Models that it takes away would be missed afterwards.
    command = [program, "run", f"http://127.0.0.1:{world.port}/openapi.json", "--checks", checks,
               "--exclude-path-regex", "/repository/models/", "--max-examples", str(examples), "--seed", "1", "--no-color"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=world.folder.parent)
    print(done.stdout[-1500:] if not done.returncode else done.stdout[-6000:] + done.stderr[-2000:])
    if done.returncode:
        problem("schemathesis found something")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("rows")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--tesla", default=ROOT / "target/release/tesla")
    parser.add_argument("--port", type=int, default=8195)
    parser.add_argument("--examples", type=int, default=100, help="of schemathesis, for each operation; 0 leaves it out")
    parser.add_argument("--log", default=os.devnull, help="where the server's log goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        folder = pathlib.Path(home, "models")
        world = World(args, folder)
        write(folder / "m.tesla", world.models[0].bytes)
        write(folder / "n/1/model.tesla", world.models[0].bytes)
        write(folder / "n/2/model.tesla", world.models[1].bytes)
        write(folder / "u.tesla", world.models[0].bytes)
        command = [args.tesla, "serve", folder, "--device", "flex", "--addr", f"127.0.0.1:{args.port}", "--control",
                   "--watch", "0.5", "--versions", "2"]
        with open(args.log, "w") as log:
            server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
            try:
                run(args, world, server)
            finally:
                ended.set()
                server.terminate()
                server.wait()
    print("problems:", len(problems))
    sys.exit(bool(problems))


def run(args, world, server):
    connection = Connection(world)
    while True:
        try:
            connection.post("/v2", b"")
            break
        except OSError:
            time.sleep(0.05)
    if args.examples:
        schemathesis(world, args.examples)
    start = lambda work, *rest: threading.Thread(target=work, args=rest, daemon=True)
    threads = [start(forever, ask_rows, world, i, way) for i, way in enumerate(["rows", "rows", "csv"])]
    threads += [start(forever, ask_tensors, world, 10 + i, way) for i, way in enumerate(["tensors", "tensors as bytes"])]
    threads += [start(forever, fuzz, world, 20 + i) for i in range(2)]
    threads += [start(forever, lambda world, _, rng: vanish(world, rng), world, 30 + i) for i in range(2)]
    threads += [start(reload, world, random.Random(40))]
    try:
        import tritonclient.grpc  # noqa: F401
        threads += [start(grpc_clients, world, random.Random(50 + fuzzed), fuzzed) for fuzzed in (False, True)]
    except ImportError:
        print("skipped: tritonclient is not installed, so nothing is asked over gRPC")
    seconds = 60 * args.minutes
    hey = None
    if shutil.which("hey"):
        body = json.dumps(world.rows[0])
        hey = subprocess.Popen(["hey", "-z", f"{int(seconds)}s", "-c", "4", "-q", "100", "-m", "POST", "-T", "application/json", "-d", body,
                                f"http://127.0.0.1:{args.port}/v1/models/m/predict"], stdout=subprocess.PIPE, text=True)
    else:
        print("skipped: `hey` is not installed")
    started, held = time.time(), []
    for thread in threads:
        thread.start()
    while time.time() - started < seconds and server.poll() is None:
        time.sleep(1)
        held.append(memory(server.pid))
        if len(held) % 60 == 0:
            print(f"minute {len(held) // 60}: {sum(held[-60:]) / 60:.1f} MB, {len(problems)} problems", flush=True)
    if server.poll() is not None:
        problem(f"the server ended: {server.returncode}")
    said = hey.communicate()[0] if hey else ""
    ended.set()
    for thread in threads:
        thread.join(60)
    for what, number in sorted(counts.items()):
        print(f"{number:>10,} {what}")
    if hey:
        tail = said[said.find("Status code"):].strip()
        print("hey:", " ".join(tail.split()))
        if "Error" in tail or "[200]" not in tail or tail.count("[") != 1:
            problem("hey was not always answered with 200")
    part = max(1, len(held) // 10)
    warm = held[len(held) // 5:]
    before, after = (sum(part_of) / len(part_of) for part_of in (warm[:part], warm[-part:]))
    print(f"memory: {before:.1f} MB after the first fifth, {after:.1f} MB at the end ({100 * (after / before - 1):+.1f} %), "
          f"most {max(held):.1f} MB")
    if after >= 1.05 * before:
        problem("memory grew by 5 % or more")


main()
