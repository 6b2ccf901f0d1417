lapidary_fuzz(fuzz_tokenizer_json SOURCE tokenizer_json.cpp USES text CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/tokenizer_json)
