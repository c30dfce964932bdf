"""What the chart makes of its values."""

import json
import tempfile
import unittest

import yaml

from render import chart


def made(values: dict, *arguments: str) -> list[dict]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump(values, file)
        file.flush()
        return chart("-f", file.name, *arguments)


def names(objects: list[dict], kind: str) -> list[str]:
    return [found["metadata"]["name"] for found in objects if found["kind"] == kind]


def env(objects: list[dict]) -> dict[str, str]:
    deployment = next(found for found in objects if found["kind"] == "Deployment" and "cache" not in found["metadata"]["name"])
    return {one["name"]: one.get("value", "") for one in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}


def api_and_migration(objects: list[dict]) -> list[dict]:
    """The templates of the pods that reach the shards."""
    return [found["spec"]["template"] for found in objects if found["kind"] in ("Deployment", "Job")
            and found["metadata"]["labels"]["app.kubernetes.io/component"] in ("api", "migrate")]


class Chart(unittest.TestCase):
    def test_a_shard_that_has_not_joined_has_a_cluster_and_no_setting(self):
        objects = made({"shards": [{}, {}, {"join": False}]})
        self.assertEqual(names(objects, "Cluster"), [f"drive-shardrive-shard-{number}" for number in range(3)])
        # Each process has the user and the password for it before it is added; the migration does not touch it.
        self.assertEqual(sorted(env(objects)), ["SHARDRIVE_SHARD_0_URL_FILE", "SHARDRIVE_SHARD_1_URL_FILE", "SHARDRIVE_SHARD_2_SPARE_URL_FILE"])

    def test_external_databases_make_no_cluster(self):
        objects = made({"shards": [{"existingSecret": {"name": "urls", "key": "zero"}}]})
        self.assertEqual(names(objects, "Cluster"), [])
        self.assertEqual(sorted(env(objects)), ["SHARDRIVE_SHARD_0_URL_FILE"])

    def test_each_standby_has_a_name_of_its_own(self):
        objects = made({"shards": [{"readStandbys": [2, 4]}]})
        urls = env(objects)["SHARDRIVE_SHARD_0_REPLICA_URLS"].split(",")
        hosts = [url.removeprefix("postgres://").split(":")[0] for url in urls]
        self.assertEqual(hosts, ["drive-shardrive-shard-0-i2", "drive-shardrive-shard-0-i4"])
        for host in hosts:
            service = next(found for found in objects if found["kind"] == "Service" and found["metadata"]["name"] == host)
            self.assertIn("cnpg.io/instanceName", service["spec"]["selector"])

    def test_a_cache_that_is_named_takes_the_place_of_the_releases_own(self):
        objects = made({"settings": {"SHARDRIVE_REDIS_URL": "redis://mine:6379"}})
        settings = next(found for found in objects if found["kind"] == "ConfigMap")["data"]
        self.assertEqual(settings["SHARDRIVE_REDIS_URL"], "redis://mine:6379")

    def test_one_server_alone_waits_for_no_standby(self):
        cluster = next(found for found in made({"cluster": {"instances": 1}}) if found["kind"] == "Cluster")
        self.assertNotIn("synchronous", cluster["spec"]["postgresql"])

    def test_the_migration_is_a_hook_of_upgrades_alone(self):
        for arguments, hook in (([], None), (["--is-upgrade"], "pre-upgrade")):
            job = next(found for found in chart(*arguments) if found["kind"] == "Job")
            self.assertEqual(job["metadata"].get("annotations", {}).get("helm.sh/hook"), hook)

    def test_another_image_makes_another_job(self):
        first, second = (names(made({"image": {"tag": tag}}), "Job") for tag in ("1", "2"))
        self.assertNotEqual(first, second)

    def test_changed_settings_make_new_pods(self):
        def mark(level: str) -> str:
            deployment = next(found for found in made({"settings": {"SHARDRIVE_RUST_LOG": level}}) if found["kind"] == "Deployment"
                              and "cache" not in found["metadata"]["name"])
            return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]

        self.assertNotEqual(mark("info"), mark("warn"))

    def test_names_go_by_the_release_and_may_be_others(self):
        self.assertEqual(names(chart(), "Deployment"), ["drive-shardrive-cache", "drive-shardrive"])
        self.assertEqual(names(made({"nameOverride": "files"}), "Deployment"), ["drive-files-cache", "drive-files"])
        self.assertEqual(names(made({"fullnameOverride": "meta"}), "Deployment"), ["meta-cache", "meta"])

    def test_what_is_added_reaches_the_service_and_the_migration(self):
        added = {
            "extraEnv": [{"name": "PGAPPNAME", "value": "drive"}],
            "extraEnvFrom": [{"configMapRef": {"name": "proxies"}}],
            "extraVolumes": [{"name": "more", "emptyDir": {}}],
            "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
            "initContainers": [{"name": "first", "image": "first:1"}],
            "podLabels": {"example.org/a": "b"},
            "podAnnotations": {"example.org/c": "d"},
            "priorityClassName": "high",
            "nodeSelector": {"kubernetes.io/arch": "arm64"},
            "tolerations": [{"operator": "Exists"}],
            "imagePullSecrets": [{"name": "registry"}],
        }
        for template in api_and_migration(made(added)):
            spec, metadata = template["spec"], template["metadata"]
            container = spec["containers"][0]
            self.assertIn(added["extraEnv"][0], container["env"])
            self.assertIn(added["extraEnvFrom"][0], container["envFrom"])
            self.assertIn(added["extraVolumes"][0], spec["volumes"])
            self.assertIn(added["extraVolumeMounts"][0], container["volumeMounts"])
            for name in ("initContainers", "priorityClassName", "nodeSelector", "tolerations", "imagePullSecrets"):
                self.assertEqual(spec[name], added[name])
            self.assertLessEqual(added["podLabels"].items(), metadata["labels"].items())
            self.assertLessEqual(added["podAnnotations"].items(), metadata["annotations"].items())

    def test_pods_sign_in_by_the_account_that_is_named(self):
        for account, name, made_here in (
            ({}, "drive-shardrive", ["drive-shardrive"]),
            ({"name": "cloud", "annotations": {"example.org/role": "drive"}}, "cloud", ["cloud"]),
            ({"create": False, "name": "there"}, "there", []),
            ({"create": False}, "default", []),
        ):
            objects = made({"serviceAccount": account})
            self.assertEqual(names(objects, "ServiceAccount"), made_here)
            self.assertEqual([one["spec"]["serviceAccountName"] for one in api_and_migration(objects)], [name, name])

    def test_a_security_context_may_lose_its_user(self):
        # As OpenShift asks, which gives each namespace users of its own.
        nobody = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
        for template in api_and_migration(made({"podSecurityContext": nobody})):
            self.assertEqual(set(template["spec"]["securityContext"]), {"runAsNonRoot", "seccompProfile"})

    def test_a_ca_is_mounted_where_the_url_names_it(self):
        secret = {"name": "authorities", "key": "shards.crt"}
        shards = [{"existingSecret": {"name": "urls", "key": "zero"}, "ca": secret}]
        for template in api_and_migration(made({"shards": shards})):
            sources = [one["secret"] for one in template["spec"]["volumes"][0]["projected"]["sources"]]
            self.assertIn({"name": "authorities", "items": [{"key": "shards.crt", "path": "shard-0-ca.pem"}]}, sources)

    def test_an_empty_class_leaves_the_choice_to_the_cluster(self):
        values = {"ingress": {"enabled": True, "hosts": [{"host": "a.example.org"}, {"host": "b.example.org", "paths": ["/files"]}]},
                  "networkPolicy": {"from": [{"podSelector": {}}]}}
        ingress = next(found for found in made(values) if found["kind"] == "Ingress")
        self.assertNotIn("ingressClassName", ingress["spec"])
        paths = [[path["path"] for path in rule["http"]["paths"]] for rule in ingress["spec"]["rules"]]
        self.assertEqual((len(paths[0]), paths[1]), (12, ["/files"]))

    def test_the_dashboard_is_found_by_the_sidecar(self):
        found = next(one for one in made({"monitoring": {"dashboard": {"enabled": True}}}) if "-dashboard" in one["metadata"]["name"])
        self.assertEqual(found["metadata"]["labels"]["grafana_dashboard"], "1")
        self.assertEqual(json.loads(found["data"]["shardrive.json"])["title"], "Shardrive")
