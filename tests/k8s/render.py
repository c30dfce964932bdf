"""What the manifests and the chart make, as lists of objects, one for each way in which they are used."""

import subprocess
from functools import cache
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts/shardrive"


def _objects(*command: str) -> list[dict]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {done.stderr.strip()}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def chart(*arguments: str) -> list[dict]:
    """The chart's objects, with further arguments of `helm template`."""
    return _objects("helm", "template", "drive", str(CHART), "--kube-version", "1.35", *arguments)


@cache
def renderings() -> dict[str, list[dict]]:
    """Every way, by a name that a failed test shows."""
    made = {f"k8s/overlays/{folder.name}": _objects("kubectl", "kustomize", str(folder))
            for folder in sorted((ROOT / "k8s/overlays").iterdir())}
    made["k8s/base"] = _objects("kubectl", "kustomize", "k8s/base")
    made["chart"] = chart()
    made["chart, upgrade"] = chart("--is-upgrade")
    for values in sorted((CHART / "ci").glob("*.yaml")):
        made[f"chart, {values.stem}"] = chart("-f", str(values))
    return made


def each(*kinds: str):
    """(where, object) for all objects of these kinds; of all kinds if none is named."""
    for where, objects in renderings().items():
        for found in objects:
            if not kinds or found["kind"] in kinds:
                yield f"{where}: {found['kind']} {found['metadata']['name']}", found


def pods():
    """(where, template, specification) for everything that makes pods."""
    for where, found in each("Deployment", "Job", "Pod", "StatefulSet", "DaemonSet", "CronJob"):
        template = found if found["kind"] == "Pod" else found["spec"]["template"]
        yield where, template, template["spec"]
