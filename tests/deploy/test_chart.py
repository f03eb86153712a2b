"""The chart as rendered: restricted pods, rights to the letter, no secret outside of a Secret."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmbcluster.controller.placements import read_placements
from cmbcluster.crypto.keyring import Keyring
from cmbcluster.domain.actors import Tier
from cmbcluster.edge.caddy import STOP_SECONDS
from cmbcluster.runtime.kubernetes.manifests import PORT_NAME
from cmbcluster.runtime.port import Placement
from cmbcluster.settings import PREFIX, Settings

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "cmbcluster"
GOLDEN = Path(__file__).parent / "golden.yaml"
HELM = shutil.which("helm")
GIVEN = {
    "publicUrl": "https://cmb.example.org",
    "environments.workspaceImage": "registry.example.org/workspace:1",
    "secrets.existing": "given",
}
MADE = {name: value for name, value in GIVEN.items() if name != "secrets.existing"} | {
    "secrets.databaseUrl": "postgresql://cmb:hunter2@db/cmb",
    "secrets.redisUrl": "redis://:hunter2@redis:6379/0",
}
WITH_ACCOUNT = {"cmb-cmbcluster-web", "cmb-cmbcluster-controller"}
# The metadata of clouds' machines, what is reserved, and what is meant for tests and examples.
NOT_THE_INTERNET = (
    "169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.19.255.255",
    "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
)  # fmt: skip
GIB = 1024**3
INGRESS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]
Json = dict[str, Any]

pytestmark = pytest.mark.skipif(
    HELM is None and (not os.environ.get("CMB_REQUIRE_ALL") or bool(os.environ.get("CMB_WITHOUT_CLUSTER"))),
    reason="needs helm on PATH to render the chart",
)


def helm(*words: str) -> subprocess.CompletedProcess[str]:
    assert HELM is not None, "helm is not on PATH"
    return subprocess.run([HELM, *words], capture_output=True, text=True, check=False)


def rendered(values: dict[str, str], *more: str) -> str:
    sets = [word for name, value in values.items() for word in ("--set-string", f"{name}={value}")]
    done = helm("template", "cmb", str(CHART), "--namespace", "cmb", "--kube-version", "1.34.0", *sets, *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(values: dict[str, str], *more: str) -> list[Json]:
    return [each for each in yaml.safe_load_all(rendered(values, *more)) if each]


def kinds(found: list[Json], kind: str) -> list[Json]:
    return [each for each in found if each["kind"] == kind]


def pods(found: list[Json]) -> dict[str, Json]:
    made = [*kinds(found, "Deployment"), *kinds(found, "Job")]
    return {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in made}


def test_the_chart_is_well_formed() -> None:
    sets = [word for name, value in GIVEN.items() for word in ("--set", f"{name}={value}")]
    done = helm("lint", "--strict", str(CHART), *sets)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_it_renders_is_what_was_looked_at() -> None:
    text = rendered(GIVEN)
    if os.environ.get("CMB_WRITE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "look at the difference, then write it anew with CMB_WRITE_GOLDEN=1"


def test_every_pod_is_restricted() -> None:
    found = pods(objects(GIVEN))
    assert {name.removeprefix("cmb-cmbcluster-") for name in found} == {"web", "gate", "controller", "edge", "migrate"}
    for name, pod in found.items():
        of_pod = pod["securityContext"]
        assert of_pod["runAsNonRoot"] is True
        assert of_pod["runAsUser"] == 1000
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is (name in WITH_ACCOUNT), name
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]
        assert all(set(volume) <= {"name", "emptyDir", "secret"} for volume in pod["volumes"])


def test_every_role_says_how_it_is_and_ends_in_order() -> None:
    found = objects(GIVEN)
    told = next(each["data"] for each in kinds(found, "ConfigMap") if "CMB_DRAIN_SECONDS" in each["data"])
    longest_seconds = int(told["CMB_LINGER_SECONDS"]) + int(told["CMB_DRAIN_SECONDS"])
    # Until a pod's removal from its Service is known everywhere.
    assert int(told["CMB_LINGER_SECONDS"]) >= 5
    for deployment in kinds(found, "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        container = pod["containers"][0]
        assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "health"}
        assert container["livenessProbe"]["httpGet"] == {"path": "/health/live", "port": "health"}
        assert pod["terminationGracePeriodSeconds"] > longest_seconds + STOP_SECONDS
        assert deployment["spec"]["replicas"] == 2


def test_each_role_may_be_disturbed_one_at_a_time() -> None:
    found = objects(GIVEN)
    budgets = {each["metadata"]["name"]: each["spec"] for each in kinds(found, "PodDisruptionBudget")}
    for deployment in kinds(found, "Deployment"):
        budget = budgets[deployment["metadata"]["name"]]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"] == deployment["spec"]["selector"]


def test_rights_are_these_and_no_others() -> None:
    found = objects(GIVEN)
    rights = {
        role["metadata"]["name"].removeprefix("cmb-cmbcluster-"): {
            (f"{resource}.{group}".rstrip("."), verb)
            for rule in role["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
        for role in kinds(found, "Role")
    }
    assert rights["web"] == {
        ("pods", "get"),
        ("pods/log", "get"),
        ("persistentvolumeclaims", "get"),
        ("pods.metrics.k8s.io", "get"),
    }
    assert rights["controller"] == {
        *(("pods", verb) for verb in ("get", "list", "watch", "create", "delete")),
        *(("persistentvolumeclaims", verb) for verb in ("get", "list", "create", "patch", "delete")),
        *(("secrets", verb) for verb in ("get", "create", "delete")),
        *(("configmaps", verb) for verb in ("get", "list", "create", "delete")),
        *(("events", verb) for verb in ("list", "watch")),
        ("pods/log", "get"),
    }
    assert {role["metadata"]["namespace"] for role in kinds(found, "Role")} == {"cmb-envs"}
    bound = {
        (binding["roleRef"]["name"], subject["name"], subject["namespace"])
        for binding in kinds(found, "RoleBinding")
        for subject in binding["subjects"]
    }
    assert bound == {(name, name, "cmb") for name in WITH_ACCOUNT}


def test_the_one_right_beyond_a_namespace_is_to_list_nodes_and_can_be_left_out() -> None:
    found = objects(GIVEN)
    (role,), (binding,) = kinds(found, "ClusterRole"), kinds(found, "ClusterRoleBinding")
    assert role["rules"] == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == ("cmb-cmbcluster-controller", "cmb")
    without = objects(GIVEN, "--set", "environments.listNodes=false")
    assert not [each for each in without if each["kind"].startswith("Cluster")]


def test_no_secret_is_anywhere_but_in_a_secret() -> None:
    found = objects(MADE)
    for each in found:
        if each["kind"] != "Secret":
            text = json.dumps(each)
            assert "hunter2" not in text, each["metadata"]["name"]
            assert base64.b64encode(b"hunter2").decode()[:8] not in text
    variables = [entry for pod in pods(found).values() for entry in pod["containers"][0]["env"]]
    assert not any("value" in entry for entry in variables if entry["name"].endswith("_URL"))


def test_the_edge_gets_no_secret_at_all() -> None:
    edge = pods(objects(MADE))["cmb-cmbcluster-edge"]
    assert "ecret" not in json.dumps(edge)


def test_who_talks_to_others_trusts_the_certificates_that_are_given() -> None:
    assert "certificates" not in rendered(GIVEN)
    for name, pod in pods(objects(GIVEN | {"trustedCertificates": "our-ca"})).items():
        container = pod["containers"][0]
        variables = {entry["name"]: entry.get("value") for entry in container["env"]}
        mounted = {mount["mountPath"] for mount in container["volumeMounts"]}
        sources = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
        if name in WITH_ACCOUNT:
            assert variables["SSL_CERT_FILE"] == "/etc/cmbcluster/certificates/ca.crt"
            assert "/etc/cmbcluster/certificates" in mounted
            assert sources == ["our-ca"]
        else:
            assert "SSL_CERT_FILE" not in variables
            assert sources == []


def test_new_keys_are_keys(tmp_path: Path) -> None:
    secret = next(each for each in kinds(objects(MADE), "Secret") if "token-keys.json" in each["data"])
    assert secret["data"]["token-keys.json"] != secret["data"]["sealing-keys.json"]
    assert secret["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    for name in ("token-keys.json", "sealing-keys.json"):
        file = tmp_path / name
        file.write_bytes(base64.b64decode(secret["data"][name]))
        Keyring.of_given_file(file)


def test_every_setting_is_one() -> None:
    found = objects(GIVEN)
    (given,) = kinds(found, "ConfigMap")
    names = set(given["data"])
    for pod in pods(found).values():
        names |= {entry["name"] for entry in pod["containers"][0]["env"]}
    ours = {name for name in names if name.startswith(PREFIX)}
    assert len(ours) > 15
    assert ours <= {PREFIX + name.upper() for name in Settings.model_fields}


def test_the_settings_of_each_role_can_be_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = objects(GIVEN)
    (given,) = kinds(found, "ConfigMap")
    for name, pod in pods(found).items():
        if name.endswith("-migrate"):
            continue
        variables = dict(given["data"])
        for entry in pod["containers"][0]["env"]:
            variables[entry["name"]] = entry.get("value", "").replace("$(POD_IP)", "10.1.2.3")
        if name.endswith("-web"):
            variables |= {"CMB_GOOGLE_CLIENT_ID": "id", "CMB_GOOGLE_CLIENT_SECRET": "secret"}
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            settings = Settings()
        assert settings.public_url == "https://cmb.example.org"
        assert settings.kubernetes_namespace == "cmb-envs"


@pytest.mark.parametrize(
    ("said", "access", "size_bytes", "storage_class", "own_bytes"),
    [
        ({}, "ReadWriteOnce", 50 * GIB, "", 8 * GIB),
        (
            {"access": "ReadWriteMany", "size": "2Ti", "storageClass": "nfs"},
            "ReadWriteMany",
            2048 * GIB,
            "nfs",
            8 * GIB,
        ),
        ({"access": "None", "ownSize": "3Gi"}, "None", 50 * GIB, "", 3 * GIB),
    ],
)
def test_where_packages_lie_is_a_value(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    said: dict[str, str],
    access: str,
    size_bytes: int,
    storage_class: str,
    own_bytes: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    values = GIVEN | {f"environments.packages.{name}": value for name, value in said.items()}
    (given,) = kinds(objects(values), "ConfigMap")
    for name, value in given["data"].items():
        if name.startswith("CMB_KUBERNETES_"):
            monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.kubernetes_packages_access == access
    assert settings.kubernetes_packages_bytes == size_bytes
    assert settings.kubernetes_packages_class == storage_class
    assert settings.kubernetes_own_packages_bytes == own_bytes


def test_what_the_chart_says_of_a_setting_can_be_said_by_its_name() -> None:
    text = rendered(GIVEN | {"settings.CMB_KUBERNETES_PACKAGES_BYTES": "6442450944"})
    assert text.count("CMB_KUBERNETES_PACKAGES_BYTES") == 1
    assert 'CMB_KUBERNETES_PACKAGES_BYTES: "6442450944"' in text
    data = kinds(objects(GIVEN, "--set", "settings.CMB_SOME=false,settings.CMB_NONE=0"), "ConfigMap")[0]["data"]
    assert (data["CMB_SOME"], data["CMB_NONE"]) == ("false", "0")


def test_values_that_an_upgrade_reuses_may_be_from_before_there_were_packages() -> None:
    none = [
        word for name in ("size", "ownSize", "storageClass") for word in ("--set", f"environments.packages.{name}=null")
    ]
    (given,) = kinds(objects(GIVEN | {"environments.packages.access": "None"}, *none), "ConfigMap")
    assert [name for name in given["data"] if "PACKAGES" in name] == ["CMB_KUBERNETES_PACKAGES_ACCESS"]
    (given,) = kinds(objects(GIVEN, "--set", "environments.packages=null"), "ConfigMap")
    assert [name for name in given["data"] if "PACKAGES" in name] == []


def test_migrations_come_first_and_need_nothing_of_the_release() -> None:
    found = objects(MADE)
    (job,) = kinds(found, "Job")
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    hooks = {each["metadata"]["name"] for each in found if "helm.sh/hook" in each["metadata"].get("annotations", {})}
    container = job["spec"]["template"]["spec"]["containers"][0]
    named = {entry["valueFrom"]["secretKeyRef"]["name"] for entry in container["env"] if "valueFrom" in entry}
    assert named <= hooks
    assert "envFrom" not in container
    assert "serviceAccountName" not in job["spec"]["template"]["spec"]


def test_environments_reach_nothing_private() -> None:
    both = objects(GIVEN, "--set", "environments.ipv6=true")
    policies = {each["metadata"]["name"]: each["spec"] for each in kinds(both, "NetworkPolicy")}
    assert policies["cmb-cmbcluster-nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    internet = policies["cmb-cmbcluster-internet"]
    four, six = (block["ipBlock"] for block in internet["egress"][0]["to"])
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"} <= set(four["except"])
    assert {"fc00::/7", "fe80::/10"} <= set(six["except"])
    blocked = [ipaddress.ip_network(each) for each in four["except"]]
    for address in NOT_THE_INTERNET:
        assert any(ipaddress.ip_address(address) in network for network in blocked), address
    assert not any(ipaddress.ip_address("151.101.0.223") in network for network in blocked)
    assert internet["podSelector"]["matchExpressions"] == [
        {"key": "cmbcluster.io/internet", "operator": "NotIn", "values": ["none"]}
    ]
    (ingress,) = policies["cmb-cmbcluster-environment"]["ingress"]
    sources = [each["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for each in ingress["from"]]
    assert sources == ["edge", "gate"]
    assert all("namespaceSelector" in each for each in ingress["from"])
    # Not a range: what else listens in an environment is nobody's business.
    assert ingress["ports"] == [{"protocol": "TCP", "port": PORT_NAME}]


def test_only_the_edge_talks_to_web_and_gate() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in kinds(objects(GIVEN), "NetworkPolicy")}
    for role, ports in (("web", [8201]), ("gate", [8202, 8203])):
        (rule,) = policies[f"cmb-cmbcluster-{role}"]["ingress"]
        assert [each["port"] for each in rule["ports"]] == ports
        (source,) = rule["from"]
        assert source["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "edge"
    assert "ingress" not in policies["cmb-cmbcluster-controller"]


def test_the_edge_is_for_everybody_or_for_whom_the_operator_names() -> None:
    def rules(*more: str) -> list[Json]:
        found = kinds(objects(GIVEN, *more), "NetworkPolicy")
        (policy,) = [each for each in found if each["metadata"]["name"] == "cmb-cmbcluster-edge"]
        ingress: list[Json] = policy["spec"]["ingress"]
        return ingress

    open_ports = [{"protocol": "TCP", "port": 8080}]
    assert rules() == [{"ports": open_ports}]
    assert rules("--set-json", f"edge.from={json.dumps(INGRESS)}") == [{"ports": open_ports, "from": INGRESS}]


@pytest.mark.parametrize(
    ("more", "hops"),
    [
        ((), "1"),
        (("--set", "trustedProxyHops=0"), "0"),
        (("--set", "trustedProxyHops=0", "--set", "edge.service.type=LoadBalancer"), "0"),
        (("--set", "trustedProxyHops=2", "--set", "edge.service.type=NodePort"), "2"),
    ],
)
def test_how_many_proxies_are_believed(more: tuple[str, ...], hops: str) -> None:
    data = [each["data"] for each in kinds(objects(GIVEN, *more), "ConfigMap")]
    assert {each["CMB_TRUSTED_PROXY_HOPS"] for each in data if "CMB_TRUSTED_PROXY_HOPS" in each} == {hops}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"edge.service.type": "LoadBalancer"}, "trustedProxyHops: with edge.service.type LoadBalancer say"),
        ({"edge.service.type": "NodePort"}, "trustedProxyHops: with edge.service.type NodePort say"),
        ({"publicUrl": ""}, "publicUrl"),
        ({"publicUrl": "cmb.example.org"}, "publicUrl"),
        ({"environments.workspaceImage": ""}, "workspaceImage"),
        ({"environments.namespace": "cmb"}, "must not be the release's own"),
        ({"secrets.existing": ""}, "secrets.databaseUrl"),
        ({"secrets.existing": "", "secrets.databaseUrl": "mysql://db"}, "databaseUrl"),
        ({"webb.replicas": "2"}, "webb"),
        ({"settings.HOME": "x"}, "settings"),
        ({"environments.packages.access": "ReadOnlyMany"}, "access"),
        ({"environments.packages.size": "50G"}, "size"),
        ({"environments.packages.ownSize": "0Gi"}, "ownSize"),
        ({"environments.packages.class": "nfs"}, "class"),
    ],
)
def test_wrong_values_are_refused_in_words(changes: dict[str, str], said: str) -> None:
    sets = [word for name, value in (GIVEN | changes).items() for word in ("--set-string", f"{name}={value}")]
    done = helm("template", "cmb", str(CHART), "--namespace", "cmb", "--kube-version", "1.34.0", *sets)
    assert done.returncode != 0
    assert said in done.stderr


def test_where_environments_run_reaches_the_controller_alone(tmp_path: Path) -> None:
    said = {
        "tiers": {"premium": {"node_selector": {"pool": "large"}, "priority_class": "research"}},
        "applications": {"denario": {"gpus": 1, "tolerations": [{"key": "gpu", "effect": "NoSchedule"}]}},
    }
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump({"environments": {"placement": said}}), encoding="utf-8")
    found = objects(GIVEN, "--values", str(values))
    (written,) = (each["data"] for each in kinds(found, "ConfigMap") if each["metadata"]["name"].endswith("-placement"))
    path = tmp_path / "placement.yaml"
    path.write_text(written["placement.yaml"], encoding="utf-8")
    rules = read_placements(path)
    assert rules.of("denario", Tier.PREMIUM).node_selector == (("pool", "large"),)
    assert (rules.of("denario", Tier.FREE).gpus, rules.of("other", Tier.FREE)) == (1, Placement())
    for deployment in kinds(found, "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        told = {each["name"]: each.get("value") for each in container["env"]}
        mounts = {each["mountPath"] for each in container["volumeMounts"]}
        is_controller = deployment["metadata"]["name"] == "cmb-cmbcluster-controller"
        assert ("CMB_KUBERNETES_PLACEMENT_FILE" in told) is is_controller
        assert ("/etc/cmbcluster/placement" in mounts) is is_controller


def test_the_platforms_accounts_at_registries_reach_those_who_ask_registries() -> None:
    for deployment in kinds(objects(GIVEN | {"registryAccounts": "pulls"}), "Deployment"):
        name, pod = deployment["metadata"]["name"], deployment["spec"]["template"]["spec"]
        told = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
        mounted = [each["secret"]["secretName"] for each in pod["volumes"] if each["name"] == "registries"]
        if name in WITH_ACCOUNT:
            assert told["CMB_REGISTRY_CREDENTIALS_FILE"] == "/etc/cmbcluster/registries/config.json"
            assert mounted == ["pulls"]
        else:
            assert "CMB_REGISTRY_CREDENTIALS_FILE" not in told
            assert mounted == []
