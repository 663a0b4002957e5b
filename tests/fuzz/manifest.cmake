weft_binary(manifest_fuzz SOURCES manifest_fuzz.cc DEPS weft_control_plane)
weft_fuzz_target(manifest RUNS 5000)
