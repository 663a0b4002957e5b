# TLS over the sockets of net: identities, contexts, the layer itself.
weft_library(weft_proxy_tls
  SOURCES tls/client_tls.cc tls/credentials.cc tls/peer_names.cc tls/server_tls.cc tls/session_store.cc tls/signing_request.cc tls/ticket_secret.cc tls/tls_algorithms.cc tls/tls_context.cc tls/tls_contexts.cc tls/tls_profile.cc tls/tls_socket.cc tls/verified_peers.cc
  DEPS weft_base weft_x509 weft_proxy_net OpenSSL::SSL absl::flat_hash_map absl::statusor absl::time)

weft_library(weft_proxy_identity
  SOURCES config/identity_client.cc
  DEPS weft_proxy_tls weft_ca_proto weft_proxy_proto)
