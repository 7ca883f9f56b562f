"""Runs the clients that people have, unmodified, against a served model.

    python3 benches/peers/clients.py [--tesla target/release/tesla] [--venvs DIR]

Each client gets a virtual environment of its own: some cannot be installed, or imported, together.
What cannot be installed is skipped with a word.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.9, 3.1, 5.4, 2.3]]
LABELS = ["setosa", "virginica"]

COMMON = f"""
import sys, numpy as np
addr = sys.argv[1]
COLUMNS, ROWS, LABELS = {COLUMNS!r}, {ROWS!r}, {LABELS!r}
def text(x): return x.decode() if isinstance(x, bytes) else x
"""

TRITON_HTTP = COMMON + """
import tritonclient.http as http
client = http.InferenceServerClient(addr)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("iris")
assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
assert [i["name"] for i in client.get_model_metadata("iris")["inputs"]] == COLUMNS
client.get_model_config("iris")
assert client.get_model_repository_index()[0]["name"] == "iris"
def inputs(binary, kind=np.float64, name="FP64"):
    tensors = []
    for i, column in enumerate(COLUMNS):
        tensor = http.InferInput(column, [2], name)
        tensor.set_data_from_numpy(np.array([r[i] for r in ROWS], dtype=kind), binary_data=binary)
        tensors.append(tensor)
    return tensors
plain = client.infer("iris", inputs(False)).as_numpy("probability")
for binary in (False, True):
    for packing in (None, "gzip", "deflate"):
        for outputs in (None, [http.InferRequestedOutput("prediction", binary_data=binary), http.InferRequestedOutput("probability", binary_data=binary)]):
            found = client.infer("iris", inputs(binary), outputs=outputs, request_id="7",
                request_compression_algorithm=packing, response_compression_algorithm=packing)
            assert [text(x) for x in found.as_numpy("prediction")] == LABELS
            assert (found.as_numpy("probability") == plain).all()
            assert found.get_response()["id"] == "7"
found = client.infer("iris", inputs(True, np.float32, "FP32")).as_numpy("probability")
assert abs(found - plain).max() < 1e-5
many = [client.async_infer("iris", inputs(True)) for _ in range(20)]
assert all((one.get_result().as_numpy("probability") == plain).all() for one in many)
try:
    client.infer("rose", inputs(True))
    raise SystemExit("an unknown model must be refused")
except http.InferenceServerException as error:
    assert "no model" in str(error), error
done = client.get_inference_statistics("iris")["model_stats"][0]
assert done["version"] == "1" and done["inference_stats"]["success"]["count"] > 0, done
print("ok")
"""

TRITON_GRPC = COMMON + """
import tritonclient.grpc as grpc
client = grpc.InferenceServerClient(addr)
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("iris")
assert client.get_server_metadata().name == "tesla"
assert [i.name for i in client.get_model_metadata("iris").inputs] == COLUMNS
tensors = []
for i, column in enumerate(COLUMNS):
    tensor = grpc.InferInput(column, [2], "FP64")
    tensor.set_data_from_numpy(np.array([r[i] for r in ROWS]))
    tensors.append(tensor)
for packing in (None, "gzip"):
    found = client.infer("iris", tensors, request_id="7", compression_algorithm=packing, client_timeout=10)
    assert [text(x) for x in found.as_numpy("prediction")] == LABELS
    assert found.as_numpy("probability").shape == (2, 3)
    assert found.get_response().id == "7"
only = client.infer("iris", tensors, outputs=[grpc.InferRequestedOutput("probability")])
assert only.as_numpy("prediction") is None
try:
    client.infer("iris", tensors[:1])
    raise SystemExit("a missing column must be refused")
except grpc.InferenceServerException as error:
    assert "no column" in str(error) and "INVALID" in str(error.status()), error
print("ok")
"""

KSERVE_REST = COMMON + """
import asyncio
from kserve import InferenceRESTClient, RESTConfig, InferInput, InferRequest
async def main():
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=1))
    base = "http://" + addr
    assert await client.is_server_live(base) and await client.is_server_ready(base)
    assert await client.is_model_ready(base, "iris")
    for binary in (False, True):
        inputs = []
        for i, column in enumerate(COLUMNS):
            tensor = InferInput(column, [2], "FP64")
            tensor.set_data_from_numpy(np.array([r[i] for r in ROWS]), binary_data=binary)
            inputs.append(tensor)
        request = InferRequest(model_name="iris", infer_inputs=inputs, request_id="7")
        found = await client.infer(base, request, model_name="iris")
        by_name = {o.name: o for o in found.outputs}
        assert [text(x) for x in by_name["prediction"].as_numpy()] == LABELS
        assert by_name["probability"].as_numpy().shape == (2, 3)
asyncio.run(main())
print("ok")
"""

KSERVE_GRPC = COMMON + """
import asyncio
from kserve import InferenceGRPCClient, InferInput, InferRequest
async def main():
    client = InferenceGRPCClient(addr)
    assert await client.is_server_live() and await client.is_server_ready()
    assert await client.is_model_ready("iris")
    for binary in (False, True):
        inputs = []
        for i, column in enumerate(COLUMNS):
            tensor = InferInput(column, [2], "FP64")
            tensor.set_data_from_numpy(np.array([r[i] for r in ROWS]), binary_data=binary)
            inputs.append(tensor)
        found = await client.infer(InferRequest(model_name="iris", infer_inputs=inputs, request_id="7"))
        by_name = {o.name: o for o in found.outputs}
        assert [text(x) for x in by_name["prediction"].as_numpy()] == LABELS
asyncio.run(main())
print("ok")
"""

CLIENTS = [
    ("tritonclient[http]", "tritonclient[http]", TRITON_HTTP),
    ("tritonclient[grpc]", "tritonclient[grpc]", TRITON_GRPC),
    ("kserve REST", "kserve", KSERVE_REST),
    ("kserve gRPC", "kserve", KSERVE_GRPC),
]


def mlflow(addr):
    """The formats of MLflow's scoring server, as its documentation has them."""
    named = [dict(zip(COLUMNS, row)) for row in ROWS]
    table = ",".join(COLUMNS) + "\n" + "\n".join(",".join(map(str, row)) for row in ROWS)
    bodies = [
        {"dataframe_split": {"index": [0, 1], "columns": COLUMNS, "data": ROWS}},
        {"dataframe_records": named},
        {"instances": named},
        {"instances": ROWS},
        {"inputs": {c: [row[i] for row in ROWS] for i, c in enumerate(COLUMNS)}},
    ]
    asks = [("application/json", json.dumps(body)) for body in bodies] + [("text/csv", table)]
    for kind, body in asks:
        request = urllib.request.Request(
            f"http://{addr}/invocations", body.encode(), {"Content-Type": kind}
        )
        found = json.load(urllib.request.urlopen(request))
        assert found == {"predictions": LABELS}, (body, found)
    return "ok"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tesla", default=ROOT / "target/release/tesla")
    parser.add_argument("--venvs", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        venvs = args.venvs or pathlib.Path(folder) / "venvs"
        train = ["train", ROOT / "datasets/iris/iris.csv", "--target", "species", "--model", "logistic"]
        train += ["--device", "flex", "--out", "run", "-q"]
        subprocess.run([args.tesla, *train], cwd=folder, check=True)
        serve = ["serve", "run/model.tesla", "--name", "iris", "--device", "flex", "--addr", "127.0.0.1:0"]
        server = subprocess.Popen([args.tesla, *serve], cwd=folder, stdout=subprocess.PIPE, text=True)
        failed = False
        try:
            addr = re.search(r"http://(\S+)", server.stdout.readline())[1]
            print(f"{'MLflow formats':<20} {mlflow(addr)}", flush=True)
            for name, package, script in CLIENTS:
                venv = venvs / re.sub(r"\W", "", package)
                python = venv / "bin/python"
                if not python.exists():
                    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
                    install = [python, "-m", "pip", "install", "-q", package, "numpy"]
                    if subprocess.run(install).returncode != 0:
                        print(f"{name:<20} skipped: {package} cannot be installed here", flush=True)
                        continue
                found = subprocess.run([python, "-c", script, addr], capture_output=True, text=True)
                failed |= found.returncode != 0
                said = found.stdout.strip() if found.returncode == 0 else "FAILED\n" + found.stderr
                print(f"{name:<20} {said}", flush=True)
        finally:
            server.terminate()
            server.wait()
    sys.exit(failed)


main()
