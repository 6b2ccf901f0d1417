lapidary_fuzz(fuzz_chat_file SOURCE chat_file.cpp USES cli chat base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/chat_file)
