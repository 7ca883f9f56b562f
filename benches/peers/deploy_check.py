"""Holds the files of `tesla deploy` against the schemas of Kubernetes and against what a hardened
deployment must have.

    python3 -m venv venv && venv/bin/pip install kubernetes-validate
    venv/bin/python benches/peers/deploy_check.py FOLDER

FOLDER is what `tesla deploy kubernetes model.tesla --out FOLDER` wrote. Without the package the check is
skipped with a word, and the exit code is 0; what is wrong is listed, and the exit code is 1.
"""

import sys
from pathlib import Path

try:
    import kubernetes_validate
    import yaml
except ImportError as error:
    print(f"skipped: {error.name} is not installed")
    sys.exit(0)

VERSION = "1.30"
KINDS = {
    "deployment.yaml": ["Deployment"],
    "service.yaml": ["Service"],
    "autoscaler.yaml": ["HorizontalPodAutoscaler"],
    "disruption-budget.yaml": ["PodDisruptionBudget"],
    "network-policy.yaml": ["NetworkPolicy"],
    "kserve.yaml": ["ServingRuntime", "InferenceService"],
    "kustomization.yaml": ["Kustomization"],
}
# Kinds that Kubernetes itself does not know.
FOREIGN = {"ServingRuntime", "InferenceService", "Kustomization"}

wrong = []


def need(condition, what):
    if not condition:
        wrong.append(what)


def restricted(container, pod, where):
    """The "restricted" Pod Security Standard, and a root file system that cannot be written."""
    own = container.get("securityContext", {})
    both = {**pod, **own}
    need(both.get("runAsNonRoot") is True, f"{where}: runAsNonRoot")
    need(both.get("runAsUser", 0) > 0, f"{where}: runAsUser")
    need(both.get("seccompProfile", {}).get("type") == "RuntimeDefault", f"{where}: seccompProfile")
    need(own.get("allowPrivilegeEscalation") is False, f"{where}: allowPrivilegeEscalation")
    need(own.get("privileged") is False, f"{where}: privileged")
    need(own.get("readOnlyRootFilesystem") is True, f"{where}: readOnlyRootFilesystem")
    need(own.get("capabilities", {}).get("drop") == ["ALL"], f"{where}: capabilities")
    for probe, path in [
        ("startupProbe", "/v2/health/ready"),
        ("livenessProbe", "/v2/health/live"),
        ("readinessProbe", "/v2/health/ready"),
    ]:
        need(container.get(probe, {}).get("httpGet", {}).get("path") == path, f"{where}: {probe}")
    need("memory" in container.get("resources", {}).get("limits", {}), f"{where}: memory limit")
    need(":" in container["image"], f"{where}: an image without a tag")


folder = Path(sys.argv[1])
found = {}
for name, kinds in KINDS.items():
    objects = list(yaml.safe_load_all((folder / name).read_text()))
    need([o["kind"] for o in objects] == kinds, f"{name}: expected {kinds}")
    for thing in objects:
        found[thing["kind"]] = thing
        if thing["kind"] in FOREIGN:
            continue
        try:
            kubernetes_validate.validate(thing, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            wrong.append(f"{name}: {error.message}")

for resource in found["Kustomization"]["resources"]:
    need((folder / resource).is_file(), f"kustomization.yaml: {resource} is not there")

deployment = found["Deployment"]["spec"]
pod = deployment["template"]["spec"]
labels = deployment["template"]["metadata"]["labels"]
server = pod["containers"][0]
restricted(server, pod["securityContext"], "deployment.yaml")
need(pod.get("automountServiceAccountToken") is False, "deployment.yaml: automountServiceAccountToken")
pause = server["lifecycle"]["preStop"]["sleep"]["seconds"]
need(pod["terminationGracePeriodSeconds"] > pause + 10, "deployment.yaml: no time to drain")
for kind, selector in [
    ("Deployment", deployment["selector"]["matchLabels"]),
    ("Service", found["Service"]["spec"]["selector"]),
    ("PodDisruptionBudget", found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]),
    ("NetworkPolicy", found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]),
]:
    need(selector.items() <= labels.items(), f"{kind}: selects other pods")
scale = found["HorizontalPodAutoscaler"]["spec"]
need(scale["scaleTargetRef"]["name"] == found["Deployment"]["metadata"]["name"], "autoscaler: target")
need("cpu" in server["resources"]["requests"], "autoscaler: the share of CPU needs a request")
ports = {port["name"] for port in server["ports"]}
need({p["targetPort"] for p in found["Service"]["spec"]["ports"]} <= ports, "service: port")

runtime = found["ServingRuntime"]
need(runtime["apiVersion"] == "serving.kserve.io/v1alpha1", "ServingRuntime: apiVersion")
need(runtime["spec"]["containers"][0]["name"] == "kserve-container", "ServingRuntime: container")
need("v2" in runtime["spec"]["protocolVersions"], "ServingRuntime: protocol")
restricted(runtime["spec"]["containers"][0], {}, "kserve.yaml")
service = found["InferenceService"]
need(service["apiVersion"] == "serving.kserve.io/v1beta1", "InferenceService: apiVersion")
model = service["spec"]["predictor"]["model"]
need(model["runtime"] == runtime["metadata"]["name"], "InferenceService: runtime")
formats = {f["name"] for f in runtime["spec"]["supportedModelFormats"]}
need(model["modelFormat"]["name"] in formats, "InferenceService: modelFormat")
need("://" in model["storageUri"], "InferenceService: storageUri")

for what in wrong:
    print(f"wrong: {what}")
if not wrong:
    print(f"{len(found)} objects keep the schemas of Kubernetes {VERSION} and are hardened")
sys.exit(1 if wrong else 0)
