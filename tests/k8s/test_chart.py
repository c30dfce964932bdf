"""What the chart makes of its values, and which values it refuses."""

import subprocess
import tempfile
import unittest

import yaml

from render import CHART, chart


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


class Chart(unittest.TestCase):
    def test_a_shard_that_has_not_joined_has_a_cluster_and_no_setting(self):
        objects = made({"shards": [{}, {}, {"join": False}]})
        self.assertEqual(names(objects, "Cluster"), [f"drive-shardrive-shard-{number}" for number in range(3)])
        # Each process has the user and the password for it before it is added; the migration does not touch it.
        self.assertEqual(sorted(env(objects)), ["SHARD_0_URL_FILE", "SHARD_1_URL_FILE", "SHARD_2_SPARE_URL_FILE"])

    def test_external_databases_make_no_cluster(self):
        objects = made({"shards": [{"existingSecret": {"name": "urls", "key": "zero"}}]})
        self.assertEqual(names(objects, "Cluster"), [])
        self.assertEqual(sorted(env(objects)), ["SHARD_0_URL_FILE"])

    def test_each_standby_has_a_name_of_its_own(self):
        objects = made({"shards": [{"readStandbys": [2, 4]}]})
        urls = env(objects)["SHARD_0_REPLICA_URLS"].split(",")
        hosts = [url.removeprefix("postgres://").split(":")[0] for url in urls]
        self.assertEqual(hosts, ["drive-shardrive-shard-0-i2", "drive-shardrive-shard-0-i4"])
        for host in hosts:
            service = next(found for found in objects if found["kind"] == "Service" and found["metadata"]["name"] == host)
            self.assertIn("cnpg.io/instanceName", service["spec"]["selector"])

    def test_a_cache_that_is_named_takes_the_place_of_the_releases_own(self):
        objects = made({"settings": {"REDIS_URL": "redis://mine:6379"}})
        settings = next(found for found in objects if found["kind"] == "ConfigMap")["data"]
        self.assertEqual(settings["REDIS_URL"], "redis://mine:6379")

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
            deployment = next(found for found in made({"settings": {"RUST_LOG": level}}) if found["kind"] == "Deployment"
                              and "cache" not in found["metadata"]["name"])
            return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]

        self.assertNotEqual(mark("info"), mark("warn"))

    def test_wrong_values_are_refused(self):
        wrong = {
            "an unknown value": {"replicas": 3},
            "no shard": {"shards": []},
            "a secret among the settings": {"settings": {"AUTH_SECRET": "x"}},
            "a shard's URL among the settings": {"settings": {"SHARD_0_URL": "postgres://u:p@h/d"}},
            "a password among the settings": {"settings": {"EVENTS_URL": "nats://me:secret@host"}},
            "a file that nobody mounts": {"settings": {"TLS_CERT_FILE": "/cert.pem"}},
            "standbys of a cluster by a Secret": {"shards": [{"replicasSecret": {"name": "urls", "key": "zero"}}]},
            "a drain that is set twice": {"settings": {"DRAIN_DELAY_S": "1"}},
            "a number as a setting": {"settings": {"HTTP_WORKERS": 2}},
            "no log for moves": {"cluster": {"parameters": {"wal_level": "replica"}}},
            "a secret without its key": {"shards": [{"existingSecret": {"name": "urls"}}]},
            "no time to end": {"graceSeconds": 0},
        }
        for what, values in wrong.items():
            with self.subTest(what), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
                yaml.safe_dump(values, file)
                file.flush()
                done = subprocess.run(["helm", "template", "drive", str(CHART), "-f", file.name], capture_output=True, text=True)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn("values don't meet the specifications", done.stderr)
