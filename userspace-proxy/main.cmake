# The proxy binary; the data path is a part of its own.
weft_library(weft_proxy_confinement SOURCES system_call_filter.cc DEPS weft_base PkgConfig::SECCOMP absl::status)
if(TARGET weft_proxy_engine)
  weft_library(weft_proxy_wanted SOURCES wanted_identities.cc DEPS weft_proxy_engine weft_proxy_identity weft_proxy_config)
  weft_binary(weft-proxy SOURCES main.cc proxy.cc
    DEPS weft_proxy_confinement weft_proxy_wanted weft_proxy_engine weft_proxy_identity weft_proxy_config CLI11::CLI11)
  weft_link_statically(weft-proxy)
endif()
