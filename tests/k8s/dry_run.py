"""Applies what the manifests and the chart make to a real API server, by a dry run of the server: nothing is stored.

The server is the one of kubectl's own settings (KUBECONFIG, the current context). Kinds that the server does not know, as operators
bring them, are left out and named. So are pods: a server looks at once for the account and the class of a pod.
"""

import json
import os
import subprocess
import sys

from render import renderings


def kubectl(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=given, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout


def main() -> None:
    try:
        version = json.loads(kubectl("get", "--raw", "/version", "--request-timeout=10s"))["gitVersion"]
    except RuntimeError as error:
        if os.environ.get("CI"):
            raise
        print(f"dry run: skipped: no API server answers ({str(error).splitlines()[-1]})")
        return
    # NAME, SHORTNAMES if there are any, APIVERSION, NAMESPACED, KIND.
    lines = [line.split() for line in kubectl("api-resources", "--no-headers").splitlines()]
    known = {(line[-3], line[-1]) for line in lines}
    left_out, failed, tried = set(), [], 0
    for where, objects in renderings().items():
        taken = []
        for found in objects:
            if (found["apiVersion"], found["kind"]) not in known or found["kind"] == "Pod":
                left_out.add(found["kind"])
                continue
            # A namespace that a dry run makes is not there for what follows.
            found["metadata"].pop("namespace", None)
            taken.append(found)
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": taken})
        try:
            kubectl("apply", "--server-side", "--dry-run=server", "--namespace=default", "-f", "-", given=given)
            tried += len(taken)
        except RuntimeError as error:
            failed.append(f"{where}: {error}")
    print(f"dry run: API server {version} takes {tried} objects; left out: {', '.join(sorted(left_out)) or 'none'}")
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
