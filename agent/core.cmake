# The evaluator of L4 policies: the proxy asks it too.
weft_library(weft_l4_policy SOURCES policy/l4_policy.cc DEPS weft_base weft_istio_proto)

# What the plugin and the agent share, and the plugin without its system calls: the standard library and JSON alone.
weft_library(weft_cni_plugin SOURCES cni/message.cc cni/plugin.cc DEPS nlohmann_json::nlohmann_json)
# A program that any node runs, whatever libraries it has.
weft_binary(weft-cni SOURCES cni/plugin_main.cc DEPS weft_cni_plugin)
if(NOT WEFT_SANITIZE AND NOT WEFT_FUZZ)
  target_link_options(weft-cni PRIVATE -static -s -Wl,--gc-sections)
endif()

# The agent without its kernel half and control plane, which the binary adds: tests put fakes in their places.
weft_library(weft_agent
  SOURCES mesh/id_registry.cc mesh/model.cc mesh/ejection.cc mesh/kernel_plan.cc mesh/node_identities.cc mesh/reconciler.cc mesh/reconciler_proxy.cc mesh/reconciler_sandboxes.cc
    policy/kernel_policy.cc policy/enforcement.cc policy/policy_trial.cc policy/token_rules.cc
    pods/netns.cc pods/enrollment_store.cc pods/held_fds.cc pods/manifest_pod.cc pods/pod_table.cc
    pods/pod_cgroup.cc pods/sandbox.cc pods/sandbox_watch.cc pods/pod_sandboxes.cc
    cni/server.cc cni/conflist.cc cni/installer.cc replace_file.cc
    feed/unix_socket.cc feed/gateway_feed.cc feed/handover_server.cc feed/observe_hub.cc feed/telemetry_service.cc feed/grpc_unix_server.cc feed/revocation_service.cc
    metrics/exporter.cc
    admin/listing.cc admin/pod_use.cc admin/checks.cc admin/admin_service.cc admin/connection_list.cc admin/authorization_list.cc admin/authorization_shadow.cc admin/certificate_list.cc admin/edge_list.cc admin/kernel_connections.cc admin/kernel_view.cc admin/request_counts.cc admin/shortcut_status.cc admin/trace.cc agent.cc run_dir.cc
  DEPS weft_base weft_findings weft_cni_plugin weft_l4_policy weft_route_explain weft_istio_proto weft_mesh_proto weft_handover_proto weft_proxy_proto weft_admin_proto weft_xds_proto absl::flat_hash_map absl::flat_hash_set absl::hash absl::inlined_vector absl::node_hash_map absl::span
    nlohmann_json::nlohmann_json weft_certificate_service)

target_compile_definitions(weft_agent PUBLIC WEFT_VERSION="${PROJECT_VERSION}")

if(TARGET weft_dataplane AND TARGET weft_control_plane AND TARGET weft_ads_service)
  weft_binary(weft-agent SOURCES authority_source.cc main.cc
    DEPS weft_agent weft_dataplane weft_control_plane weft_kubernetes weft_remote_control weft_fetch_keys weft_ads_service weft_grpc_log CLI11::CLI11)
  set_target_properties(weft-agent PROPERTIES WEFT_GRPC_TLS ON)
endif()
