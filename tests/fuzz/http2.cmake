# Fuzz target of the HTTP/2 session, both roles.
weft_binary(http2_fuzz SOURCES http2_fuzz.cc DEPS weft_proxy_http)
weft_fuzz_target(http2 RUNS 100000)
