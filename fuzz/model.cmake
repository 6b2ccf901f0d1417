lapidary_fuzz(fuzz_config SOURCE fuzz_config.cpp USES model CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/config)
