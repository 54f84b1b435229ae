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
from retrieval.share import Share, addresses_of, settings_of
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


def containers(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Return every container, with the name of what runs its pod."""
    return [(part, container) for part, pod in pods(name).items() for container in pod["spec"]["containers"]]


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
        for container in spec["containers"]:
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
    for part, container in containers(name):
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
    gateway, *_ = pods(name)["gateway"]["spec"]["containers"]
    assert gateway["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


@pytest.mark.parametrize("name", VALUES)
def test_every_setting_is_one_and_takes_its_value(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    [config] = [found["data"] for found in manifests(name) if found["kind"] == "ConfigMap"]
    gateway, *_ = pods(name)["gateway"]["spec"]["containers"]
    given = {**config, **{one["name"]: one["value"] for one in gateway["env"]}}
    ours = {key: value for key, value in given.items() if key.startswith("NEXTCLICK_") and "KERNEL_CACHE" not in key}
    assert [key for key in ours if not (setting(GatewaySettings, key) or setting(ServiceSettings, key))] == []
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    settings = GatewaySettings()
    assert (settings.log.kind, settings.gateway.port, settings.gateway.keys) == ("kafka", 8080, "required")
    assert settings.metrics.port == 9400
    for _, container in containers(name):
        for one in container.get("env", []):
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


def test_shards_of_the_index_are_in_each_gateways_pod_with_sockets_ports_and_snapshots_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [name for part, one in containers("small") if (name := one["name"]) != part] == []  # off by default
    spec = pods("whole")["gateway"]["spec"]
    gateway, *shards, _ = spec["containers"]
    assert [one["name"] for one in shards] == ["index-shard-0", "index-shard-1"]
    [config] = [found["data"] for found in manifests("whole") if found["kind"] == "ConfigMap"]
    for key in (key for key in config if key.startswith("NEXTCLICK_INDEX__")):
        monkeypatch.setenv(key, config[key])
    index = ServiceSettings().index
    assert (index.shards, addresses_of(index)) == (2, ["unix:/shards/0.sock", "unix:/shards/1.sock"])
    places = {one["mountPath"]: one for one in shards[0]["volumeMounts"]}
    assert {"name": "shards", "mountPath": "/shards"} in gateway["volumeMounts"]
    assert {"name": "shards", "emptyDir": {}} in spec["volumes"]
    assert [volume["name"] for volume in spec["volumes"]].count("shards") == 1
    assert "readOnly" not in places["/shards"]
    assert Path(settings_of(Share(0, 2), index).folder).parent == Path("/index")  # in the volume, not beside it
    assert places["/index"]["readOnly"] is True
    ports = []
    for shard, one in enumerate(shards):
        assert one["command"] == ["python", "-m", "retrieval.shard", str(shard)]
        *_, module, address = one["readinessProbe"]["exec"]["command"]
        assert (find_spec(module) is not None, address) == (True, addresses_of(index)[shard])
        [port] = one["ports"]
        assert one["env"] == [{"name": "NEXTCLICK_METRICS__PORT", "value": str(port["containerPort"])}]
        ports.append((port["name"], port["containerPort"]))
    assert ports == [("shard-0", 9400), ("shard-1", 9401)]
    made = {found["kind"] + found["metadata"]["name"]: found["spec"] for found in manifests("whole") if "spec" in found}
    endpoints = {one["port"]: one["relabelings"] for one in made["PodMonitornextclick"]["podMetricsEndpoints"]}
    for name, _ in ports:  # no gateways: alerts count those
        assert endpoints[name] == [{"targetLabel": "job", "replacement": "processes"}]
    watched = made["NetworkPolicynextclick-nothing-else"]["ingress"][1]["ports"]
    assert watched == [{"port": 9400, "endPort": 9401}, {"port": 9464}, {"port": 8080}]


def test_a_relay_is_beside_the_processes_of_a_gateways_pod_on_a_socket_of_theirs_alone() -> None:
    spec = pods("whole")["gateway"]["spec"]
    gateway, *_, relay = spec["containers"]
    assert (relay["name"], relay["command"]) == ("relay", ["python", "-m", "state.relay"])
    given, own = ({one["name"]: one["value"] for one in container["env"]} for container in (gateway, relay))
    assert int(given["NEXTCLICK_GATEWAY__PROCESSES"]) > 1
    socket = given["NEXTCLICK_RELAY__SOCKET"]
    assert own["NEXTCLICK_RELAY__SOCKET"] == socket
    mount = {"name": "relay", "mountPath": str(Path(socket).parent)}
    assert [container["name"] for container in spec["containers"] if mount in container["volumeMounts"]] == [
        *("gateway", "relay")
    ]
    assert own["NEXTCLICK_RELAY__MEMORY"] == mount["mountPath"]
    assert {"name": "relay", "emptyDir": {"medium": "Memory", "sizeLimit": "512Mi"}} in spec["volumes"]
    [port] = relay["ports"]
    assert port == {"name": "relay", "containerPort": int(own["NEXTCLICK_METRICS__PORT"])}
    assert port["containerPort"] > 9400 + 63  # as many shards as there may be
    [monitor] = [found["spec"] for found in manifests("whole") if found["kind"] == "PodMonitor"]
    endpoints = {one["port"]: one["relabelings"] for one in monitor["podMetricsEndpoints"]}
    assert endpoints["relay"] == [{"targetLabel": "job", "replacement": "processes"}]
    assert "readinessProbe" not in relay  # a gateway goes on without one


def test_a_builder_is_started_again_when_the_number_of_shards_changes() -> None:
    checksums = {part: pod["metadata"].get("annotations") for part, pod in pods("whole").items()}
    assert checksums["judge"] == checksums["items"]  # of settings alone
    assert checksums["index"] != checksums["judge"]


def test_a_shard_or_a_relay_answers_for_longer_than_its_gateway_asks() -> None:
    spec = pods("whole")["gateway"]["spec"]
    gateway, *beside = spec["containers"]
    [leaves] = [one["value"] for one in gateway["env"] if one["name"] == "NEXTCLICK_GATEWAY__LEAVE_S"]
    fields = GatewayOptions.model_fields
    asks = float(leaves) + fields["keepalive_grace_s"].default + fields["drain_s"].default
    for one in beside:
        sleep, stays = one["lifecycle"]["preStop"]["exec"]["command"]
        assert sleep == "sleep"
        assert asks < float(stays) < spec["terminationGracePeriodSeconds"]
