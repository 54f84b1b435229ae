"""The Helm chart, by the manifests that it makes: what runs, as whom, what is asked of it, and that they are its."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.settings import ServiceSettings
from deploy.chart import MANIFESTS, VALUES, digest
from flows.settings import FlowSettings
from gateway.settings import GatewayOptions, GatewaySettings
from nextclick.stack.flow_workers import FLOWS
from nextclick.stack.settings import StackSettings
from tests.test_compose import setting

ROOT = Path(__file__).parents[1]


def manifests(name: str) -> list[dict[str, Any]]:
    return [found for found in yaml.safe_load_all((MANIFESTS / f"{name}.yaml").read_text()) if found]


def pods(name: str) -> dict[str, dict[str, Any]]:
    """Return the pods that run, by the name of what runs them."""
    found = {}
    for made in manifests(name):
        spec = made.get("spec", {})
        spec = spec["jobTemplate"]["spec"] if made["kind"] == "CronJob" else spec
        if "template" in spec:
            found[made["metadata"]["name"].removeprefix("nextclick-")] = spec["template"]
    return found


@pytest.mark.parametrize("name", VALUES)
def test_the_manifests_are_those_of_this_chart(name: str) -> None:
    first = (MANIFESTS / f"{name}.yaml").read_text().split("\n", 1)[0]
    assert first == f"# made by `make chart` of chart {digest()}; change that"


def test_the_small_form_runs_what_answers_need_and_the_whole_one_everything() -> None:
    assert set(pods("small")) == {"gateway", "sessions", "items", "trends", "profiles"}
    assert set(pods("whole")) == {"gateway", "index", "judge", "feeds", "retraining", *FLOWS}


@pytest.mark.parametrize("name", VALUES)
def test_nothing_runs_as_root_writes_its_image_or_takes_all_memory(name: str) -> None:
    for part, pod in pods(name).items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, part
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, part
        assert spec["automountServiceAccountToken"] is False, part
        [container] = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, part
        assert "memory" in container["resources"]["limits"], part
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        claimed = {"state", "feeds"}  # by claims of the set itself
        assert mounted <= {volume["name"] for volume in spec["volumes"]} | claimed, part
        assert {"tmp", "kernels"} <= mounted, part


@pytest.mark.parametrize("name", VALUES)
def test_every_command_is_one_that_runs_and_every_process_that_stays_is_probed(name: str) -> None:
    for part, pod in pods(name).items():
        [container] = pod["spec"]["containers"]
        python, flag, module, *rest = container["command"]
        assert (python, flag) == ("python", "-m")
        assert find_spec(module) is not None, part
        if rest[:1] == ["flow"]:
            assert rest[1] == part
        if part == "retraining":
            continue
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        probes = [container["startupProbe"], container["livenessProbe"]]
        assert all(probe["httpGet"]["port"] in ports for probe in probes), part
    gateway = pods(name)["gateway"]["spec"]["containers"][0]
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


@pytest.mark.parametrize("name", VALUES)
def test_every_setting_is_one_and_takes_its_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [config] = [found["data"] for found in manifests(name) if found["kind"] == "ConfigMap"]
    [gateway] = pods(name)["gateway"]["spec"]["containers"]
    given = {**config, **{one["name"]: one["value"] for one in gateway["env"]}}
    ours = {key: value for key, value in given.items() if key.startswith("NEXTCLICK_") and "KERNEL_CACHE" not in key}
    assert [key for key in ours if not (setting(GatewaySettings, key) or setting(ServiceSettings, key))] == []
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    settings = GatewaySettings()
    assert (settings.log.kind, settings.gateway.port, settings.gateway.keys) == ("kafka", 8080, "required")
    assert settings.metrics.port == 9400
    for part in pods(name).values():
        for one in part["spec"]["containers"][0].get("env", []):
            assert any(setting(of, one["name"]) for of in (GatewaySettings, StackSettings, FlowSettings)), one


def test_pods_of_trends_are_one_cluster_and_those_of_other_flows_scale_by_how_far_they_are_behind() -> None:
    assert "env" not in pods("small")["trends"]["spec"]["containers"][0]
    index, addresses = pods("whole")["trends"]["spec"]["containers"][0]["env"]
    assert index["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    assert addresses["value"] == "nextclick-trends-0.nextclick-flows:2101,nextclick-trends-1.nextclick-flows:2101"
    made = {(one["kind"], one["metadata"]["name"]): one.get("spec", {}) for one in manifests("whole")}
    assert made["StatefulSet", "nextclick-trends"]["replicas"] == 2
    assert made["StatefulSet", "nextclick-items"]["replicas"] == 1
    assert "replicas" not in made["StatefulSet", "nextclick-sessions"]
    scaled = made["HorizontalPodAutoscaler", "nextclick-sessions"]
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (2, 8)
    [metric] = scaled["metrics"]
    assert metric["external"]["metric"]["selector"] == {"matchLabels": {"flow": "sessions"}}


def test_a_gateway_leaves_before_it_is_killed_and_no_two_go_at_once() -> None:
    pod = pods("small")["gateway"]
    [leaves] = [
        one["value"] for one in pod["spec"]["containers"][0]["env"] if one["name"] == "NEXTCLICK_GATEWAY__LEAVE_S"
    ]
    fields = GatewayOptions.model_fields
    drains = float(leaves) + fields["keepalive_grace_s"].default + fields["drain_s"].default
    assert drains < pod["spec"]["terminationGracePeriodSeconds"]
    [rolling] = [
        found["spec"]["strategy"]
        for found in manifests("small")
        if found["metadata"]["name"] == "nextclick-gateway" and found["kind"] == "Deployment"
    ]
    assert rolling == {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    [budget] = [found["spec"] for found in manifests("small") if found["kind"] == "PodDisruptionBudget"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


@pytest.mark.parametrize("name", VALUES)
def test_services_policies_and_budgets_find_their_pods(name: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(name).values()]
    for found in manifests(name):
        spec = found.get("spec", {})
        wanted = spec.get("podSelector", spec.get("selector"))
        if wanted is not None:
            wanted = wanted.get("matchLabels", wanted)
            assert any(wanted.items() <= one.items() for one in labels), found["metadata"]["name"]


def test_the_whole_form_scales_on_processor_time_and_p99_and_closes_the_console() -> None:
    made = {(found["kind"], found["metadata"]["name"]): found for found in manifests("whole")}
    scaling = made["HorizontalPodAutoscaler", "nextclick-gateway"]["spec"]
    assert [metric["type"] for metric in scaling["metrics"]] == ["Resource", "External"]
    assert scaling["metrics"][1]["external"]["target"] == {"type": "Value", "value": "100m"}
    assert "replicas" not in made["Deployment", "nextclick-gateway"]["spec"]
    paths = made["Ingress", "nextclick-gateway"]["spec"]["rules"][0]["http"]["paths"]
    assert [path["path"] for path in paths] == ["/api", "/tag"]


def test_rules_of_alerts_are_those_of_the_repository() -> None:
    [rules] = [found["spec"] for found in manifests("whole") if found["kind"] == "PrometheusRule"]
    assert rules == yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())
