// The Gateway of the tests about Secrets, as an API server holds it. For tests only.
#pragma once

#include <string>

#include "tests/unit/kubernetes/fake_api_server.h"

namespace weft::control_plane::test {

inline constexpr char kGateways[] = "/apis/networking.istio.io/v1/gateways";
inline constexpr char kSecretsOfShop[] = "/api/v1/namespaces/shop/secrets";

// shop/edge, which ends TLS with the Secret `credential`.
inline Json edge_gateway(const std::string& credential) {
  return {{"apiVersion", "networking.istio.io/v1"},
          {"kind", "Gateway"},
          {"metadata", {{"namespace", "shop"}, {"name", "edge"}}},
          {"spec",
           {{"servers",
             {{{"port", {{"number", 443}, {"name", "https"}, {"protocol", "HTTPS"}}},
               {"hosts", {"shop.example"}},
               {"tls", {{"mode", "SIMPLE"}, {"credentialName", credential}}}}}}}}};
}

// The same with the identity of the mesh that it has.
inline Json mesh_gateway() {
  Json out = edge_gateway("");
  out["spec"]["servers"][0]["tls"] = {{"mode", "ISTIO_MUTUAL"}};
  return out;
}

}  // namespace weft::control_plane::test
