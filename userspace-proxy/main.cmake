# The proxy binary; the data path is a part of its own.
if(TARGET weft_proxy_engine)
  weft_binary(weft-proxy SOURCES main.cc proxy.cc wanted_identities.cc
    DEPS weft_proxy_engine weft_proxy_identity weft_proxy_config CLI11::CLI11)
  weft_link_statically(weft-proxy)
endif()
