"""What deploy/kubernetes promises, read from what Kubernetes would get: valid, least rights, the same as in Compose."""

import json
import re
import runpy
from collections import Counter
from pathlib import Path

import jsonschema
import manifests
import pytest
import yaml_files
from manifests import OVERLAYS, ROOT, config_map, containers, environment, labels, of, pod, rendered, workloads

from converter.program import PORT as CONVERTER_PORT
from crawler.program import PORT as CRAWLER_PORT
from fairprice import __version__
from fairprice.broker import addresses
from fairprice.runtime.lifecycle import DRAIN_TIMEOUT, HARD_STOP
from fairprice.runtime.settings import SECRETS, VARIABLES
from fairprice.topology import USES
from storer.program import PORT as STORER_PORT

COMPOSE = yaml_files.content(ROOT / "docker-compose.yml")["services"]
VERSIONS = ["1.34", *(pytest.param(version, marks=pytest.mark.rounds) for version in ("1.35", "1.36", "1.37"))]
"""Of Kubernetes: the one that is tried, and newer ones."""

OURS = {"crawler": CRAWLER_PORT, "converter": CONVERTER_PORT, "storer": STORER_PORT, "gateway": 8000}
SERVERS = ("rabbitmq", "influxdb", "prometheus", "grafana")
JOBS = ("credentials", "provisioner")
HEALED_BY_NO_RESTART = {"rabbitmq", "influxdb"}
"""Their makers advise against liveness probes, or a start of theirs may take minutes: a restart would make it worse."""

EXTERNAL = {"FAIRPRICE_EXCHANGE_REST_URL", "FAIRPRICE_EXCHANGE_STREAM_URL"}

pytestmark = [pytest.mark.slow, pytest.mark.may_skip]

every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


def every_container(overlay):
    return [(name, each) for name, workload in workloads(overlay).items() for each in containers(workload)]


def compose_name(name):
    """Return the service of docker-compose.yml that a workload is."""
    return re.sub(r"^crawler-[ab]$", "crawler", name)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_valid(version):
    validation = pytest.importorskip("kubernetes_validate", reason="make install-dev has what Kubernetes' schemas need")
    seen = {
        json.dumps(each, sort_keys=True): each
        for overlay in OVERLAYS
        for each in rendered(overlay)
        if not each["apiVersion"].startswith("keda.sh/")
    }
    problems = []
    for each in seen.values():
        try:
            assert validation.validate(each, version, strict=True) == version
        except validation.ValidationError as error:
            problems.append(f"{each['kind']} {each['metadata']['name']}: {list(error.path)}: {error.message}")
    assert problems == []


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}


def fields(*required, **properties):
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TRIGGER = fields(
    "type",
    "metadata",
    type={"const": "rabbitmq"},
    metadata=fields(
        "queueName",
        protocol={"enum": ["http"]},
        vhostName=TEXT,
        queueName=TEXT,
        mode={"enum": ["QueueLength", "MessageRate"]},
        value={"type": "string", "pattern": r"^\d+$"},
    ),
    authenticationRef=fields("name", name=TEXT, kind=TEXT),
)
KEDA = {
    "ScaledObject": fields(
        "scaleTargetRef",
        "triggers",
        scaleTargetRef=fields("name", apiVersion=TEXT, kind=TEXT, name=TEXT),
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        triggers={"type": "array", "items": TRIGGER, "minItems": 1},
    ),
    "TriggerAuthentication": fields(
        secretTargetRef={
            "type": "array",
            "items": fields("parameter", "name", "key", parameter=TEXT, name=TEXT, key=TEXT),
        }
    ),
}
"""What of KEDA's own definitions is used here: keda.sh/v1alpha1."""


def test_what_keda_is_told_is_what_it_knows_and_names_what_is_there():
    told = [each for each in rendered("scaled") if each["apiVersion"] == "keda.sh/v1alpha1"]
    assert Counter(each["kind"] for each in told) == {"ScaledObject": 2, "TriggerAuthentication": 1}
    for each in told:
        jsonschema.validate(each["spec"], KEDA[each["kind"]])
    queues = {each["name"] for each in json.loads((ROOT / "rabbitmq" / "definitions.json").read_text())["queues"]}
    for name, each in of("scaled", "ScaledObject").items():
        spec = each["spec"]
        assert name == spec["scaleTargetRef"]["name"]
        assert "replicas" not in of("scaled", "Deployment")[name]["spec"], "else each apply would set it back"
        asked = {trigger["metadata"]["queueName"] for trigger in spec["triggers"]}
        assert asked == {queue for queue in queues if queue in USES[name].consumes and not queue.startswith("quotes")}
        assert {trigger["authenticationRef"]["name"] for trigger in spec["triggers"]} == {
            *of("scaled", "TriggerAuthentication")
        }
        assert spec["minReplicaCount"] <= spec["maxReplicaCount"]


@every_overlay
def test_a_name_is_had_once_and_all_of_it_is_in_one_namespace(overlay):
    objects = Counter((each["kind"], each["metadata"]["name"]) for each in rendered(overlay))
    assert set(objects.values()) == {1}
    (namespace,) = of(overlay, "Namespace")
    inside = [each for each in rendered(overlay) if each["kind"] != "Namespace"]
    assert {each["metadata"]["namespace"] for each in inside} == {namespace}
    assert {each["metadata"]["labels"]["app.kubernetes.io/part-of"] for each in inside} == {"fairprice"}


@every_overlay
def test_what_a_workload_names_is_there(overlay):
    maps, accounts = of(overlay, "ConfigMap"), of(overlay, "ServiceAccount")
    for name, workload in workloads(overlay).items():
        used = re.findall(r'"(?:configMap|configMapRef)": \{[^{}]*"name": "([^"]+)"', json.dumps(workload))
        assert set(used) <= maps.keys(), name
        assert pod(workload).get("serviceAccountName", "credentials") in accounts
        if "serviceName" in workload["spec"]:
            assert workload["spec"]["serviceName"] in of(overlay, "Service")
        volumes = {each["name"] for each in pod(workload).get("volumes", ())} | {
            each["metadata"]["name"] for each in workload["spec"].get("volumeClaimTemplates", ())
        }
        mounts = {mount["name"] for each in containers(workload) for mount in each.get("volumeMounts", ())}
        assert mounts == volumes, name


@every_overlay
def test_a_pod_has_no_right_that_it_does_not_need(overlay):
    """What the namespace's own rule `restricted` asks for, and more: a root that is read only, no token, no links."""
    (namespace,) = of(overlay, "Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, workload in workloads(overlay).items():
        spec = pod(workload)
        assert spec["automountServiceAccountToken"] is (name in JOBS), name
        assert spec["enableServiceLinks"] is False
        assert not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        context = spec["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] == context["runAsGroup"] > 0
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not [volume for volume in spec.get("volumes", ()) if "hostPath" in volume]
        if name in JOBS:
            paths = {mount["mountPath"] for each in containers(workload) for mount in each.get("volumeMounts", ())}
            assert not paths & {"/run/secrets", "/var/run/secrets"}, (
                "the token has its place below, and cannot be put in"
            )
    for name, container in every_container(overlay):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name


@every_overlay
def test_only_the_jobs_that_make_secrets_may_ask_kubernetes_and_for_their_own_alone(overlay):
    cluster = (ROOT / "deploy" / "credentials" / "cluster.py").read_text()
    roles = of(overlay, "Role")
    assert {*roles} == {*JOBS}
    assert not of(overlay, "ClusterRole", "ClusterRoleBinding")
    for role in roles.values():
        assert {resource for rule in role["rules"] for resource in rule["resources"]} == {"secrets"}
        assert [rule["verbs"] for rule in role["rules"] if "resourceNames" not in rule] == [["create"]]
    named = {name: set(role["rules"][-1]["resourceNames"]) for name, role in roles.items()}
    credentials = runpy.run_path(str(ROOT / "deploy" / "credentials" / "credentials.py"))
    consumers = {consumer for consumer, (_, files) in credentials["HANDED_OUT"].items() if files}
    assert named["credentials"] == {*consumers, "credentials", "rabbitmq", "scaler"}
    assert '"rabbitmq"' in cluster
    arguments = [
        each["command"][2:] for each in containers(workloads(overlay)["provisioner"]) if "cluster.py" in str(each)
    ]
    assert arguments == [
        ["recall", *sorted(named["provisioner"], reverse=True)],
        ["keep", *sorted(named["provisioner"], reverse=True)],
    ]


@every_overlay
def test_it_is_limited(overlay):
    for name, container in every_container(overlay):
        resources = container["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}, name
        assert resources["limits"].keys() == {"memory"}, "a processor that is denied makes data late"
        assert mebibytes(resources["requests"]["memory"]) <= mebibytes(resources["limits"]["memory"])


def mebibytes(text):
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi|m|g)", text).groups()
    return int(number) * {"Mi": 1, "m": 1, "Gi": 1024, "g": 1024}[unit]


@every_overlay
def test_a_limit_has_its_reason_beside_it(overlay):
    texts = [path.read_text() for path in manifests.KUBERNETES.rglob("*.yaml")]
    blocks = [block for text in texts for block in re.findall(r"\n( *)resources:(.*\n(?:\1 +.*\n)+)", text)]
    assert len(blocks) >= 9
    for name, workload in workloads(overlay).items():
        main = pod(workload)["containers"][0]["resources"]
        limit = main["limits"]["memory"]
        assert [block for _, block in blocks if "#" in block and f"memory: {limit}" in block], name


@every_overlay
def test_its_health_is_asked_for(overlay):
    for name, workload in workloads(overlay).items():
        (container,) = pod(workload)["containers"]
        probes = {kind for kind in ("startupProbe", "livenessProbe", "readinessProbe") if kind in container}
        if workload["kind"] == "Job":
            assert not probes
            continue
        healed = set() if name in HEALED_BY_NO_RESTART else {"livenessProbe"}
        assert probes == {"startupProbe", "readinessProbe", *healed}, name
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for kind in probes:
            how = container[kind].get("httpGet") or container[kind]["tcpSocket"]
            assert how["port"] in ports
        if compose_name(name) in OURS:
            assert container["livenessProbe"]["httpGet"]["path"] == "/livez", "a broker that is away restarts nothing"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
            assert ports["http"] == OURS[compose_name(name)]
            assert environment(container)["FAIRPRICE_HTTP_PORT"] == str(ports["http"])


@every_overlay
def test_it_gets_time_to_drain(overlay):
    for name, workload in workloads(overlay).items():
        if workload["kind"] == "Job":
            continue
        (container,) = pod(workload)["containers"]
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod(workload)["terminationGracePeriodSeconds"] > pause + DRAIN_TIMEOUT + 2 * HARD_STOP, name


@every_overlay
def test_a_rollout_takes_nothing_away_before_its_successor_is_there(overlay):
    for name, workload in of(overlay, "Deployment").items():
        if name == "simulator":
            assert workload["spec"]["strategy"] == {"type": "Recreate"}
        else:
            assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    for name, workload in of(overlay, "StatefulSet").items():
        assert "updateStrategy" not in workload["spec"], f"{name}: one after the other is what Kubernetes does anyway"


@every_overlay
def test_its_version_is_pinned(overlay):
    for name, container in every_container(overlay):
        image, colon, tag = container["image"].partition(":")
        assert colon, f"{name}: {image} has no version"
        assert container.get("imagePullPolicy") is None
        if image.startswith("fairprice/"):
            assert tag == __version__, name
        else:
            assert container["image"] == COMPOSE[name]["image"], "the same as in docker-compose.yml"


@every_overlay
def test_its_networks_are_those_of_compose(overlay):
    for name, workload in workloads(overlay).items():
        joined = {label.removeprefix("network/") for label in labels(workload) if label.startswith("network/")}
        assert {labels(workload)[f"network/{network}"] for network in joined} == {"member"} or not joined
        of_compose = set(COMPOSE[compose_name(name)].get("networks", ()))
        assert joined - {"kubernetes"} == of_compose, name
        assert ("kubernetes" in joined) == (name in JOBS)


@every_overlay
def test_only_the_crawler_can_leave(overlay):
    policies = of(overlay, "NetworkPolicy")
    everything = policies["nothing-else"]["spec"]
    assert everything == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    outwards = {
        name: policy["spec"]
        for name, policy in policies.items()
        if any("ipBlock" in str(rule.get("to")) or "to" not in rule for rule in policy["spec"].get("egress", ()))
    }
    existing = {name for name in policies if name.startswith("existing-")}
    assert outwards.keys() - existing == {"exchange", "names", "kubernetes"}
    private = outwards["exchange"]["egress"][1]["to"][0]["ipBlock"]["except"]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(private)
    for network in ("bus", "database"):
        members = {"podSelector": {"matchLabels": {f"network/{network}": "member"}}}
        assert policies[network]["spec"]["ingress"] == [{"from": [members]}]
        assert policies[network]["spec"]["egress"] == [{"to": [members]}]


@every_overlay
def test_who_is_let_in_by_the_front_may_ask_for_the_ports_of_compose(overlay):
    ports = {each["port"] for each in of(overlay, "NetworkPolicy")["front"]["spec"]["ingress"][0]["ports"]}
    assert ports == {int(port.rpartition(":")[2]) for service in COMPOSE.values() for port in service.get("ports", ())}


@every_overlay
def test_its_environment_is_that_of_compose(overlay):
    for name, workload in workloads(overlay).items():
        (container,) = pod(workload)["containers"]
        if name in JOBS or name == "simulator":
            continue
        ours = environment(container)
        theirs = COMPOSE[compose_name(name)].get("environment", {})
        own = {
            variable: value for variable, value in ours.items() if variable in theirs and variable != "FAIRPRICE_SHARD"
        }
        assert own == {variable: str(theirs[variable]) for variable in own}, name
        if compose_name(name) in OURS:
            given = {
                variable
                for variable, value in theirs.items()
                if value is not None and variable.startswith("FAIRPRICE_")
            }
            assert given - {"FAIRPRICE_BROKER_URL", "FAIRPRICE_STORE_URL"} == own.keys() & given
        else:
            assert own.keys() == theirs.keys(), name


@every_overlay
def test_its_settings_exist_and_reach_every_service(overlay):
    settings = config_map(overlay, "settings")
    assert settings.keys() <= {*VARIABLES} - {*SECRETS}
    (shared,) = {name for name in of(overlay, "ConfigMap") if name.startswith("settings-")}
    for name, container in every_container(overlay):
        if compose_name(name) in OURS or container["name"] == "provision":
            assert container["envFrom"] == [{"configMapRef": {"name": shared}}]
    direct = {variable for _, container in every_container(overlay) for variable in environment(container)}
    ours = {variable for variable in direct if variable.startswith("FAIRPRICE_")}
    assert ours <= {*VARIABLES, *(f"{name}_FILE" for name in SECRETS)}
    if overlay != "existing":
        assert settings["FAIRPRICE_STORE_URL"] == COMPOSE["storer"]["environment"]["FAIRPRICE_STORE_URL"]


@every_overlay
def test_there_is_nothing_secret_in_it(overlay):
    assert not of(overlay, "Secret")
    for name, container in every_container(overlay):
        for variable, value in environment(container).items():
            if re.search(r"PASSWORD|TOKEN|SECRET_KEY", variable):
                assert variable.endswith("_FILE"), name
                assert value.startswith("/run/")
    assert not re.search(r"://[^/\s\"]*:[^/\s\"]*@", json.dumps(rendered(overlay)))


@every_overlay
def test_every_secret_that_is_mounted_is_made_by_a_job(overlay):
    made = {name for role in of(overlay, "Role").values() for name in role["rules"][-1]["resourceNames"]}
    mounted = {
        volume["secret"]["secretName"]
        for workload in workloads(overlay).values()
        for volume in pod(workload).get("volumes", ())
        if "secret" in volume
    }
    assert mounted <= made - {"credentials"}, "which holds them all"


@every_overlay
def test_the_page_waits_for_no_database(overlay):
    secrets = {
        volume["name"]: volume["secret"]
        for volume in pod(workloads(overlay)["gateway"])["volumes"]
        if "secret" in volume
    }
    assert [name for name, secret in secrets.items() if secret.get("optional")] == ["history-token"]


@pytest.mark.parametrize("overlay", ["demo", "production"])
def test_files_are_those_of_compose_where_they_are_in_compose(overlay):
    """What is mounted in a server's container, by path, is what docker-compose.yml mounts there, byte for byte."""
    for server in SERVERS:
        ours, theirs = mounted_files(overlay, server), compose_files(server)
        extra = {"/etc/rabbitmq/conf.d/20-cluster.conf", "/etc/rabbitmq/conf.d/21-members.conf"}
        assert ours.keys() - extra == theirs.keys(), server
        for path, text in theirs.items():
            assert ours[path] == text, path


def mounted_files(overlay, name):
    """Return the files of ConfigMaps in a workload's container by their paths."""
    spec = pod(workloads(overlay)[name])
    maps = of(overlay, "ConfigMap")
    found = {}
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in spec["containers"][0]["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        sources = [each["configMap"] for each in volume.get("projected", {}).get("sources", ())]
        sources += [volume["configMap"]] if "configMap" in volume else []
        for source in sources:
            items = {item["key"]: item["path"] for item in source.get("items", ())}
            for key, text in maps[source["name"]]["data"].items():
                if "subPath" not in mount:
                    found[f"{mount['mountPath']}/{items.get(key, key)}"] = text
                elif mount["subPath"] == key:
                    found[mount["mountPath"]] = text
    return found


def compose_files(name):
    """Return the files of this repository that docker-compose.yml mounts in a service, by their paths there."""
    found = {}
    for volume in COMPOSE[name]["volumes"]:
        source, target, *_ = volume.split(":")
        if not source.startswith("./"):
            continue
        path = ROOT / source
        for file in path.rglob("*") if path.is_dir() else [path]:
            inside = f"{target}/{file.relative_to(path)}" if path.is_dir() else target
            if file.is_file() and file.name not in {"kustomization.yaml", "README.md"} and "/tests/" not in inside:
                found[inside] = file.read_text()
    return found


@pytest.mark.parametrize("overlay", ["demo", "production"])
def test_prometheus_finds_every_instance_by_name(overlay):
    jobs = yaml_files.document(config_map(overlay, "prometheus-files")["prometheus.yml"])["scrape_configs"]
    services = of(overlay, "Service")
    for lookup in (lookup for job in jobs for lookup in job.get("dns_sd_configs", ())):
        service = services[lookup["names"][0]]["spec"]
        assert service["clusterIP"] == "None", "only then a name has an address for each instance"
        assert service["publishNotReadyAddresses"] is True
        assert lookup["port"] in {each["port"] for each in service["ports"]}
    fixed = [target for job in jobs for each in job.get("static_configs", ()) for target in each["targets"]]
    for name, port in (target.split(":") for target in fixed if not target.startswith("localhost")):
        assert int(port) in {each["port"] for each in services[name]["spec"]["ports"]}


@every_overlay
def test_every_service_leads_to_a_workload(overlay):
    for name, service in of(overlay, "Service").items():
        selected = [
            each for each in workloads(overlay).values() if service["spec"]["selector"].items() <= labels(each).items()
        ]
        assert selected, name
        ports = {port["containerPort"]: port["name"] for each in selected for port in containers(each)[-1]["ports"]}
        for port in service["spec"]["ports"]:
            assert port.get("targetPort", port["port"]) in {*ports, 4369, 25672}, "the last two are between nodes"


@every_overlay
def test_the_crawlers_know_how_many_they_are(overlay):
    sides = {name: each for name, each in of(overlay, "StatefulSet").items() if name.startswith("crawler-")}
    shards = {each["spec"]["replicas"] for each in sides.values()}
    (count,) = shards
    for side, each in sides.items():
        (container,) = pod(each)["containers"]
        assert each["spec"]["ordinals"] == {"start": 1}
        assert environment(container)["FAIRPRICE_SHARD"] == f"$(POD_INDEX)/{count}"
        index = next(variable for variable in container["env"] if variable["name"] == "POD_INDEX")
        assert index["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['apps.kubernetes.io/pod-index']"
        assert container["env"].index(index) < [*environment(container)].index("FAIRPRICE_SHARD"), (
            "else it is not put in"
        )
        assert each["spec"]["selector"]["matchLabels"] == {"app": "crawler", "side": side[-1]}
    share = float(config_map(overlay, "settings").get("FAIRPRICE_ADDRESS_SHARE", 1))
    assert share * count * len(sides) <= 1, "behind one address they are not too many"


def test_twins_are_never_away_together():
    a, b = (of("production", "StatefulSet")[f"crawler-{side}"] for side in "ab")
    pause = pod(b)["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert "lifecycle" not in pod(a)["containers"][0]
    assert pause > DRAIN_TIMEOUT + 2 * HARD_STOP + a["spec"]["minReadySeconds"] + 30, "side a is back when side b stops"
    budget = of("production", "PodDisruptionBudget")["crawler"]["spec"]
    assert budget["maxUnavailable"] == 1
    for each in (a, b):
        assert budget["selector"]["matchLabels"].items() <= labels(each).items()
        (term,) = pod(each)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        assert term["podAffinityTerm"]["labelSelector"]["matchExpressions"] == [
            {"key": "app", "operator": "In", "values": ["crawler"]}
        ], "of either side"


@every_overlay
def test_where_pods_go_is_a_wish(overlay):
    assert "requiredDuringScheduling" not in json.dumps(rendered(overlay))
    spread = [rule for each in workloads(overlay).values() for rule in pod(each).get("topologySpreadConstraints", ())]
    assert {rule["whenUnsatisfiable"] for rule in spread} == {"ScheduleAnyway"}
    for name, workload in workloads(overlay).items():
        if compose_name(name) in OURS:
            assert len(pod(workload)["topologySpreadConstraints"]) == 2, name


def test_whatever_there_is_twice_may_be_taken_one_at_a_time():
    several = {
        compose_name(name) for name, each in workloads("production").items() if each["spec"].get("replicas", 1) > 1
    }
    budgets = of("production", "PodDisruptionBudget")
    assert budgets.keys() == several == {*OURS, "rabbitmq"}
    for name, budget in budgets.items():
        assert budget["spec"] == {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}}


def test_there_is_one_of_each_in_the_demo_and_all_of_them():
    assert {name: each["spec"].get("replicas", 1) for name, each in workloads("demo").items()} == dict.fromkeys(
        {"crawler-a", "converter", "storer", "gateway", "simulator", *SERVERS, *JOBS}, 1
    )


def test_every_node_of_the_cluster_is_named_everywhere():
    broker = of("production", "StatefulSet")["rabbitmq"]["spec"]
    names = [f"rabbitmq-{number}.{broker['serviceName']}" for number in range(broker["replicas"])]
    conf = (ROOT / "rabbitmq" / "cluster.conf").read_text()
    assert re.findall(r"^cluster_formation\.classic_config\.nodes\.\d = rabbit@(.*)$", conf, re.MULTILINE) == names
    url = config_map("production", "settings")["FAIRPRICE_BROKER_URL"]
    assert addresses.split(url) == tuple(f"amqp://{name}:5672" for name in names)
    assert broker["podManagementPolicy"] == "Parallel", "at the first start they wait for each other"
    variables = environment(broker["template"]["spec"]["containers"][0])
    assert variables["RABBITMQ_NODENAME"] == f"rabbit@$(POD_NAME).{broker['serviceName']}"
    assert variables["RABBITMQ_USE_LONGNAME"] == "true"
    assert of("production", "Service")[broker["serviceName"]]["spec"]["publishNotReadyAddresses"] is True


def test_a_component_is_used_or_tried():
    components = {path.parent.name for path in manifests.KUBERNETES.glob("components/*/kustomization.yaml")}
    used = {
        Path(each).name
        for path in OVERLAYS.values()
        for each in yaml_files.content(path / "kustomization.yaml").get("components", ())
    }
    assert components == used


def test_an_object_fits_into_the_annotation_that_apply_makes_of_it():
    for overlay in OVERLAYS:
        for each in rendered(overlay):
            assert len(json.dumps(each)) < 240 * 1024, each["metadata"]["name"]
