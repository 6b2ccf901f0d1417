lapidary_fuzz(fuzz_data_url SOURCE data_url.cpp USES server media base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/data_url)
