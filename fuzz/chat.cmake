lapidary_fuzz(fuzz_reply_reader SOURCE reply_reader.cpp USES chat text CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/reply_reader)
lapidary_fuzz(fuzz_tool_call SOURCE tool_call.cpp USES chat CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/tool_call)
lapidary_fuzz(fuzz_tools SOURCE tools.cpp USES chat CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/tools)
