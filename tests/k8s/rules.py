"""Writes alerts and dashboard of observability/ to where Kubernetes takes them from; `test_policy.py` sees that they stay alike."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "observability/prometheus/rules.yml"
DASHBOARD = ROOT / "observability/grafana/dashboards/shardrive.json"
CHART_DASHBOARD = ROOT / "charts/shardrive/files/dashboard.json"
CHART_COPY = ROOT / "charts/shardrive/files/rules.yml"
RESOURCE = ROOT / "k8s/components/monitoring/prometheusrule.yaml"
HEAD = """# Made by `make k8s-rules` from observability/prometheus/rules.yml: change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: shardrive
  labels:
    app.kubernetes.io/name: shardrive
spec:
"""


def resource() -> str:
    lines = [line for line in RULES.read_text().splitlines() if not line.startswith("#")]
    return HEAD + "".join(f"  {line}\n" if line else "\n" for line in lines)


if __name__ == "__main__":
    CHART_COPY.parent.mkdir(parents=True, exist_ok=True)
    CHART_COPY.write_text(RULES.read_text())
    CHART_DASHBOARD.write_text(DASHBOARD.read_text())
    RESOURCE.write_text(resource())
