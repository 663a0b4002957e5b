# What decides where a request goes, without sockets and threads: the agent explains routes with it.
weft_library(weft_proxy_routing
  SOURCES
    http/message.cc
    http/field_rules.cc http/path.cc
    route/l4_matcher.cc
    route/matcher.cc
    route/path_index.cc
    policy/external_provider.cc
    policy/http_terms.cc
    policy/request_authentication.cc
    policy/token_rule.cc
    policy/request_policy.cc
    route/rate_limiter.cc
    route/rewrite_path.cc
    config/cluster_table.cc
    config/gateway_rules.cc
    config/match_route.cc
    config/resource_store.cc
    config/route_lists.cc
    config/snapshot.cc
    config/snapshot_builder.cc config/snapshot_series.cc config/snapshot_sources.cc config/snapshot_world.cc
    config/validate_action.cc
    config/validate_address.cc
    config/validate_policy.cc
    config/validate_route.cc
  DEPS weft_base weft_jose weft_l4_policy weft_istio_proto weft_mesh_proto weft_xds_proto PkgConfig::RE2 absl::flat_hash_map absl::hash
       absl::status absl::statusor)
weft_library(weft_route_explain SOURCES config/explain.cc config/explain_policy.cc config/explain_text.cc DEPS weft_proxy_routing)

# The proxy's facts and voices: how the snapshot is fetched, handover of listeners, telemetry.
weft_library(weft_proxy_config
  SOURCES
    config/config_client.cc
    handover/handover_client.cc
    handover/heartbeat.cc
    handover/served_namespaces.cc
    telemetry/access_log.cc
    telemetry/access_log_line.cc
    metrics.cc
    reporter.cc
    telemetry/request_series.cc
    telemetry/worker_telemetry.cc
    privileges.cc
  DEPS weft_proxy_routing weft_xds_client weft_handover_proto weft_proxy_proto Threads::Threads)
