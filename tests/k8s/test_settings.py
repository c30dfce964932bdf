"""Every setting of the program can be made by the chart, by the manifests and by docker-compose.yml; or there is a reason why not."""

import json
import re
import unittest

import yaml

from render import ROOT, renderings
from test_chart import made
from test_policy import EXAMPLE, SECRETS, SETTINGS, api, settings_of

NAMES = {name for name in SETTINGS if not re.match(r"SHARDRIVE_SHARD_\d", name)}
SHARD = {"SHARDRIVE_SHARD_0_URL_FILE", "SHARDRIVE_SHARD_0_REPLICA_URLS_FILE"}
ANYTHING = {"name": "some-secret", "key": "some-key"}

# Settings that the chart's `settings` refuses: the values that make them, and the variable that comes of it.
CHART_VALUES = {
    "SHARDRIVE_DRAIN_DELAY_S": ({"drainDelaySeconds": 7}, "SHARDRIVE_DRAIN_DELAY_S"),
    "SHARDRIVE_SHUTDOWN_TIMEOUT_S": ({"shutdownTimeoutSeconds": 7}, "SHARDRIVE_SHUTDOWN_TIMEOUT_S"),
    "SHARDRIVE_AUTH_SECRET": ({"secrets": {"authSecret": ANYTHING}}, "SHARDRIVE_AUTH_SECRET_FILE"),
    "SHARDRIVE_AUTH_CA_FILE": ({"secrets": {"authCa": ANYTHING}}, "SHARDRIVE_AUTH_CA_FILE"),
    "OTEL_EXPORTER_OTLP_CERTIFICATE": ({"secrets": {"otlpCa": ANYTHING}}, "OTEL_EXPORTER_OTLP_CERTIFICATE"),
    "SHARDRIVE_REDIS_CA_FILE": ({"secrets": {"redisCa": ANYTHING}}, "SHARDRIVE_REDIS_CA_FILE"),
    "SHARDRIVE_EVENTS_CA_FILE": ({"secrets": {"eventsCa": ANYTHING}}, "SHARDRIVE_EVENTS_CA_FILE"),
    "SHARDRIVE_TLS_CERT_FILE": ({"tls": {"secretName": "some-secret"}}, "SHARDRIVE_TLS_CERT_FILE"),
    "SHARDRIVE_TLS_KEY_FILE": ({"tls": {"secretName": "some-secret"}}, "SHARDRIVE_TLS_KEY_FILE"),
}
# Those that may stand in `settings` and, where they hold a password, in a file.
CHART_SECRETS = {"SHARDRIVE_REDIS_URL": "redisUrl", "SHARDRIVE_EVENTS_URL": "eventsUrl"}
CHART_NEVER = {
    "SHARDRIVE_BIND_ADDR": "the pod's port is the chart's own matter",
    "SHARDRIVE_NUM_SHARDS": "`shards` is the list that it would be held against",
}
COMPOSE_NEVER = {
    "SHARDRIVE_NUM_SHARDS": "there are two shards in the file",
    "SHARDRIVE_TLS_CERT_FILE": "needs a volume: an override file",
    "SHARDRIVE_TLS_KEY_FILE": "needs a volume: an override file",
    "SHARDRIVE_AUTH_CA_FILE": "needs a volume: an override file",
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "needs a volume: an override file",
    "SHARDRIVE_REDIS_CA_FILE": "needs a volume: an override file",
    "SHARDRIVE_EVENTS_CA_FILE": "needs a volume: an override file",
}
# Names without the prefix, which people type into .env: Compose hands on both forms.
SHORT = {"DB_POOL_MIN_SIZE", "DB_POOL_MAX_SIZE", "CACHE_TTL", "RUST_LOG"}
COMPOSE_OWN = {"SHARDRIVE_BIND_ADDR", "SHARDRIVE_REDIS_URL"}
# An empty one is refused by the program: Compose must hand on what is set, and nothing else.
PROTECTIONS = {name for name in NAMES if name.startswith(("SHARDRIVE_AUTH_", "SHARDRIVE_RATE_LIMIT_"))} | {"SHARDRIVE_MAX_BULK_LOADS_PER_CALLER"}


def given(values: dict) -> dict[str, str]:
    """What the chart's API is given by these values."""
    objects = made(values)
    deployment = next(found for found in objects if found["kind"] == "Deployment"
                      and found["metadata"]["labels"]["app.kubernetes.io/component"] == "api")
    return settings_of(objects, deployment["spec"]["template"]["spec"]["containers"][0])


class Settings(unittest.TestCase):
    def test_the_lists_are_of_settings_that_there_are(self):
        self.assertGreater(len(NAMES), 40)
        for name in {*CHART_VALUES, *CHART_SECRETS, *CHART_NEVER, *COMPOSE_NEVER, *COMPOSE_OWN}:
            self.assertIn(name, NAMES)
        self.assertEqual(SECRETS, {*CHART_SECRETS, "SHARDRIVE_AUTH_SECRET"}, "a new secret needs its value in the chart")

    def test_the_chart_makes_every_setting(self):
        plain = {name: "some" for name in NAMES - set(CHART_VALUES) - set(CHART_NEVER)}
        found = given({"settings": plain})
        self.assertEqual(plain, {name: found.get(name) for name in plain})
        for name, (values, variable) in CHART_VALUES.items():
            with self.subTest(name):
                self.assertIn(variable, given(values))
        for name, value in CHART_SECRETS.items():
            with self.subTest(name):
                found = given({"secrets": {value: ANYTHING}})
                self.assertIn(f"{name}_FILE", found)
                self.assertNotIn(name, found)
        shard = {"existingSecret": ANYTHING, "replicasSecret": ANYTHING}
        self.assertLessEqual(SHARD, set(given({"shards": [shard]})))

    def test_the_schema_knows_every_setting_and_no_other(self):
        schema = json.loads((ROOT / "charts/shardrive/values.schema.json").read_text())
        named = schema["properties"]["settings"]["propertyNames"]["enum"]
        self.assertEqual(named, sorted(NAMES - set(CHART_NEVER) - (set(CHART_VALUES))))

    def test_the_chart_refuses_what_other_values_make(self):
        for name in [*CHART_VALUES, *CHART_NEVER]:
            with self.subTest(name), self.assertRaisesRegex(AssertionError, "values don't meet the specifications"):
                made({"settings": {name: "some"}})

    def test_the_manifests_show_how_each_secret_and_file_goes_in(self):
        # All others stand in the ConfigMap, which takes whatever there is.
        shown = set()
        for where, objects in renderings().items():
            if where.startswith("k8s/"):
                deployment = next(found for name, found in api() if name.startswith(f"{where}:"))
                shown |= set(settings_of(objects, deployment["spec"]["template"]["spec"]["containers"][0]))
        files = {name for name in NAMES if name.endswith(("_FILE", "_CERTIFICATE"))} | {f"{name}_FILE" for name in SECRETS}
        self.assertLessEqual(files, shown)

    def test_docker_compose_hands_on_every_setting(self):
        services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
        environment = services["api"]["environment"]
        for name in sorted(NAMES - set(COMPOSE_NEVER)):
            with self.subTest(name):
                self.assertIn(name, environment)
                # Of whoever runs it, and not of the file: at the program's own default unless it is set.
                default = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", EXAMPLE, re.M)).get(name, "")
                if name in PROTECTIONS:
                    self.assertIsNone(environment[name])
                    continue
                wanted = rf"\$\{{{name}:-({re.escape(default)})?\}}"
                if name not in COMPOSE_OWN:
                    self.assertRegex(environment[name], f"^{wanted}$")
        for name in SHORT:
            self.assertEqual(environment[name], f"${{{name}:-}}")
        self.assertLessEqual({name for name in environment if not re.match(r"SHARDRIVE_SHARD_\d", name)}, NAMES | SHORT)
        # Without sign-in only this machine may call.
        self.assertEqual(services["api"]["ports"], ["${API_BIND:-127.0.0.1}:${API_PORT:-8000}:8000"])


if __name__ == "__main__":
    unittest.main()
