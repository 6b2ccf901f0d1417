lapidary_fuzz(fuzz_data_url SOURCE data_url.cpp USES server media base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/data_url)
lapidary_fuzz(fuzz_chat_requests SOURCE chat_requests.cpp USES server prompt engine chat base
  CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/chat_requests)
target_compile_definitions(fuzz_chat_requests PRIVATE LAPIDARY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
lapidary_fuzz(fuzz_responses SOURCE responses.cpp USES server prompt engine base CORPUS ${CMAKE_CURRENT_SOURCE_DIR}/corpus/responses)
target_compile_definitions(fuzz_responses PRIVATE LAPIDARY_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
