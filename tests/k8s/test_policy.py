"""What this project asks of its manifests, beyond being well-formed."""

import json
import re
import tomllib
import unittest

import yaml

import rules
from render import CHART, ROOT, chart, each, pods, renderings

PACKAGE = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
VERSION = PACKAGE["version"]
# Where releases are published, which goes by the repository's name.
REPOSITORY = PACKAGE["repository"].removeprefix("https://github.com/")
IMAGE = f"ghcr.io/{REPOSITORY}"
# Every setting, as .env.example tells; a unit test of src/config holds that file against the program.
EXAMPLE = (ROOT / ".env.example").read_text()
SETTINGS = set(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", EXAMPLE, re.M))
# Those whose value may stand in a file: the last part of .env.example names them.
SECRETS = set(re.findall(r"\b([A-Z][A-Z_]+)_FILE\b", EXAMPLE.rsplit("# --- ", 1)[1]))


def is_setting(name: str) -> bool:
    if re.fullmatch(r"SHARDRIVE_SHARD_(0|[1-9]\d*)_(URL|REPLICA_URLS|SPARE_URL)(_FILE)?", name):
        return True
    return name in SETTINGS or (name.endswith("_FILE") and name.removesuffix("_FILE") in SECRETS)


def is_secret(name: str) -> bool:
    # URLs of a cache and of standbys may stand open where they hold no password.
    return name in SECRETS - {"SHARDRIVE_REDIS_URL", "SHARDRIVE_EVENTS_URL"} or re.fullmatch(r"SHARDRIVE_SHARD_\d+_URL", name) is not None


def api():
    """(where, deployment) for each Deployment of the service itself."""
    return [(where, found) for where, found in each("Deployment")
            if found["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] == "api"]


def settings_of(objects: list[dict], container: dict) -> dict[str, str]:
    """What a container is given as its environment; values that come from Secrets are empty."""
    maps = {found["metadata"]["name"]: found["data"] for found in objects if found["kind"] == "ConfigMap"}
    given: dict[str, str] = {}
    for source in container.get("envFrom", []):
        # A ConfigMap of the user's own is not among the objects.
        given |= maps.get(source["configMapRef"]["name"], {})
    return given | {one["name"]: one.get("value", "") for one in container.get("env", [])}


class Pods(unittest.TestCase):
    def test_the_looks_find_what_is_there(self):
        self.assertGreaterEqual(len(renderings()), 7)
        self.assertEqual(len(api()), len(renderings()))
        self.assertIn("SHARDRIVE_DRAIN_DELAY_S", SETTINGS)

    def test_pods_may_do_next_to_nothing(self):
        for where, _, spec in pods():
            with self.subTest(where):
                self.assertIs(spec["automountServiceAccountToken"], False)
                self.assertIs(spec["enableServiceLinks"], False)
                security = spec["securityContext"]
                self.assertIs(security["runAsNonRoot"], True)
                self.assertGreater(security["runAsUser"], 0)
                self.assertEqual(security["seccompProfile"], {"type": "RuntimeDefault"})
                for field in ("hostNetwork", "hostPID", "hostIPC"):
                    self.assertFalse(spec.get(field))
                self.assertFalse([volume for volume in spec.get("volumes", []) if "hostPath" in volume])
            for container in spec["containers"] + spec.get("initContainers", []):
                with self.subTest(where, container=container["name"]):
                    security = container["securityContext"]
                    self.assertIs(security["allowPrivilegeEscalation"], False)
                    self.assertIs(security["readOnlyRootFilesystem"], True)
                    self.assertEqual(security["capabilities"], {"drop": ["ALL"]})
                    self.assertFalse(security.get("privileged"))
                    for part in ("requests", "limits"):
                        self.assertLessEqual({"cpu", "memory"}, set(container["resources"][part]))

    def test_the_user_is_that_of_the_image(self):
        user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.M)
        self.assertIsNotNone(user, "the Dockerfile's user must be a number, or runAsNonRoot cannot be checked")
        for where, template, spec in pods():
            if template["metadata"]["labels"]["app.kubernetes.io/component"] in ("api", "migrate", "test"):
                with self.subTest(where):
                    self.assertEqual(str(spec["securityContext"]["runAsUser"]), user.group(1))
                    self.assertEqual(str(spec["securityContext"]["runAsGroup"]), user.group(2))

    def test_images_are_of_this_version(self):
        for where, template, spec in pods():
            image = spec["containers"][0]["image"]
            with self.subTest(where, image=image):
                self.assertNotRegex(image, r":latest$|^[^:@]+$")
                if "shardrive" in image and "@sha256:" not in image:
                    self.assertEqual(image.rsplit(":", 1)[1], VERSION)
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.assertEqual([chart["version"], chart["appVersion"]], [VERSION, VERSION])
        self.assertEqual(yaml.safe_load((CHART / "values.yaml").read_text())["image"]["repository"], IMAGE)
        compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["api"]["image"]
        self.assertEqual(compose, f"{IMAGE}:${{SHARDRIVE_VERSION:-{VERSION}}}")
        self.assertIn(f"image: {IMAGE}:{VERSION}", chart["annotations"]["artifacthub.io/images"])
        # What people copy from the pages, and what the release's text is made of.
        for page in ("README.md", "docs/install.md"):
            named = re.findall(r"shardrive[-_](\d[\d.]*\d)[-_]|shardrive/v(\d[\d.]*\d)/|shardrive:(\d[\d.]*\d)", (ROOT / page).read_text())
            self.assertEqual({"".join(one) for one in named}, {VERSION}, page)
        self.assertIn(f"## [{VERSION}]", (ROOT / "CHANGELOG.md").read_text())
        self.assertIn("valkey/valkey:", chart["annotations"]["artifacthub.io/images"])
        self.assertEqual([chart["home"], *chart["sources"]], [PACKAGE["repository"]] * 2)
        job = yaml.safe_load((ROOT / "k8s/base/migrate.yaml").read_text())
        self.assertEqual(job["metadata"]["name"], f"shardrive-migrate-{VERSION.replace('.', '-')}")


class Network(unittest.TestCase):
    def test_names_are_resolved_wherever_the_servers_of_dns_are(self):
        # A server may be a pod, on each node (NodeLocal DNSCache), or a cloud's own: a rule that names pods leaves the others out.
        for where, found in each("NetworkPolicy"):
            if found["metadata"]["name"].endswith("-cache"):
                continue
            dns = [rule for rule in found["spec"]["egress"] if {"port": 53, "protocol": "UDP"} in rule["ports"]]
            with self.subTest(where):
                self.assertEqual(len(dns), 1)
                if dns[0].get("to"):
                    # Servers are named, and NodeLocal DNSCache beside them.
                    self.assertIn({"ipBlock": {"cidr": "169.254.20.10/32"}}, dns[0]["to"])
                ports = {(one["port"], one["protocol"]) for one in dns[0]["ports"]}
                self.assertEqual(ports, {(port, protocol) for port in (53, 5353) for protocol in ("UDP", "TCP")})
                # No other port is open to everybody.
                self.assertFalse([rule for rule in found["spec"]["egress"] if not rule.get("to") and rule is not dns[0]])
        servers = {"ipBlock": {"cidr": "192.0.2.53/32"}}
        named = [one for one in chart("--set-json", f"networkPolicy.dns=[{json.dumps(servers)}]") if one["kind"] == "NetworkPolicy"]
        self.assertEqual(named[0]["spec"]["egress"][0]["to"], [servers, {"ipBlock": {"cidr": "169.254.20.10/32"}}])


class Service(unittest.TestCase):
    def test_probes_ask_for_what_they_mean(self):
        wanted = {"startupProbe": "/health/live", "livenessProbe": "/health/live", "readinessProbe": "/health/ready"}
        for where, found in api():
            container = found["spec"]["template"]["spec"]["containers"][0]
            with self.subTest(where):
                self.assertEqual({name: container[name]["httpGet"]["path"] for name in wanted}, wanted)

    def test_what_speaks_tls_is_asked_by_tls_and_by_nothing_else(self):
        spoken = set()
        for where, objects in renderings().items():
            deployment = next(found for name, found in api() if name.startswith(f"{where}:"))
            container = deployment["spec"]["template"]["spec"]["containers"][0]
            with self.subTest(where):
                given = settings_of(objects, container)
                scheme = "HTTPS" if "SHARDRIVE_TLS_CERT_FILE" in given else "HTTP"
                spoken.add(scheme)
                self.assertEqual("SHARDRIVE_TLS_KEY_FILE" in given, scheme == "HTTPS")
                port = scheme.lower()
                self.assertEqual([one["name"] for one in container["ports"]], [port])
                for name in ("startupProbe", "livenessProbe", "readinessProbe"):
                    probe = container[name]["httpGet"]
                    self.assertEqual((probe.get("scheme", "HTTP"), probe["port"]), (scheme, port))
                name = deployment["metadata"]["name"]
                named = {(one["kind"], one["metadata"]["name"]): one for one in objects}
                service = named["Service", name]["spec"]["ports"]
                self.assertEqual([(one["name"], one["targetPort"], one["appProtocol"]) for one in service], [(port,) * 3])
                if policy := named.get(("NetworkPolicy", name)):
                    self.assertEqual(policy["spec"]["ingress"][0]["ports"], [{"port": port}])
                if monitor := named.get(("ServiceMonitor", name)):
                    end = monitor["spec"]["endpoints"][0]
                    self.assertEqual((end["port"], end.get("scheme", "http")), (port, port))
                if ingress := named.get(("Ingress", name)):
                    word = ingress["metadata"].get("annotations", {}).get("nginx.ingress.kubernetes.io/backend-protocol", "HTTP")
                    self.assertEqual(word, scheme)
                    for rule in ingress["spec"]["rules"]:
                        self.assertEqual({one["backend"]["service"]["port"]["name"] for one in rule["http"]["paths"]}, {port})
                if asked := named.get(("Pod", f"{name}-test")):
                    url = asked["spec"]["containers"][0]["args"][-1]
                    self.assertTrue(url.startswith(f"{port}://{name}:"), url)
        self.assertEqual(spoken, {"HTTP", "HTTPS"})

    def test_a_rolling_restart_fails_no_request(self):
        for where, objects in renderings().items():
            for _, found in [one for one in api() if one[0].startswith(f"{where}:")]:
                spec = found["spec"]["template"]["spec"]
                container = spec["containers"][0]
                given = settings_of(objects, container)
                drain, shutdown = int(given["SHARDRIVE_DRAIN_DELAY_S"]), int(given["SHARDRIVE_SHUTDOWN_TIMEOUT_S"])
                ready = container["readinessProbe"]
                with self.subTest(where):
                    self.assertEqual(found["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
                    self.assertGreaterEqual(spec["terminationGracePeriodSeconds"], drain + shutdown + 3)
                    self.assertGreater(drain, ready["periodSeconds"] * ready["failureThreshold"])

    def test_every_variable_is_a_setting(self):
        for where, objects in renderings().items():
            for _, template, spec in [one for one in pods() if one[0].startswith(f"{where}:")]:
                if template["metadata"]["labels"]["app.kubernetes.io/component"] not in ("api", "migrate"):
                    continue
                for name in settings_of(objects, spec["containers"][0]):
                    with self.subTest(where, name=name):
                        self.assertTrue(is_setting(name) or name.startswith("OTEL_"))

    def test_files_that_are_named_are_mounted(self):
        for where, _, spec in pods():
            container = spec["containers"][0]
            volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
            paths = set()
            for mount in container.get("volumeMounts", []):
                if "projected" not in volumes[mount["name"]]:
                    continue
                for source in volumes[mount["name"]]["projected"]["sources"]:
                    items = source["secret"].get("items")
                    names = [item["path"] for item in items] if items else self.keys(where, source)
                    paths |= {f"{mount['mountPath']}/{name}" for name in names}
            for one in container.get("env", []):
                if one["name"].endswith("_FILE"):
                    with self.subTest(where, name=one["name"]):
                        self.assertIn(one["value"], paths)

    def keys(self, where: str, source: dict) -> list[str]:
        """The keys of a whole Secret that is mounted: of the form that stands in an overlay for it."""
        forms = [yaml.safe_load(path.read_text()) for path in (ROOT / "k8s/overlays").glob("*/secret.yaml")]
        form = next((form for form in forms if form["metadata"]["name"] == source["secret"]["name"]), None)
        self.assertIsNotNone(form, where)
        return list(form["stringData"])

    def test_no_secret_is_written_down(self):
        for where, found in each("ConfigMap"):
            for name, value in found["data"].items():
                with self.subTest(where, name=name):
                    self.assertFalse(is_secret(name))
                    self.assertNotRegex(value, r"://[^/]*:[^/]*@")
        for where, found in each("Secret"):
            for name, value in (found.get("stringData") or {}).items():
                with self.subTest(where, name=name):
                    self.assertTrue(value.startswith("REPLACE"))
            self.assertNotIn("data", found, where)
        for where, _, spec in pods():
            for one in spec["containers"][0].get("env", []):
                with self.subTest(where, name=one["name"]):
                    # By files alone: an environment is seen by every child, and in dumps. What users add is theirs.
                    self.assertTrue("valueFrom" not in one or not is_setting(one["name"]))
                    self.assertFalse(is_secret(one["name"]))
                    self.assertNotRegex(one.get("value", ""), r"://[^/]*@")

    def test_connections_fit(self):
        """The most processes there may be, times what each opens, stay below what a shard's server takes."""
        defaults = dict(re.findall(r"^# ([A-Z_]+)=(\d+)$", EXAMPLE, re.M))
        for where, objects in renderings().items():
            limits = [int(found["spec"]["postgresql"]["parameters"]["max_connections"])
                      for found in objects if found["kind"] == "Cluster"]
            if not limits:
                continue
            scalers = [found["spec"]["maxReplicas"] for found in objects if found["kind"] == "HorizontalPodAutoscaler"]
            deployment = next(found for name, found in api() if name.startswith(f"{where}:"))
            most = max(scalers + [deployment["spec"].get("replicas", 0)])
            given = defaults | settings_of(objects, deployment["spec"]["template"]["spec"]["containers"][0])
            each_opens = int(given["SHARDRIVE_DB_POOL_MAX_SIZE"]) + int(given["SHARDRIVE_HTTP_WORKERS"]) + 5
            with self.subTest(where):
                # One more while a rolling update has one too many; some for standbys, the operator and people.
                self.assertLess((most + 1) * each_opens + 10, min(limits))


class Shards(unittest.TestCase):
    def test_clusters_are_what_moves_need(self):
        for where, found in each("Cluster"):
            spec, shard = found["spec"], found["metadata"]["name"].rsplit("-", 1)[1]
            with self.subTest(where):
                settings = spec["postgresql"]["parameters"]
                self.assertEqual(settings["wal_level"], "logical")
                self.assertIn("max_slot_wal_keep_size", settings)
                self.assertIs(spec["enableSuperuserAccess"], False)
                self.assertEqual(spec["postgresql"]["synchronous"]["dataDurability"], "required")
                self.assertGreaterEqual(spec["instances"], 3)
                self.assertEqual(spec["bootstrap"]["initdb"]["database"], f"drive_shard_{shard}")
                grants = " ".join(spec["bootstrap"]["initdb"]["postInitApplicationSQL"])
                for need in ("REPLICATION", "pg_create_subscription", "pg_replication_origin_advance"):
                    self.assertIn(need, grants)
                self.assertRegex(spec["imageName"], r":1[7-9]\b")

    def test_the_log_that_streams_keep_fits_the_volume(self):
        for where, found in each("Cluster"):
            kept = int(found["spec"]["postgresql"]["parameters"]["max_slot_wal_keep_size"].removesuffix("GB"))
            with self.subTest(where):
                self.assertLess(kept * 2, int(found["spec"]["walStorage"]["size"].removesuffix("Gi")))


class Surroundings(unittest.TestCase):
    def test_selectors_find_pods_and_nothing_else(self):
        for where, objects in renderings().items():
            labels = {found["metadata"]["name"]: found["spec"]["template"]["metadata"]["labels"]
                      for found in objects if found["kind"] in ("Deployment", "Job")}
            for found in objects:
                selector = found.get("spec", {}).get("selector", {})
                wanted = selector.get("matchLabels", selector) if found["kind"] in ("Service", "PodDisruptionBudget") else None
                if not wanted or "cnpg.io/cluster" in wanted:
                    continue
                hits = [name for name, have in labels.items() if wanted.items() <= have.items()]
                with self.subTest(where, kind=found["kind"], name=found["metadata"]["name"]):
                    self.assertEqual(hits, [found["metadata"]["name"]])

    def test_clients_reach_their_routes_and_no_others(self):
        routes = {f"/{first}" for first in re.findall(r'Endpoint::at\("/([a-z.]*)', (ROOT / "src/http/routes.rs").read_text())}
        inside = {"/", "/admin", "/dashboard", "/docs", "/health", "/metrics", "/openapi.json", "/shards"}
        self.assertLess(inside, routes)
        whole = 0
        for where, found in each("Ingress", "HTTPRoute"):
            rules_of = found["spec"]["rules"]
            if found["kind"] == "Ingress":
                sets = [{one["path"] for one in rule["http"]["paths"]} for rule in rules_of]
            else:
                sets = [{match["path"]["value"] for rule in rules_of for match in rule["matches"]}]
            for paths in sets:
                with self.subTest(where, kind=found["kind"]):
                    self.assertLessEqual(paths, routes - inside)
                    whole += paths == routes - inside
        # One host of the checked values has two paths of its own; all others have every route for clients.
        self.assertGreaterEqual(whole, 5)

    def test_monitors_find_the_service_and_give_it_the_job_of_the_rules(self):
        for where, objects in renderings().items():
            for found in (one for one in objects if one["kind"] == "ServiceMonitor"):
                wanted = found["spec"]["selector"]["matchLabels"]
                services = [one for one in objects if one["kind"] == "Service"
                            and wanted.items() <= one["metadata"].get("labels", {}).items()]
                with self.subTest(where):
                    self.assertEqual(len(services), 1)
                    job = services[0]["metadata"]["labels"][found["spec"]["jobLabel"]]
                    alerts = next(one for one in objects if one["kind"] == "PrometheusRule")
                    self.assertIn(f'job="{job}"', json.dumps(alerts).replace('\\"', '"'))
                    ports = [port["name"] for port in services[0]["spec"]["ports"]]
                    self.assertIn(found["spec"]["endpoints"][0]["port"], ports)
        self.assertIn('job="shardrive"', rules.RULES.read_text())

    def test_alerts_are_those_of_the_rules(self):
        wanted = yaml.safe_load(rules.RULES.read_text())
        seen = 0
        for where, found in each("PrometheusRule"):
            seen += 1
            with self.subTest(where):
                job = found["metadata"]["labels"]["app.kubernetes.io/name"]
                renamed = json.loads(json.dumps(wanted).replace('job=\\"shardrive\\"', f'job=\\"{job}\\"'))
                self.assertEqual(found["spec"], renamed, "run `make k8s-rules`")
        self.assertGreaterEqual(seen, 3)
        self.assertEqual(rules.CHART_COPY.read_text(), rules.RULES.read_text(), "run `make k8s-rules`")
        self.assertEqual(rules.CHART_DASHBOARD.read_text(), rules.DASHBOARD.read_text(), "run `make k8s-rules`")
        self.assertEqual(rules.RESOURCE.read_text(), rules.resource(), "run `make k8s-rules`")
