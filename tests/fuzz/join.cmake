weft_binary(join_fuzz SOURCES join_fuzz.cc DEPS weft_join)
weft_fuzz_target(join RUNS 100000)
