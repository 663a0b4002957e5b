#!/usr/bin/env python3
"""What the chart gives a cluster: rendered by Helm for every values file, and held against the code that it starts."""
import json
import re
import sys
import unittest

import chart
import yaml

GATEWAY = ("--set", "agent.gateway.address=0.0.0.0")
NO_CNI = ("--set", "agent.cni.enabled=false")
SECRET = ("--set", "agent.authority.secretName=weft-ca,control.enabled=false")
CONTROL = ("--set", "control.enabled=true")
CONTROL_SECRET = (*CONTROL, "--set", "control.authority.secretName=weft-ca,control.writeStatus=false,control.replicas=1")
CONTROL_MORE = (*CONTROL, "--set", "control.gatewayAddresses={192.0.2.1,2001:db8::1},control.clientAuthority.configMapName=nodes")
JOIN = ("--set", "control.join.claimName=weft-nodes,control.join.serviceType=LoadBalancer,control.join.names={mesh.example,2001:db8::7}")
ISTIOD = ("--set", "agent.authority.istiod.address=istiod.istio-system.svc:15012,agent.authority.istiod.serverName=istiod")
CONTROL_IP = (*CONTROL, "--set", "control.clusterIP=10.96.7.7,agent.cni.enabled=false")


def named_rules(role):
    """{(group, resource): (names, verbs)}"""
    return {(group, resource): (rule.get("resourceNames", []), rule["verbs"]) for rule in role["rules"] for group in rule["apiGroups"]
            for resource in rule["resources"]}


def host_paths(pod):
    return {v["hostPath"]["path"] for v in pod["volumes"] if "hostPath" in v}


class RenderedTest(unittest.TestCase):
    """For every values file, and for the switches that change what is asked of the node."""

    def variants(self):
        for name in chart.values_files():
            for more in ((), GATEWAY, SECRET, NO_CNI, ISTIOD, CONTROL, CONTROL_SECRET, CONTROL_IP, CONTROL_MORE, (*CONTROL, *ISTIOD)):
                with self.subTest(values=name, more=more):
                    yield chart.render("--values", f"{chart.CHART}/{name}", *more)

    def with_control(self):
        yield from (objects for objects in self.variants() if chart.controlled(objects))

    def test_lint_finds_nothing(self):
        for name in chart.values_files():
            for more in ((), CONTROL):
                out = chart.run_helm("lint", "--strict", "--values", f"{chart.CHART}/{name}", *more, chart.CHART)
                self.assertEqual(out.returncode, 0, f"{name}: {out.stdout}{out.stderr}")

    def test_nothing_is_privileged_and_every_capability_is_named(self):
        for objects in self.variants():
            gateway = any("--gateway-address" in a for a in chart.container(objects, "weft-agent")["args"])
            cni = any("--cni-bin-dir" in a for a in chart.container(objects, "weft-agent")["args"])
            wanted = {"weft-agent": ["BPF", "NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"] + ["DAC_OVERRIDE"] * cni + ["NET_BIND_SERVICE"] * gateway,
                      "weft-proxy": ["SETGID", "SETUID", "SYS_ADMIN"]}
            for name, capabilities in wanted.items():
                context = chart.container(objects, name)["securityContext"]
                self.assertIs(context["privileged"], False)
                self.assertIs(context["readOnlyRootFilesystem"], True)
                self.assertEqual(context["capabilities"], {"drop": ["ALL"], "add": capabilities})
                pod = chart.one(objects, "DaemonSet", name)["spec"]["template"]["spec"]
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                self.assertNotIn("initContainers", pod)

    def test_what_is_the_nodes_and_reaches_a_pod_is_listed(self):
        for objects in self.variants():
            agent = chart.one(objects, "DaemonSet", "weft-agent")["spec"]["template"]["spec"]
            authority = {"/var/lib/weft"} if any("hostPath" in v and v["name"] == "authority" for v in agent["volumes"]) else set()
            cni = {"/etc/cni/net.d", "/opt/cni/bin"} if any("--cni-conf-dir" in a for a in agent["containers"][0]["args"]) else set()
            self.assertEqual(host_paths(agent), {"/run/weft", "/sys/fs/bpf", "/sys/fs/cgroup", "/run/netns"} | authority | cni)
            writable = {m["mountPath"] for m in chart.container(objects, "weft-agent")["volumeMounts"] if not m.get("readOnly")}
            self.assertEqual(writable, {"/run/weft", "/sys/fs/bpf"} | authority | cni)
            self.assertEqual((agent["hostNetwork"], agent["hostPID"], agent.get("hostIPC")), (True, True, None))
            proxy = chart.one(objects, "DaemonSet", "weft-proxy")["spec"]["template"]["spec"]
            self.assertEqual(host_paths(proxy), {"/run/weft"})
            self.assertEqual([m.get("readOnly") for m in chart.container(objects, "weft-proxy")["volumeMounts"]], [True])
            self.assertEqual([proxy.get(k) for k in ("hostNetwork", "hostPID", "hostIPC")], [None] * 3)

    def test_the_agent_may_do_what_its_code_does_and_no_more(self):
        for objects in self.variants():
            reads = chart.one(objects, "ClusterRole", "weft-agent")
            if chart.controlled(objects):
                self.assertEqual(named_rules(reads), {("", "namespaces"): (["weft-system"], ["list", "watch"])})
            else:
                self.assertEqual(named_rules(reads), {
                    **{kind: ([], ["list", "watch"]) for kind in chart.agent_kinds()},
                    ("", "configmaps"): ([chart.mesh_config_name()], ["list", "watch"])})
            own = chart.one(objects, "Role", "weft-agent")["rules"]
            self.assertEqual(own, [{"apiGroups": ["apps"], "resources": ["daemonsets"], "resourceNames": ["weft-agent"],
                                    "verbs": ["list", "watch"]}])
            self.assertIn("--daemonset=weft-system/weft-agent", chart.container(objects, "weft-agent")["args"])
            bound = sorted((o["kind"], o["roleRef"]["kind"], o["roleRef"]["name"], str(o["subjects"])) for o in objects
                           if o["kind"].endswith("RoleBinding"))
            roles = [(kind, name) for kind in ("ClusterRole", "Role")
                     for name in (["weft-agent", "weft-control"] if chart.controlled(objects) else ["weft-agent"])]
            if chart.writes_status(objects):
                roles.append(("ClusterRole", "weft-control-gateways"))
            roles.sort()
            account = {name: str([{"kind": "ServiceAccount", "name": name.removesuffix("-gateways"), "namespace": "weft-system"}]) for _, name in roles}
            self.assertEqual(bound, [(f"{kind}Binding", kind, name, account[name]) for kind, name in roles])
            self.assertEqual(sorted((o["kind"], o["metadata"]["name"]) for o in objects if o["kind"].endswith("Role")), roles)

    def test_weft_control_may_do_what_its_code_does_and_no_more(self):
        for objects in self.with_control():
            arguments = chart.container(objects, "weft-control")["args"]
            writes = chart.writes_status(objects)
            wanted = {kind: ([], ["list", "watch"]) for kind in chart.agent_kinds()}
            wanted[("", "configmaps")] = ([chart.mesh_config_name()], ["list", "watch"])
            wanted[("authentication.k8s.io", "tokenreviews")] = ([], ["create"])
            granted = {}
            for rule in chart.one(objects, "ClusterRole", "weft-control")["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        names, verbs = granted.get((group, resource), ([], []))
                        granted[(group, resource)] = (names + rule.get("resourceNames", []), sorted(verbs + rule["verbs"]))
            if writes:
                for group, plural in chart.status_kinds():
                    wanted[(group, plural)] = ([], ["get", "list", "watch"])
                    wanted[(group, plural + "/status")] = ([], ["patch"])
                wanted[("", "events")] = ([], ["create"])
            self.assertEqual(granted, wanted)
            # What it writes of its own has a name, and the chart has made it: `create` has no name to be held to.
            own = named_rules(chart.one(objects, "Role", "weft-control"))
            made = any(a.startswith("--authority-secret=") for a in arguments)
            mine = {("", "configmaps"): (["weft-control-roots"], ["get", "patch"])}
            if made:
                mine[("", "secrets")] = (["weft-control-authority"], ["get", "patch"])
            if writes:
                mine[("coordination.k8s.io", "leases")] = (["weft-control"], ["get", "patch"])
            self.assertEqual(own, mine)
            for (_, plural), ((name,), _) in own.items():
                kind = {"configmaps": "ConfigMap", "secrets": "Secret", "leases": "Lease"}[plural]
                thing = chart.one(objects, kind, name)
                self.assertFalse({"data", "spec"} & set(thing), "an upgrade would take back what is in it")
                self.assertNotIn("annotations", thing["metadata"], "it goes with the release")
                self.assertIn(f"weft-system/{name}", " ".join(arguments))

    def test_certificates_are_read_by_name_and_by_one_account(self):
        watched = chart.read("control-plane/kubernetes/secret_watches.cc")
        self.assertIn('"fieldSelector=metadata.name%3D"', watched, "one by one: a name in the role counts for such a request")
        for more, reader in (((), "weft-agent"), (CONTROL, "weft-control")):
            self.assertFalse([o for o in chart.render(*more) if o["metadata"]["name"] == "weft-certificates"])
            objects = chart.render(*more, "--set-json", 'certificates={"shop": ["edge-cert", "edge-cert-cacert"], "bank": ["till"]}')
            made = [o for o in objects if o["metadata"]["name"] == "weft-certificates"]
            self.assertEqual(sorted((o["kind"], o["metadata"]["namespace"]) for o in made),
                             [("Role", "bank"), ("Role", "shop"), ("RoleBinding", "bank"), ("RoleBinding", "shop")])
            rules = {o["metadata"]["namespace"]: named_rules(o) for o in made if o["kind"] == "Role"}
            self.assertEqual(rules, {"shop": {("", "secrets"): (["edge-cert", "edge-cert-cacert"], ["list", "watch"])},
                                     "bank": {("", "secrets"): (["till"], ["list", "watch"])}})
            for binding in (o for o in made if o["kind"] == "RoleBinding"):
                self.assertEqual(binding["roleRef"], {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "weft-certificates"})
                self.assertEqual(binding["subjects"], [{"kind": "ServiceAccount", "name": reader, "namespace": "weft-system"}])
            secrets = [o["metadata"] for o in objects if o["kind"].endswith("Role") for rule in o["rules"] if "secrets" in rule["resources"]]
            own = [("weft-control", "weft-system")] * bool(more)
            self.assertEqual(sorted((m["name"], m.get("namespace")) for m in secrets),
                             sorted([("weft-certificates", "bank"), ("weft-certificates", "shop")] + own), "and no Secret elsewhere")

    def test_keys_of_gateways_go_to_nodes_that_may_serve_them(self):
        def nodes(*more):
            arguments = chart.container(chart.render(*CONTROL, *more), "weft-control")["args"]
            return [a.split("=", 1)[1] for a in arguments if a.startswith("--gateway-node=")]

        self.assertEqual(nodes(), [])
        self.assertEqual(nodes("--set", "control.gatewayNodes={edge1,edge2}"), ["edge1", "edge2"])
        self.assertEqual(nodes(*GATEWAY), ["*"], "every agent serves them")

    def test_machines_join_where_their_tokens_last(self):
        for objects in self.with_control():
            self.assertFalse([a for a in chart.container(objects, "weft-control")["args"] if a.startswith("--join-dir")])
            self.assertFalse([o for o in objects if o["metadata"]["name"] == "weft-control-nodes"])
        objects = chart.render(*CONTROL, *JOIN)
        control = chart.container(objects, "weft-control")
        (mount,) = [m for m in control["volumeMounts"] if m["name"] == "join"]
        (volume,) = [v for v in chart.workload(objects, "weft-control")["spec"]["template"]["spec"]["volumes"] if v["name"] == "join"]
        self.assertEqual(volume["persistentVolumeClaim"], {"claimName": "weft-nodes"})
        # A folder of its own in the volume, whose mode is its own; and where `weft join-token` looks for it.
        (folder,) = [a.split("=", 1)[1] for a in control["args"] if a.startswith("--join-dir=")]
        self.assertEqual(folder.rsplit("/", 1)[0], mount["mountPath"])
        self.assertIn(f'kDefaultJoinFolder[] = "{folder}"', chart.read("control-plane/join/token_store.h"))
        self.assertEqual([a for a in control["args"] if a.startswith("--tls-name=")],
                         ["--tls-name=weft-control.weft-system.svc", "--tls-name=mesh.example", "--tls-name=2001:db8::7"])
        service = chart.one(objects, "Service", "weft-control-nodes")["spec"]
        self.assertEqual((service["type"], [p["targetPort"] for p in service["ports"]]), ("LoadBalancer", ["xds"]))
        self.assertEqual(service["selector"], chart.one(objects, "Service", "weft-control")["spec"]["selector"])
        self.assertEqual([o["kind"] for o in objects if o["kind"] == "PersistentVolumeClaim"], [], "it is the operator's, and outlives a release")
        for alone in ("control.join.serviceType=NodePort", "control.join.names={mesh.example}"):
            out = chart.run_helm("template", "weft", chart.CHART, *CONTROL, "--set", alone)
            self.assertNotEqual(out.returncode, 0)
            self.assertIn("next: give a PersistentVolumeClaim as control.join.claimName", out.stderr)

    def test_weft_control_is_nobody_and_survives_a_node(self):
        for objects in self.with_control():
            spec = chart.workload(objects, "weft-control")["spec"]
            pod = spec["template"]["spec"]
            self.assertEqual((pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]), (True, 65534))
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertEqual(chart.container(objects, "weft-control")["securityContext"],
                             {"privileged": False, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                              "capabilities": {"drop": ["ALL"]}})
            self.assertEqual((host_paths(pod), [pod.get(k) for k in ("hostNetwork", "hostPID", "hostIPC", "initContainers")]),
                             (set(), [None] * 4))
            self.assertEqual(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0)
            self.assertEqual({c["topologyKey"] for c in pod["topologySpreadConstraints"]},
                             {"kubernetes.io/hostname", "topology.kubernetes.io/zone"})
            labels = spec["template"]["metadata"]["labels"]
            for selector in (spec["selector"], chart.one(objects, "PodDisruptionBudget", "weft-control")["spec"]["selector"],
                             chart.one(objects, "NetworkPolicy", "weft-control")["spec"]["podSelector"],
                             *(c["labelSelector"] for c in pod["topologySpreadConstraints"])):
                self.assertLessEqual(selector["matchLabels"].items(), labels.items())
            ready = chart.container(objects, "weft-control")["readinessProbe"]["httpGet"]
            self.assertEqual((ready["path"], ready["port"]), ("/readyz", "health"))
            ports = {p["name"]: p["containerPort"] for p in chart.container(objects, "weft-control")["ports"]}
            for name, flag in (("xds", "listen"), ("metrics", "metrics-address"), ("health", "health-address")):
                self.assertIn(f"--{flag}=0.0.0.0:{ports[name]}", chart.container(objects, "weft-control")["args"])
            self.assertEqual({p["targetPort"] for p in chart.one(objects, "Service", "weft-control")["spec"]["ports"]}, {"xds", "metrics"})

    def test_agents_reach_weft_control_know_whom_to_trust_and_who_they_are(self):
        for objects in self.with_control():
            agent = chart.workload(objects, "weft-agent")["spec"]["template"]["spec"]
            arguments = dict(a.lstrip("-").split("=", 1) for a in agent["containers"][0]["args"] if "=" in a)
            served = chart.one(objects, "Service", "weft-control")["spec"]
            name = "weft-control.weft-system.svc"
            self.assertIn(f"--tls-name={name}", chart.container(objects, "weft-control")["args"])
            self.assertEqual(arguments["control-server-name"], name)
            self.assertEqual(arguments["control-plane"], f"{served.get('clusterIP', name)}:15012")
            self.assertNotIn("--kubernetes", agent["containers"][0]["args"])
            self.assertNotIn("ca-dir", arguments)
            volumes = {v["name"]: v for v in agent["volumes"]}
            mounts = {m["name"]: m for m in agent["containers"][0]["volumeMounts"]}
            self.assertEqual(arguments["control-ca"], mounts["control-roots"]["mountPath"] + "/ca.crt")
            self.assertEqual(volumes["control-roots"]["configMap"], {"name": "weft-control-roots", "items": [{"key": "ca.crt", "path": "ca.crt"}]})
            self.assertEqual(arguments["control-token"], mounts["control-token"]["mountPath"] + "/token")
            (token,) = [s["serviceAccountToken"] for s in volumes["control-token"]["projected"]["sources"]]
            self.assertEqual((token["audience"], token["path"]), ("weft-control", "token"))
            self.assertNotIn("authority", volumes, "the key of the mesh is on no node")
            self.assertIn("--agent-account=weft-system/weft-agent", chart.container(objects, "weft-control")["args"])

    def test_two_authorities_are_refused(self):
        out = chart.run_helm("template", "weft", chart.CHART, *SECRET, *CONTROL)
        self.assertNotEqual(out.returncode, 0)
        self.assertIn("next: give that Secret as control.authority.secretName", out.stderr)

    def test_the_proxy_has_no_token_and_no_way_to_the_network(self):
        for objects in self.variants():
            self.assertIs(chart.one(objects, "ServiceAccount", "weft-proxy")["automountServiceAccountToken"], False)
            pod = chart.one(objects, "DaemonSet", "weft-proxy")["spec"]["template"]
            self.assertIs(pod["spec"]["automountServiceAccountToken"], False)
            policy = chart.one(objects, "NetworkPolicy", "weft-proxy")["spec"]
            self.assertEqual(policy["policyTypes"], ["Ingress", "Egress"])
            self.assertNotIn("ingress", policy)
            self.assertNotIn("egress", policy)
            self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), pod["metadata"]["labels"].items())

    def test_programs_know_their_arguments(self):
        for objects in self.variants():
            programs = [("weft-agent", "agent/main.cc", "agent/authority_source.cc"), ("weft-proxy", "userspace-proxy/main.cc")]
            if chart.controlled(objects):
                programs.append(("weft-control", "control-plane/main.cc"))
            for name, *sources in programs:
                started = chart.container(objects, name)
                self.assertEqual(started["command"], [name])
                known = {flag for source in sources for flag in re.findall(r'"(--[a-z-]+)"', chart.read(source))}
                self.assertIn("--run-dir", known)
                for argument in started["args"]:
                    self.assertIn(argument.split("=")[0], known, argument)

    def test_there_is_a_capture_listener_for_every_worker(self):
        for objects in self.variants():
            workers = [a.split("=")[1] for a in chart.container(objects, "weft-proxy")["args"] if a.startswith("--workers=")]
            listeners = [a.split("=")[1] for a in chart.container(objects, "weft-agent")["args"] if a.startswith("--listeners=")]
            self.assertEqual(workers, listeners)

    def test_a_proxy_is_replaced_before_it_goes_and_may_end_its_connections(self):
        for objects in self.variants():
            spec = chart.one(objects, "DaemonSet", "weft-proxy")["spec"]
            rolling = spec["updateStrategy"]["rollingUpdate"]
            self.assertEqual(rolling["maxUnavailable"], 0)
            self.assertNotIn(rolling["maxSurge"], (0, "0%"))
            self.assertGreater(spec["minReadySeconds"], 0)
            pod = spec["template"]["spec"]
            drain = int(next(a.split("=")[1] for a in chart.container(objects, "weft-proxy")["args"] if a.startswith("--drain")))
            pause = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
            self.assertGreater(pod["terminationGracePeriodSeconds"], drain + pause)
            # Agents that are uninstalled wait for what the proxies end, and have time to clean up afterwards.
            agent = chart.one(objects, "DaemonSet", "weft-agent")["spec"]["template"]["spec"]
            release = int(next(a.split("=")[1] for a in agent["containers"][0]["args"] if a.startswith("--release-timeout")))
            self.assertGreater(release, drain + pause)
            # Ten seconds to hear from an API server that was away, and some to clean up.
            self.assertGreaterEqual(agent["terminationGracePeriodSeconds"], release + 10 + 10)

    def test_a_proxy_is_ready_once_its_agent_was_and_stays_so(self):
        for objects in self.variants():
            proxy = chart.container(objects, "weft-proxy")
            self.assertEqual(proxy["startupProbe"]["httpGet"], chart.container(objects, "weft-agent")["readinessProbe"]["httpGet"])
            self.assertNotIn("readinessProbe", proxy, "with its agent away it would not be ready, and be deleted for the new one at once")
            self.assertGreaterEqual(proxy["startupProbe"]["initialDelaySeconds"], 5, "the agent that is replaced at the same time does not count")

    def test_that_an_agent_was_ready_stays_on_record(self):
        for objects in self.variants():
            proxy = chart.container(objects, "weft-proxy")
            self.assertGreaterEqual(proxy["startupProbe"]["periodSeconds"] * proxy["startupProbe"]["failureThreshold"], 86400, "a proxy that waits is not killed")
            # What weft-control looks for.
            code = chart.read("control-plane/compile/tunnel_nodes.cc")
            for name, component in (("weft-agent", "agent"), ("weft-proxy", "proxy")):
                labels = chart.one(objects, "DaemonSet", name)["spec"]["template"]["metadata"]["labels"]
                self.assertEqual((labels["app.kubernetes.io/name"], labels["app.kubernetes.io/component"]), ("weft", component))
                self.assertIn(f'component == "{component}"', code)

    def test_who_takes_tunnels_is_said(self):
        for objects in self.with_control():
            self.assertIn("--tunnels=annotated", chart.container(objects, "weft-control")["args"])
        self.assertIn("--tunnels=captured", chart.container(chart.render(*CONTROL, "--set", "control.tunnels=captured"), "weft-control")["args"])
        # Gateways reach them by their identities, which weft-control signs for the nodes that serve them.
        args = chart.container(chart.render(*CONTROL, *GATEWAY, "--set", "control.tunnels=captured"), "weft-control")["args"]
        self.assertIn("--tunnels=captured", args)
        self.assertIn("--gateway-node=*", args)

    def test_two_agents_never_meet_on_a_node(self):
        for objects in self.variants():
            rolling = chart.one(objects, "DaemonSet", "weft-agent")["spec"]["updateStrategy"]["rollingUpdate"]
            self.assertEqual(rolling["maxSurge"], 0)

    def test_weft_control_may_write_what_its_code_writes_of_the_gateway_api(self):
        written = {plural for group, plural in chart.agent_kinds() if group == "gateway.networking.k8s.io"} - {"referencegrants"}
        wanted = {("gateway.networking.k8s.io", plural): ["get"] for plural in written}
        wanted |= {("gateway.networking.k8s.io", f"{plural}/status"): ["patch"] for plural in written | {"gatewayclasses"}}
        wanted[("gateway.networking.k8s.io", "gatewayclasses")] = ["list"]
        control = {"enabled": True, "writeStatus": True}
        objects = chart.template("gateway-status.yaml", control=control)
        self.assertEqual(chart.rule_pairs(chart.one(objects, "ClusterRole", "weft-control-gateways")), wanted)
        self.assertFalse([o for o in objects if o["kind"] == "GatewayClass"])
        objects = chart.template("gateway-status.yaml", "--api-versions", "gateway.networking.k8s.io/v1/GatewayClass", control=control,
                                 webhook={"enabled": True})
        wanted[("admissionregistration.k8s.io", "validatingwebhookconfigurations")] = ["get", "patch"]
        role = chart.one(objects, "ClusterRole", "weft-control-gateways")
        self.assertEqual(chart.rule_pairs(role), wanted)
        self.assertEqual([rule["resourceNames"] for rule in role["rules"] if "resourceNames" in rule], [["weft"]])
        controller = chart.one(objects, "GatewayClass", "weft")["spec"]["controllerName"]
        self.assertIn(f'kControllerName[] = "{controller}"', chart.read("control-plane/status/gateway_conditions.h"))

    def test_the_webhook_asks_about_what_is_read_and_never_stands_in_the_way(self):
        self.assertFalse({o["kind"] for o in chart.render()} & {"ValidatingWebhookConfiguration"})
        (configuration,) = chart.template("webhook.yaml", webhook={"enabled": True}, control={"enabled": True, "writeStatus": True})
        (webhook,) = configuration["webhooks"]
        self.assertEqual((webhook["failurePolicy"], webhook["sideEffects"]), ("Ignore", "None"))
        self.assertLess(webhook["timeoutSeconds"], 5)
        asked = {(group, resource) for rule in webhook["rules"] for group in rule["apiGroups"] for resource in rule["resources"]}
        self.assertEqual(asked, {(group, plural) for group, plural in chart.agent_kinds() if group.endswith((".istio.io", ".k8s.io")) and
                                 group != "discovery.k8s.io"})
        self.assertEqual({operation for rule in webhook["rules"] for operation in rule["operations"]}, {"CREATE", "UPDATE"})
        out = chart.run_helm("template", "weft", chart.CHART, "--set", "webhook.enabled=true")
        self.assertNotEqual(out.returncode, 0)
        self.assertIn("control.enabled=true", out.stderr)
        out = chart.run_helm("template", "weft", chart.CHART, "--set", "webhook.enabled=true,control.enabled=true,control.writeStatus=false")
        self.assertNotEqual(out.returncode, 0)
        self.assertIn("control.writeStatus=true", out.stderr)

    def test_selectors_find_the_pods(self):
        for objects in self.variants():
            for daemonset in (o for o in objects if o["kind"] == "DaemonSet"):
                labels = daemonset["spec"]["template"]["metadata"]["labels"]
                self.assertLessEqual(daemonset["spec"]["selector"]["matchLabels"].items(), labels.items())
            for service in (o for o in objects if o["kind"] == "Service"):
                of = "weft-control" if service["metadata"]["name"] == "weft-control" else "weft-agent"
                labels = chart.workload(objects, of)["spec"]["template"]["metadata"]["labels"]
                self.assertLessEqual(service["spec"]["selector"].items(), labels.items())

    def test_monitoring_is_what_the_files_say_and_only_when_asked_for(self):
        kinds = {o["kind"] for o in chart.render()}
        self.assertFalse(kinds & {"ServiceMonitor", "PrometheusRule", "ConfigMap", "Service"})
        objects = chart.render("--values", f"{chart.CHART}/values-large.yaml")
        self.assertEqual(chart.one(objects, "PrometheusRule", "weft")["spec"]["groups"], chart.alert_groups())
        stored = chart.one(objects, "ConfigMap", "weft-dashboard")["data"]["weft.json"]
        self.assertEqual(json.loads(stored), chart.dashboard())
        (endpoint,) = chart.one(objects, "ServiceMonitor", "weft-agent")["spec"]["endpoints"]
        (port,) = chart.one(objects, "Service", "weft-agent-metrics")["spec"]["ports"]
        self.assertEqual((endpoint["port"], port["targetPort"]), (port["name"], "metrics"))
        job = chart.one(objects, "Service", "weft-agent-metrics")["metadata"]["name"]
        self.assertIn(f'job="{job}"', chart.read("helm/weft/files/alerts.yaml"))

    def test_weft_control_is_scraped_by_its_service(self):
        objects = chart.render("--values", f"{chart.CHART}/values-large.yaml", *CONTROL)
        monitor = chart.one(objects, "ServiceMonitor", "weft-control")["spec"]
        service = chart.one(objects, "Service", "weft-control")
        self.assertLessEqual(monitor["selector"]["matchLabels"].items(), service["metadata"]["labels"].items())
        self.assertIn(monitor["endpoints"][0]["port"], {p["name"] for p in service["spec"]["ports"]})
        self.assertIn('job="weft-control"', chart.read("helm/weft/files/alerts.yaml"))

    def test_an_authority_of_the_cluster_is_read_only_and_nobody_elses(self):
        (volume,) = [v for v in chart.one(chart.render(*SECRET), "DaemonSet", "weft-agent")["spec"]["template"]["spec"]["volumes"]
                     if v["name"] == "authority"]
        self.assertEqual(volume["secret"], {"secretName": "weft-ca", "defaultMode": 0o400})
        self.assertIn("--ca-dir=/etc/weft/ca", chart.container(chart.render(*SECRET), "weft-agent")["args"])

    def test_an_istiod_that_signs_is_shown_a_token_for_it_and_nobody_else_signs(self):
        for more in (ISTIOD, (*CONTROL, *ISTIOD)):
            objects = chart.render(*more)
            arguments = chart.container(objects, "weft-agent")["args"]
            for wanted in ("--ca-address=istiod.istio-system.svc:15012", "--ca-server-name=istiod", "--ca-cluster-id=Kubernetes"):
                self.assertIn(wanted, arguments)
            self.assertFalse([a for a in arguments if a.startswith("--ca-dir")])
            mounted = {m["name"]: m["mountPath"] for m in chart.container(objects, "weft-agent")["volumeMounts"]}
            volumes = {v["name"]: v for v in chart.one(objects, "DaemonSet", "weft-agent")["spec"]["template"]["spec"]["volumes"]}
            self.assertNotIn("authority", volumes)
            self.assertEqual(volumes["istio-root"]["configMap"]["name"], "istio-ca-root-cert")
            self.assertIn(f"--ca-root={mounted['istio-root']}/root-cert.pem", arguments)
            (source,) = volumes["istio-token"]["projected"]["sources"]
            self.assertEqual(source["serviceAccountToken"]["audience"], "istio-ca")
            self.assertIn(f"--ca-token={mounted['istio-token']}/{source['serviceAccountToken']['path']}", arguments)
        out = chart.run_helm("template", "weft", chart.CHART, *ISTIOD, "--set", "agent.authority.secretName=weft-ca")
        self.assertNotEqual(out.returncode, 0)
        self.assertIn("leave istiod.address or secretName empty", out.stderr)

    def test_shortcut_is_what_the_operator_switches_on(self):
        arguments = chart.container(chart.render(), "weft-agent")["args"]
        self.assertNotIn("--shortcut", arguments)
        arguments = chart.container(chart.render("--set", "agent.shortcut=true"), "weft-agent")["args"]
        self.assertIn("--shortcut", arguments)

    def test_folders_of_certificates_are_mounted_where_they_are_named(self):
        objects = chart.render("--set", "agent.certificateFolders={/etc/istio/certs,/etc/tls}")
        arguments = chart.container(objects, "weft-agent")["args"]
        self.assertEqual([a for a in arguments if a.startswith("--certificate-files")],
                         ["--certificate-files=/etc/istio/certs", "--certificate-files=/etc/tls"])
        mounts = {m["mountPath"]: m for m in chart.container(objects, "weft-agent")["volumeMounts"]}
        volumes = {v["name"]: v for v in chart.one(objects, "DaemonSet", "weft-agent")["spec"]["template"]["spec"]["volumes"]}
        for folder in ("/etc/istio/certs", "/etc/tls"):
            self.assertTrue(mounts[folder]["readOnly"])
            self.assertEqual(volumes[mounts[folder]["name"]]["hostPath"]["path"], folder)

    def test_weft_control_knows_where_gateways_are_and_who_signed_nodes(self):
        objects = chart.render(*CONTROL_MORE)
        arguments = chart.container(objects, "weft-control")["args"]
        self.assertEqual([a for a in arguments if a.startswith("--gateway-address")],
                         ["--gateway-address=192.0.2.1", "--gateway-address=2001:db8::1"])
        (mount,) = [m for m in chart.container(objects, "weft-control")["volumeMounts"] if m["name"] == "client-authority"]
        (volume,) = [v for v in chart.workload(objects, "weft-control")["spec"]["template"]["spec"]["volumes"] if v["name"] == "client-authority"]
        self.assertIn(f"--client-ca={mount['mountPath']}/ca.crt", arguments)
        self.assertEqual(volume["configMap"], {"name": "nodes"})

    def test_weft_control_waits_for_its_authority_as_long_as_for_an_hour(self):
        probe = chart.container(chart.render(*CONTROL), "weft-control")["startupProbe"]
        self.assertGreaterEqual(probe["periodSeconds"] * probe["failureThreshold"], 3600)

    def test_extra_labels_annotations_and_digests_arrive(self):
        digest = "sha256:" + "0" * 64
        objects = chart.render("--set", "agent.podLabels.team=mesh,agent.podAnnotations.note=a,proxy.podAnnotations.note=b",
                               "--set", f"proxy.image.digest={digest},image.tag=t,image.pullSecrets[0].name=s")
        agent, proxy = (chart.one(objects, "DaemonSet", n)["spec"]["template"] for n in ("weft-agent", "weft-proxy"))
        self.assertEqual((agent["metadata"]["labels"]["team"], agent["metadata"]["annotations"]["note"]), ("mesh", "a"))
        self.assertEqual(proxy["metadata"]["annotations"], {"note": "b"})
        self.assertEqual(proxy["spec"]["containers"][0]["image"], f"weft-proxy@{digest}")
        self.assertEqual(agent["spec"]["containers"][0]["image"], "weft-agent:t")
        self.assertEqual(agent["spec"]["imagePullSecrets"], [{"name": "s"}])


if __name__ == "__main__":
    if chart.helm() is None:
        print("*** SKIPPED, NOTHING WAS TESTED: no Helm; next: tools/helm --build ***")
        sys.exit(77)
    unittest.main()
