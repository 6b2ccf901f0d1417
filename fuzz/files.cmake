lapidary_fuzz(fuzz_safetensors SOURCE fuzz_safetensors.cpp USES files CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/safetensors)
