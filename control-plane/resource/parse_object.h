// The parser of each kind: a document's root in, an object out. parse_file.cc picks one by kind; they report
// through the reader and may return half an object when they did (the caller drops it).
#pragma once

#include "control-plane/resource/field_reader.h"
#include "control-plane/resource/objects.h"

namespace weft::control_plane {

// Each gets the root of the document and its metadata, which is read already.
Namespace parse_namespace(const FieldReader& root, ObjectMeta meta);
Pod parse_pod(const FieldReader& root, ObjectMeta meta);
Service parse_service(const FieldReader& root, ObjectMeta meta);
EndpointSlice parse_endpoint_slice(const FieldReader& root, ObjectMeta meta);
VirtualService parse_virtual_service(const FieldReader& root, ObjectMeta meta);
DestinationRule parse_destination_rule(const FieldReader& root, ObjectMeta meta);
ServiceEntry parse_service_entry(const FieldReader& root, ObjectMeta meta);
AuthorizationPolicy parse_authorization_policy(const FieldReader& root, ObjectMeta meta);
PeerAuthentication parse_peer_authentication(const FieldReader& root, ObjectMeta meta);
RequestAuthentication parse_request_authentication(const FieldReader& root, ObjectMeta meta);
GatewayRoute parse_http_route(const FieldReader& root, ObjectMeta meta);
GatewayRoute parse_grpc_route(const FieldReader& root, ObjectMeta meta);
GatewayRoute parse_tls_route(const FieldReader& root, ObjectMeta meta);
GatewayRoute parse_tcp_route(const FieldReader& root, ObjectMeta meta);
// Of networking.istio.io, whose objects have kind "IstioGateway" here, and of gateway.networking.k8s.io.
Gateway parse_istio_gateway(const FieldReader& root, ObjectMeta meta);
Gateway parse_api_gateway(const FieldReader& root, ObjectMeta meta);
Sidecar parse_sidecar(const FieldReader& root, ObjectMeta meta);
WorkloadEntry parse_workload_entry(const FieldReader& root, ObjectMeta meta);
MeshConfig parse_mesh_config(const FieldReader& root, ObjectMeta meta);
Secret parse_secret(const FieldReader& root, ObjectMeta meta);
// What makes certificates, keys and lists of no use; empty: nothing does. Never quotes them.
struct SecretFault {
  std::string message, remedy;
};
std::vector<SecretFault> faults_of(const Secret& secret);
ReferenceGrant parse_reference_grant(const FieldReader& root, ObjectMeta meta);

// apiVersion, kind, metadata, spec, status: the root of every kind here.
const FieldTable& root_table();

// "exportTo": the namespaces with "." expanded, empty for all; sets `hidden` for "~".
std::vector<std::string> parse_export_to(const FieldReader& spec, const std::string& ns, bool& hidden);

// A host name field, expanded; "" when it was reported.
std::string parse_host(const FieldReader& host, const std::string& ns);

mesh::v1::Origin origin_of(const ObjectMeta& meta);

}  // namespace weft::control_plane
