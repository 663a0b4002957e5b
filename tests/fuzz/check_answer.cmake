weft_binary(check_answer_fuzz SOURCES check_answer_fuzz.cc DEPS weft_proxy_engine)
weft_fuzz_target(check_answer RUNS 100000)
