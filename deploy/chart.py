"""Looks at the Helm chart with helm and kubeconform, and writes the manifests that it makes into deploy/kubernetes.

    make chart

Both tools are built with Go where they are not on the path. Schemas of Kubernetes are those that PyPI's
kubernetes-validate brings. Who has no Helm takes the manifests; a test holds that they are this chart's.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from nextclick.bench.other_tools import NoTool, Tool, find_or_build

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy/helm/nextclick"
MANIFESTS = ROOT / "deploy/kubernetes"
VALUES = {"small": CHART / "values.yaml", "whole": ROOT / "deploy/helm/whole.yaml"}
VERSION = "1.31.0"
HELM = Tool("helm", "helm.sh/helm/v3/cmd/helm", "v3.22.0", of="helm.sh/helm/v3")
KUBECONFORM = Tool(
    "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "v0.8.0", of="github.com/yannh/kubeconform"
)
SCHEMAS = "kubernetes-validate==1.37.0"
_PACKED = f"kubernetes_validate/kubernetes-json-schema/v{VERSION}-local-strict/"
_OPERATORS = "PodMonitor,PrometheusRule"
"""Kinds that Kubernetes itself does not know."""


def digest() -> str:
    """Return what tells one state of the chart, and of the values that are rendered, from another."""
    whole = hashlib.sha256()
    for path in sorted({*CHART.rglob("*"), *VALUES.values()}):
        if path.is_file():
            whole.update(f"{path.relative_to(ROOT)} {len(path.read_bytes())}\n".encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def _schemas(folder: Path) -> str:
    uv = os.environ.get("UV", "uv")
    subprocess.run(
        [uv, "pip", "install", "-q", "--no-deps", "--link-mode", "copy", "--target", str(folder), SCHEMAS], check=True
    )
    inside = folder / _PACKED
    for path in inside.glob(
        "*.json"
    ):  # copies, as what is linked is uv's own; they name their definitions by an address of their own
        path.write_text(path.read_text().replace('"/api/_definitions.json', f'"file://{inside}/_definitions.json'))
    return f"{inside}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"


def main() -> int:
    try:
        helm, kubeconform = find_or_build(HELM, within_s=600), find_or_build(KUBECONFORM, within_s=600)
    except NoTool as error:
        sys.stderr.write(f"the chart was not looked at: {error}\n")
        return 1
    MANIFESTS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        schemas = _schemas(Path(folder))
        for name, values in VALUES.items():
            subprocess.run([helm, "lint", "--strict", str(CHART), "-f", str(values)], check=True)
            command = [helm, "template", "nextclick", str(CHART), "--kube-version", VERSION, "-f", str(values)]
            made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            path = MANIFESTS / f"{name}.yaml"
            path.write_text(f"# made by `make chart` of chart {digest()}; change that\n{made}")
            looks = ["-strict", "-summary", "-schema-location", schemas, "-skip", _OPERATORS]
            subprocess.run([kubeconform, *looks, str(path)], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
