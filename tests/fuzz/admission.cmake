weft_binary(admission_fuzz SOURCES admission_fuzz.cc DEPS weft_admission)
weft_fuzz_target(admission RUNS 50000)
