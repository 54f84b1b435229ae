"""docker-compose.yml says what the code can do: its commands, settings, ports and files exist and agree."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from pydantic import BaseModel

from compiled.cache import VARIABLE as KERNEL_CACHE
from contracts.settings import RedisSettings, ServiceSettings
from flows.settings import FlowSettings
from gateway.exposure import expect_guarded
from gateway.settings import GatewaySettings
from nextclick.stack.flow_workers import FLOWS
from nextclick.stack.settings import StackSettings
from retrieval.share import Share, addresses_of, settings_of

ROOT = Path(__file__).parents[1]
SETTINGS: dict[str, type[ServiceSettings]] = {
    "sessions": FlowSettings,
    "items": FlowSettings,
    "trends": FlowSettings,
    "gateway": GatewaySettings,
    "judge": ServiceSettings,
    "index": ServiceSettings,
    "index-shard-0": ServiceSettings,
    "index-shard-1": ServiceSettings,
    "relay": ServiceSettings,
    "feeds": StackSettings,
}
BESIDE = {"index", "index-shard-0", "index-shard-1", "relay", "feeds"}


def interpolated(text: str, **given: str) -> str:
    """Replace ${NAME:-default} by what is given, or the default, as compose does."""
    return re.sub(r"\$\{([A-Z_]+):-([^}]*)\}", lambda found: given.get(found[1], found[2]), text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = interpolated((ROOT / "docker-compose.yml").read_text())
    assert "$" not in text.replace("$$", ""), "every variable has a default; $$ is a dollar of the shell's"
    found: dict[str, Any] = yaml.safe_load(text)
    return found


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


def words(service: dict[str, Any]) -> list[str]:
    """Return the command's words, a shell's script among them."""
    command = service["command"]
    return [word for part in command for word in (shlex.split(part) if " " in part else [part])]


def modules(service: dict[str, Any]) -> Iterator[str]:
    found = words(service)
    for at, word in enumerate(found):
        if word == "-m":
            yield found[at + 1]


def test_it_has_every_part_of_the_stack(services: dict[str, Any]) -> None:
    flows = {"sessions", "items", "trends", "profiles", "attribution", "quality"}
    assert set(services) == {"kafka", "redis", "gateway", "judge", "prometheus", "grafana", *BESIDE, *flows}


def test_every_service_is_watched_bounded_and_no_root(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["healthcheck"]["test"][0] == "CMD", name
        limits = service["deploy"]["resources"]["limits"]
        assert re.fullmatch(r"[1-9]\d*[mg]", limits["memory"]), name
        assert float(limits["cpus"]) >= 1, name
        assert service["user"].split(":")[0] not in ("", "0", "root"), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_redis_may_hold_half_of_what_its_container_may_take(services: dict[str, Any]) -> None:
    found = words(services["redis"])
    assert found[found.index("--maxmemory") + 1] == "2gb"
    assert services["redis"]["deploy"]["resources"]["limits"]["memory"] == "4g"


def test_grafana_finds_the_dashboards_and_prometheus(services: dict[str, Any]) -> None:
    grafana, provisioning = services["grafana"], ROOT / "deploy/grafana/provisioning"
    mounted = dict(mount.split(":")[:2] for mount in grafana["volumes"])
    assert mounted["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    [provider] = yaml.safe_load((provisioning / "dashboards/nextclick.yml").read_text())["providers"]
    assert provider["options"]["path"] == mounted["./deploy/grafana/dashboards"]
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(mounted["./deploy/grafana/dashboards"])
    assert (ROOT / "deploy/grafana/dashboards" / home.name).is_file()
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert (source["url"], source["uid"]) == ("${PROMETHEUS_URL}", "nextclick")
    address = urlsplit(grafana["environment"]["PROMETHEUS_URL"])
    assert address.hostname in services
    assert services["prometheus"]["ports"][0].endswith(f":{address.port}")
    for name in ("prometheus", "grafana"):
        assert services[name]["ports"][0].startswith("127.0.0.1:")


@pytest.mark.parametrize("name", SETTINGS)
def test_all_of_ours_run_the_same_image(services: dict[str, Any], name: str) -> None:
    assert services[name]["image"] == "nextclick"
    assert (ROOT / services[name]["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", SETTINGS)
def test_every_command_names_a_module_that_can_be_run(services: dict[str, Any], name: str) -> None:
    named = list(modules(services[name]))
    assert named
    for module in named:
        spec = find_spec(module)
        assert spec is not None, module
        runnable = find_spec(f"{module}.__main__") if spec.submodule_search_locations else spec
        assert runnable is not None
        assert runnable.origin is not None
        assert '__name__ == "__main__"' in Path(runnable.origin).read_text(), module


@pytest.mark.parametrize("name", ["sessions", "items", "trends", "profiles", "attribution", "quality"])
def test_every_flow_is_one_that_the_command_runs(services: dict[str, Any], name: str) -> None:
    found = words(services[name])
    assert found[found.index("flow") + 1] == name
    assert name in FLOWS


def setting(settings: type[BaseModel], variable: str) -> bool:
    """Say whether an environment variable is a setting of the class."""
    model: Any = settings
    for part in variable.removeprefix("NEXTCLICK_").lower().split("__"):
        if not (isinstance(model, type) and issubclass(model, BaseModel)) or part not in model.model_fields:
            return False
        model = model.model_fields[part].annotation
    return not (isinstance(model, type) and issubclass(model, BaseModel))


def test_a_variable_that_is_no_setting_would_be_noticed() -> None:
    assert setting(GatewaySettings, "NEXTCLICK_GATEWAY__PORT")
    assert not setting(GatewaySettings, "NEXTCLICK_GATEWAY__PRT")
    assert not setting(FlowSettings, "NEXTCLICK_GATEWAY__PORT")
    assert not setting(FlowSettings, "NEXTCLICK_LOG")


@pytest.mark.parametrize("name", SETTINGS)
def test_every_variable_is_a_setting_that_takes_its_value(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, str] = services[name]["environment"]
    ours = {variable: value for variable, value in environment.items() if variable.startswith("NEXTCLICK_")}
    assert ours.pop(KERNEL_CACHE) == "/kernels"  # read before any setting is
    assert [variable for variable in ours if not setting(SETTINGS[name], variable)] == []
    for variable, value in ours.items():
        assert isinstance(value, str), f"{variable}: quote it"
        monkeypatch.setenv(variable, value)

    settings = SETTINGS[name]()

    assert (settings.log.kind, settings.log.kafka, settings.log.partitions) == ("kafka", "kafka:9092", 8)
    assert settings.redis.url == "redis://redis:6379/0"


def test_addresses_name_services_and_the_ports_that_they_listen_on(services: dict[str, Any]) -> None:
    environment, kafka = services["gateway"]["environment"], services["kafka"]["environment"]
    assert kafka["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{environment['NEXTCLICK_LOG__KAFKA']}"
    assert "PLAINTEXT://:9092" in kafka["KAFKA_LISTENERS"].split(",")
    assert "CONTROLLER://:9093" in kafka["KAFKA_LISTENERS"].split(",")
    assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"] == "1@kafka:9093"
    redis = urlsplit(environment["NEXTCLICK_REDIS__URL"])
    assert (redis.hostname, redis.port) == ("redis", 6379)
    assert "redis" in services


def test_the_gateways_port_is_the_one_published_probed_and_scraped(services: dict[str, Any]) -> None:
    gateway = services["gateway"]
    port = gateway["environment"]["NEXTCLICK_GATEWAY__PORT"]
    assert gateway["environment"]["NEXTCLICK_GATEWAY__HOST"] == "0.0.0.0"
    assert [published.rpartition(":")[2] for published in gateway["ports"]] == [port]
    assert f":{port}/readyz" in gateway["healthcheck"]["test"][-1]
    job, *_ = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    assert [(found["names"], str(found["port"])) for found in job["dns_sd_configs"]] == [(["gateway"], port)]
    assert job["metrics_path"] == "/metrics"
    [keys] = [mount for mount in services["prometheus"]["volumes"] if "keys" in mount]
    assert job["authorization"]["credentials_file"] == f"{keys.split(':')[1]}/metrics"


def test_the_gateway_that_others_reach_asks_for_keys_and_may_start_before_there_is_one(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in services["gateway"]["environment"].items():
        monkeypatch.setenv(variable, value)
    options = GatewaySettings().gateway
    assert (options.host, options.keys, options.asks_keys) == ("0.0.0.0", "required", True)
    expect_guarded(options, RedisSettings(url="redis://127.0.0.1:1"))


def test_the_metrics_of_all_other_processes_are_scraped_and_probed_where_they_are_served(
    services: dict[str, Any],
) -> None:
    _, flows, others = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
    [of_flows], [of_others] = flows["dns_sd_configs"], others["dns_sd_configs"]
    assert of_flows["names"] == ["sessions", "items", "trends", "profiles", "attribution", "quality"]
    ours = {name for name, service in services.items() if service["image"] == "nextclick"}
    assert {*of_flows["names"], *of_others["names"], "gateway"} == ours
    for name in ours - {"gateway"}:
        environment = services[name]["environment"]
        assert int(environment["NEXTCLICK_METRICS__PORT"]) == of_flows["port"] == of_others["port"]
        assert environment["NEXTCLICK_METRICS__HOST"] == "0.0.0.0"
        assert f":{of_flows['port']}/metrics" in services[name]["healthcheck"]["test"][-1]


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-machine.yml"])
def test_prometheus_takes_its_configuration(name: str, tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here: Debian's package prometheus has it")
    written = (ROOT / "deploy" / name).read_text().replace("/etc/prometheus/keys/metrics", str(tmp_path / "key"))
    (tmp_path / "key").write_text("ncs_...")
    (tmp_path / name).write_text(written)
    shutil.copy(ROOT / "deploy/alerts.yml", tmp_path)
    done = subprocess.run(
        [promtool, "check", "config", str(tmp_path / name)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_shards_of_the_index_are_asked_where_they_listen_and_start_from_snapshots_of_the_volume(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("#   COMPOSE_PROFILES=index,shards ")]
    given = dict(word.split("=") for word in line.split() if "=" in word)
    assert given.pop("COMPOSE_PROFILES") == "index,shards"
    asked, shards = yaml.safe_load(interpolated(text, **given))["services"], ["index-shard-0", "index-shard-1"]
    for name in ("gateway", "index", *shards):
        for variable, value in asked[name]["environment"].items():
            monkeypatch.setenv(variable, value)
        index = ServiceSettings().index
        assert (index.shards, index.folder) == (2, "/index/whole"), name
        assert addresses_of(index) == ["unix:/shards/0.sock", "unix:/shards/1.sock"]
        assert Path(settings_of(Share(1, 2), index).folder).parent == Path("/index")
        mounted = {mount.split(":")[1] for mount in asked[name]["volumes"]}
        assert {"/index", "/models", *(["/shards"] if name != "index" else [])} <= mounted, name
    assert [words(asked[name])[-2:] for name in shards] == [["retrieval.shard", "0"], ["retrieval.shard", "1"]]
    assert [asked[name]["profiles"] for name in shards] == [["shards"], ["shards"]]
    [made] = re.findall(r"mkdir -m 700 (.+) \\", (ROOT / "deploy/Dockerfile").read_text())
    assert "/shards" in made.split()  # a new volume belongs to whom the image's folder does
    for variable, value in services["gateway"]["environment"].items():
        monkeypatch.setenv(variable, value)
    assert ServiceSettings().index.shards == 0  # off by default


def test_gateways_read_where_the_relay_listens(services: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    [line] = [line for line in text.splitlines() if line.startswith("#   COMPOSE_PROFILES=relay ")]
    given = dict(word.split("=") for word in line.split() if "=" in word)
    asked = yaml.safe_load(interpolated(text, **given))["services"]
    for name in ("gateway", "relay"):
        socket = Path(asked[name]["environment"]["NEXTCLICK_RELAY__SOCKET"])
        assert f"relay:{socket.parent}" in asked[name]["volumes"], name
        assert socket == Path("/relay/relay.sock"), name
    assert (asked["relay"]["profiles"], words(asked["relay"])[-1]) == (["relay"], "state.relay")
    [made] = re.findall(r"mkdir -m 700 (.+) \\", (ROOT / "deploy/Dockerfile").read_text())
    assert "/relay" in made.split()
    assert services["gateway"]["environment"]["NEXTCLICK_RELAY__SOCKET"] == ""  # off by default


def test_the_same_images_scale_by_a_number() -> None:
    raw = (ROOT / "docker-compose.yml").read_text()
    assert "replicas: ${GATEWAYS:-1}" in raw
    assert '"--workers", "${SESSION_PROCESSES:-1}"' in raw
    assert '- --workers\n      - "${TREND_PROCESSES:-1}"' in raw


def test_services_start_in_an_order_that_exists(services: dict[str, Any]) -> None:
    waits_for = {name: set(service.get("depends_on", [])) for name, service in services.items()}
    order = list(TopologicalSorter(waits_for).static_order())  # raises CycleError
    assert set(order) == set(services)
    for name, service in services.items():
        for other in waits_for[name]:
            needs_health = isinstance(service["depends_on"], dict)
            assert not needs_health or "healthcheck" in services[other], f"{name} waits for the health of {other}"


def test_every_file_and_volume_that_is_mounted_exists(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source}"
            else:
                assert source in compose["volumes"], f"{name}: {source}"


def test_the_trends_flow_recovers_from_a_folder_on_a_volume(services: dict[str, Any]) -> None:
    found = words(services["trends"])
    assert found[found.index("--recovery") + 1] == "/state/trends"
    assert services["trends"]["volumes"] == ["trends:/state", "kernels:/kernels"]


def test_the_image_is_built_from_files_that_exist_and_from_every_package() -> None:
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    copied = [line.split()[1] for line in dockerfile.splitlines() if line.startswith("COPY") and "--from" not in line]
    assert copied == ["requirements/", "."]
    kept = set(re.findall(r"^!(.+)$", (ROOT / "deploy/Dockerfile.dockerignore").read_text(), re.MULTILINE))
    assert all((ROOT / path).exists() for path in kept)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= kept
    lists = {f"requirements/{name}.txt" for name in ("serving", "training", "build")}
    assert lists | {project["project"]["readme"], "pyproject.toml"} <= kept


def test_docker_accepts_the_file() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no docker client with the compose plugin here")
    checked = subprocess.run([docker, "compose", "config", "-q"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_alerts_are_where_prometheus_looks(compose: dict[str, Any]) -> None:
    mounted = " ".join(compose["services"]["prometheus"]["volumes"])
    for name in ("prometheus.yml", "prometheus-machine.yml"):
        assert yaml.safe_load((ROOT / "deploy" / name).read_text())["rule_files"] == ["alerts.yml"]
    assert "./deploy/alerts.yml:/etc/prometheus/alerts.yml" in mounted
