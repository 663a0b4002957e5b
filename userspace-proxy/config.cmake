# The proxy's facts and voices: snapshot and how it is built and fetched, routes, handover of listeners, telemetry.
weft_library(weft_proxy_config
  SOURCES
    http/message.cc
    route/l4_matcher.cc
    route/matcher.cc
    route/path_index.cc
    config/agent_channel.cc
    policy/authorize.cc
    config/cluster_table.cc
    config/config_client.cc
    config/match_route.cc
    config/resource_store.cc
    config/snapshot.cc
    config/snapshot_builder.cc
    config/validate_action.cc
    config/validate_address.cc
    config/validate_route.cc
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
  DEPS weft_base weft_l4_policy weft_istio_proto weft_mesh_proto weft_xds_proto weft_handover_proto weft_proxy_proto
       PkgConfig::RE2 absl::flat_hash_map absl::hash absl::status absl::statusor Threads::Threads)
