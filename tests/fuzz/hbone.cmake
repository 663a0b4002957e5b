# Fuzz target of tunnels, both sides.
weft_binary(hbone_fuzz SOURCES hbone_fuzz.cc DEPS weft_proxy_http)
weft_fuzz_target(hbone RUNS 20000)
