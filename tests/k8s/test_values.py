"""Which values the chart takes and which it refuses: a wrong one is refused by its name, before anything is made."""

import unittest

from test_chart import made

KEY = {"name": "urls", "key": "zero"}
BY_SCHEMA = "values don't meet the specifications"

# What is wrong, the values, and the words of the refusal that lead to the value.
WRONG = [
    ("an unknown value", {"replicas": 3}, "'replicas'"),
    ("no shard", {"shards": []}, "'/shards'"),
    ("a secret among the settings", {"settings": {"SHARDRIVE_AUTH_SECRET": "x"}}, "'SHARDRIVE_AUTH_SECRET'"),
    ("a shard's URL among the settings", {"settings": {"SHARDRIVE_SHARD_0_URL": "postgres://u:p@h/d"}}, "'SHARDRIVE_SHARD_0_URL'"),
    ("a password among the settings", {"settings": {"SHARDRIVE_EVENTS_URL": "nats://me:secret@host"}}, "'/settings/SHARDRIVE_EVENTS_URL'"),
    ("a file that nobody mounts", {"settings": {"SHARDRIVE_TLS_CERT_FILE": "/cert.pem"}}, "'SHARDRIVE_TLS_CERT_FILE'"),
    ("a drain that is set twice", {"settings": {"SHARDRIVE_DRAIN_DELAY_S": "1"}}, "'SHARDRIVE_DRAIN_DELAY_S'"),
    ("a misspelt setting", {"settings": {"RATE_LIMITS": "1"}}, "'RATE_LIMITS'"),
    ("a number as a setting", {"settings": {"SHARDRIVE_HTTP_WORKERS": 2}}, "'/settings/SHARDRIVE_HTTP_WORKERS'"),
    ("standbys of a cluster by a Secret", {"shards": [{"replicasSecret": KEY}]}, "'/shards/0'"),
    ("a CA of a cluster", {"shards": [{"ca": KEY}]}, "'/shards/0'"),
    ("a secret without its key", {"shards": [{"existingSecret": {"name": "urls"}}]}, "'/shards/0/existingSecret'"),
    ("no log for moves", {"cluster": {"parameters": {"wal_level": "replica"}}}, "'/cluster/parameters/wal_level'"),
    ("no time to end", {"graceSeconds": 0}, "'/graceSeconds'"),
    ("words for a number", {"replicaCount": "three"}, "'/replicaCount'"),
    ("a number for a name", {"fullnameOverride": 7}, "'/fullnameOverride'"),
    ("a name that no object may have", {"nameOverride": "My_Drive"}, "'/nameOverride'"),
    ("a label of the chart's own", {"podLabels": {"app.kubernetes.io/name": "x"}}, "'/podLabels'"),
    ("a label that is no text", {"commonLabels": {"example.org/a": 7}}, "'/commonLabels/example.org~1a'"),
    ("an account that is a name", {"serviceAccount": "drive"}, "'/serviceAccount'"),
    ("an account's unknown field", {"serviceAccount": {"annotation": {}}}, "'annotation'"),
    ("a map of variables", {"extraEnv": {"A": "b"}}, "'/extraEnv'"),
    ("a number as a variable", {"extraEnv": [{"name": "A", "value": 7}]}, "'/extraEnv/0/value'"),
    ("a variable of the chart's own", {"extraEnv": [{"name": "SHARDRIVE_BIND_ADDR", "value": ":1"}]}, "'/extraEnv/0/name'"),
    ("a volume without a name", {"extraVolumes": [{"emptyDir": {}}]}, "'/extraVolumes/0'"),
    ("a mount without a place", {"extraVolumeMounts": [{"name": "a"}]}, "'/extraVolumeMounts/0'"),
    ("an init container without a name", {"initContainers": [{"image": "a"}]}, "'/initContainers/0'"),
    ("a constraint without a key", {"topologySpreadConstraints": [{"maxSkew": 1}]}, "'/topologySpreadConstraints/0'"),
    ("a number as an annotation", {"service": {"annotations": {"a": 1}}}, "'/service/annotations/a'"),
    ("an unknown kind of Service", {"service": {"type": "ExternalName"}}, "'/service/type'"),
    ("an ingress to nowhere", {"ingress": {"enabled": True}}, "'/ingress/hosts'"),
    ("an ingress of a single host", {"ingress": {"host": "a.example.org"}}, "'host'"),
    ("a path without a slash", {"ingress": {"hosts": [{"host": "a", "paths": ["files"]}]}}, "'/ingress/hosts/0/paths/0'"),
    ("a route without a gateway", {"httpRoute": {"enabled": True}}, "'/httpRoute/parentRefs'"),
    ("no path", {"publicPaths": []}, "'/publicPaths'"),
    ("secrets of no store", {"externalSecrets": {"secrets": {"urls": {"a": {"key": "b"}}}}}, "'/externalSecrets/store'"),
    ("a secret from nowhere", {"externalSecrets": {"secrets": {"urls": {"a": {}}}}}, "'/externalSecrets/secrets/urls/a'"),
    ("peers that are addresses", {"networkPolicy": {"dns": ["10.0.0.10"]}}, "'/networkPolicy/dns/0'"),
    ("a word for a switch", {"monitoring": {"dashboard": {"enabled": "yes"}}}, "'/monitoring/dashboard/enabled'"),
    ("no pod may ever be away", {"podDisruptionBudget": {"maxUnavailable": 0}}, "'/podDisruptionBudget/maxUnavailable'"),
    ("an image's secret in its old place", {"image": {"pullSecrets": []}}, "'pullSecrets'"),
]


class Values(unittest.TestCase):
    def test_wrong_values_are_refused_by_their_name(self):
        for what, values, words in WRONG:
            with self.subTest(what):
                with self.assertRaises(AssertionError) as refused:
                    made(values)
                self.assertIn(BY_SCHEMA, str(refused.exception))
                self.assertIn(words, str(refused.exception))

    def test_a_way_in_that_the_network_policy_shuts_is_refused(self):
        for values in (
            {"ingress": {"enabled": True, "hosts": [{"host": "a.example.org"}]}},
            {"httpRoute": {"enabled": True, "parentRefs": [{"name": "public"}]}},
            {"service": {"type": "LoadBalancer"}},
        ):
            with self.subTest(next(iter(values))):
                with self.assertRaisesRegex(AssertionError, "networkPolicy.from is empty"):
                    made(values)
                made(values | {"networkPolicy": {"enabled": False}})
                made(values | {"networkPolicy": {"from": [{"podSelector": {}}]}})
