"""Every object that is made follows its schema, and names no field that the schema does not know."""

import json
import os
import shutil
import subprocess
import unittest
from pathlib import Path

import kubernetes_validate

from render import each

# The oldest that the manifests are made for, and the newest that the tools know.
VERSIONS = ("1.31", "1.37")
# Kinds that an operator brings, held against its own schemas by custom.mjs.
CUSTOM = {"Cluster", "ServiceMonitor", "PrometheusRule", "HTTPRoute", "ExternalSecret"}


class Schemas(unittest.TestCase):
    def test_objects_of_kubernetes(self):
        seen = set()
        for where, found in each():
            if found["kind"] in CUSTOM:
                continue
            seen.add(found["kind"])
            for version in VERSIONS:
                with self.subTest(where, version=version):
                    kubernetes_validate.validate(found, version, strict=True)
        self.assertGreaterEqual(len(seen), 11, seen)

    def test_objects_of_operators(self):
        found = [{"where": where, "object": found} for where, found in each(*CUSTOM)]
        self.assertEqual({one["object"]["kind"] for one in found}, CUSTOM)
        tools = Path(os.environ["K8S_TOOLS"])
        # Node looks for packages beside the script.
        script = shutil.copy(Path(__file__).with_name("custom.mjs"), tools)
        done = subprocess.run(["node", script], input=json.dumps(found), capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_is_wrong_is_noticed(self):
        where, deployment = next(each("Deployment"))
        wrong = json.loads(json.dumps(deployment))
        wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
        with self.assertRaises(kubernetes_validate.ValidationError, msg=where):
            kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)
