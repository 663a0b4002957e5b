weft_binary(certificate_fuzz SOURCES certificate_fuzz.cc DEPS weft_authority weft_x509)
weft_fuzz_target(certificate RUNS 100000)
