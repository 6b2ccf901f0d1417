lapidary_fuzz(fuzz_grammar_schema SOURCE grammar_schema.cpp USES grammar text base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/grammar_schema)
lapidary_fuzz(fuzz_grammar_regex SOURCE grammar_regex.cpp USES grammar base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/grammar_regex)
